/* peers.c - the lists of whom we call and who may call us; see keys.h. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/auth/key.h"
#include "rpc/auth/keys_file.h"
#include "rpc/auth/keys_text.h"
#include "rpc/auth/peer.h"

enum { PEERS_MAX = 1024 };

struct peers {
    struct peer *list;
    size_t count;
    uint8_t own[KEY_PUBLIC_SIZE], earlier_own[KEY_PUBLIC_SIZE];
    atomic_size_t shares;
};

/* ---- a line ---------------------------------------------------------------------------- */

bool peer_take_methods(char *list, struct peer *peer)
{
    size_t count = 1;

    for (const char *c = list; *c != '\0'; c++)
        count += *c == ',';
    peer->methods = calloc(count, sizeof *peer->methods);
    if (peer->methods == NULL)
        return false;
    for (char *rest = list, *method; (method = strsep(&rest, ",")) != NULL;) {
        if (!keys_pattern_valid(method))
            return false;
        char *copy = strdup(method);
        if (copy == NULL)
            return false;
        peer->methods[peer->method_count++] = copy;
    }
    return true;
}

/* Whether the line is NAME PUBLIC, and METHODS when it is a caller's. */
static bool take_peer(char *line, bool caller, struct peer *peer)
{
    char *rest, *name = strtok_r(line, KEYS_BLANKS, &rest);
    char *public_key = strtok_r(NULL, KEYS_BLANKS, &rest);
    char *methods = strtok_r(NULL, KEYS_BLANKS, &rest);

    if (name == NULL || public_key == NULL || (methods != NULL) != caller ||
        strtok_r(NULL, KEYS_BLANKS, &rest) != NULL)
        return false;
    if (!keys_name_valid(name) || !keys_decode(public_key, peer->public_key))
        return false;
    memcpy(peer->name, name, strlen(name) + 1);
    return !caller || peer_take_methods(methods, peer);
}

/*
 * Whether the new peer can be told from every other.  Two callers with one key could each
 * pass for the other, as the name in a frame is only proven by the key that opens it.  One
 * caller with more keys than two would only be work for each frame that opens with none.
 */
static bool distinct(const struct peers *peers, const struct peer *peer, bool callers)
{
    int of_the_name = 0;

    for (size_t i = 0; i < peers->count; i++) {
        const struct peer *other = &peers->list[i];
        of_the_name += strcmp(other->name, peer->name) == 0;
        if (callers && memcmp(other->public_key, peer->public_key, KEY_PUBLIC_SIZE) == 0)
            return false;
    }
    return of_the_name < (callers ? 2 : 1);
}

void peer_clear(struct peer *peer)
{
    for (size_t i = 0; i < peer->method_count; i++)
        free(peer->methods[i]);
    free(peer->methods);
    sodium_free(peer->shared);
    sodium_free(peer->earlier_shared);
}

/* NULL: there is no memory, or the public key is of small order. */
static uint8_t *agree(const struct key *own, const struct peer *peer)
{
    uint8_t *shared = sodium_malloc(KEY_SHARED_SIZE);

    if (shared != NULL && !key_agree(own, peer->public_key, shared)) {
        sodium_free(shared);
        return NULL;
    }
    if (shared != NULL)
        sodium_mprotect_readonly(shared);
    return shared;
}

static struct err add_peer(struct peers *peers, const char *where, char *line,
                           bool callers, const struct key *own)
{
    struct peer *peer = &peers->list[peers->count];
    struct err e = ERR_NONE;

    if (!take_peer(line, callers, peer))
        e = err_make(ERR_INVALID_ARGUMENT, "%s: expected NAME PUBLIC%s", where,
                     callers ? " METHOD[,METHOD]" : "");
    else if (!distinct(peers, peer, callers))
        e = err_make(ERR_INVALID_ARGUMENT, "%s: '%s' or its key stands there already",
                     where, peer->name);
    else if ((peer->shared = agree(own, peer)) == NULL ||
             (callers && key_earlier(own) != NULL &&
              (peer->earlier_shared = agree(key_earlier(own), peer)) == NULL))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "%s: not a usable public key (or no memory is left)", where);
    if (!failed(e)) {
        peers->count++;
        return e;
    }
    peer_clear(peer);
    memset(peer, 0, sizeof *peer);
    return e;
}

/* ---- a list ---------------------------------------------------------------------------- */

static struct err parse_peers(struct peers *peers, const char *path, char *text,
                              bool callers, const struct key *own)
{
    char *line, where[128];

    memcpy(peers->own, key_public(own), KEY_PUBLIC_SIZE);
    if (key_earlier(own) != NULL)
        memcpy(peers->earlier_own, key_public(key_earlier(own)), KEY_PUBLIC_SIZE);
    for (int number = 1; keys_next_line(&text, &line); number++) {
        if (*line == '\0')
            continue;
        if (peers->count == PEERS_MAX)
            return err_make(ERR_INVALID_ARGUMENT, "%s has more than %d lines", path,
                            PEERS_MAX);
        snprintf(where, sizeof where, "%s:%d", path, number);
        struct err e = add_peer(peers, where, line, callers, own);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

/* An empty one; NULL without memory. */
static struct peers *peers_new(void)
{
    struct peers *peers = calloc(1, sizeof *peers);

    if (peers == NULL)
        return NULL;
    atomic_init(&peers->shares, 1);
    peers->list = calloc(PEERS_MAX, sizeof *peers->list);
    if (peers->list != NULL)
        return peers;
    free(peers);
    return NULL;
}

/* Of a list that was made, or not for want of memory. */
static struct err give(struct peers *peers, struct err e, struct peers **out)
{
    if (failed(e))
        peers_free(peers);
    else
        *out = peers;
    return e;
}

struct err peers_read(const char *path, bool callers, const struct key *own,
                      struct peers **out)
{
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be opened: %s", path,
                        strerror(errno));
    struct err e = keys_file_read(fd, path, &text);
    close(fd);
    if (failed(e))
        return e;
    struct peers *peers = peers_new();
    e = peers == NULL ? err_memory() : parse_peers(peers, path, text, callers, own);
    sodium_free(text);
    return give(peers, e, out);
}

struct err peers_of_service(const char *name, const char *public_base64,
                            const struct key *own, struct peers **out)
{
    char line[KEY_NAME_MAX + 2 * KEYS_BASE64_SIZE];

    if (strlen(public_base64) >= KEYS_BASE64_SIZE ||
        strpbrk(public_base64, "#\n") != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "that is no public key (44 characters of "
                                              "base64, as key new prints them)");
    struct peers *peers = peers_new();
    if (peers == NULL)
        return err_memory();
    snprintf(line, sizeof line, "%.*s %s", KEY_NAME_MAX, name, public_base64);
    return give(peers, parse_peers(peers, "the public key given", line, false, own), out);
}

void peers_free(struct peers *peers)
{
    if (peers == NULL || atomic_fetch_sub(&peers->shares, 1) > 1)
        return;
    for (size_t i = 0; i < peers->count; i++)
        peer_clear(&peers->list[i]);
    free(peers->list);
    free(peers);
}

struct peers *peers_share(const struct peers *peers)
{
    struct peers *shared = (struct peers *)(uintptr_t)peers; /* only the count changes */

    atomic_fetch_add(&shared->shares, 1);
    return shared;
}

size_t peers_count(const struct peers *peers)
{
    return peers->count;
}

/* ---- who is who, and may what --------------------------------------------------------- */

const uint8_t *peers_own(const struct peers *peers)
{
    return peers->own;
}

const uint8_t *peers_earlier_own(const struct peers *peers)
{
    return peers->earlier_own;
}

static const struct peer *find_from(const struct peers *peers, size_t first,
                                    const char *name, size_t length)
{
    if (length == 0 || length > KEY_NAME_MAX)
        return NULL;
    for (size_t i = first; i < peers->count; i++) {
        const struct peer *peer = &peers->list[i];
        if (strlen(peer->name) == length && memcmp(peer->name, name, length) == 0)
            return peer;
    }
    return NULL;
}

const struct peer *peers_find(const struct peers *peers, const char *name, size_t length)
{
    return find_from(peers, 0, name, length);
}

const struct peer *peers_find_next(const struct peers *peers, const struct peer *peer)
{
    return find_from(peers, (size_t)(peer - peers->list) + 1, peer->name,
                     strlen(peer->name));
}

bool peer_may_call(const struct peer *caller, const char *method)
{
    for (size_t i = 0; i < caller->method_count; i++) {
        const char *pattern = caller->methods[i];
        size_t plain = strcspn(pattern, "*");
        if (pattern[plain] == '*' ? strncmp(pattern, method, plain) == 0
                                  : strcmp(pattern, method) == 0)
            return true;
    }
    return false;
}
