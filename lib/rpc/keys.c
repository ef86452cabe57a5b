/*
 * keys.c - see keys.h.
 *
 * A secret is only ever in sodium_malloc memory: the file is read into it, decoded in
 * it, and wiped when freed.  A line is refused rather than guessed at: an access list
 * that is read wrongly is worse than a service that does not start.
 */
#include "rpc/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"

enum {
    SECRET_SIZE = crypto_box_SECRETKEYBYTES,
    BASE64_SIZE =
        sodium_base64_ENCODED_LEN(KEY_PUBLIC_SIZE, sodium_base64_VARIANT_ORIGINAL),
    FILE_MAX = 1 << 20, /* bytes of a key file or an access list */
    PEERS_MAX = 1024,
};

static const char BLANKS[] = " \t\r\n";
static const char NAME_CHARACTERS[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
static const char METHOD_CHARACTERS[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./";

struct key {
    char name[KEY_NAME_MAX + 1];
    uint8_t public_key[KEY_PUBLIC_SIZE];
    uint8_t *secret; /* SECRET_SIZE guarded bytes */
};

struct peers {
    struct peer *list;
    size_t count;
    atomic_size_t shares;
};

static bool key_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= KEY_NAME_MAX &&
           strspn(name, NAME_CHARACTERS) == length;
}

/* A full method name or its beginning with a '*' at the end. */
static bool pattern_valid(const char *pattern)
{
    size_t length = strlen(pattern), plain = strspn(pattern, METHOD_CHARACTERS);

    if (length == 0 || length > 128)
        return false;
    return plain == length || (plain == length - 1 && pattern[plain] == '*');
}

static bool decode(const char *base64, uint8_t out[KEY_PUBLIC_SIZE])
{
    size_t size;

    return base64_decode(base64, strlen(base64), sodium_base64_VARIANT_ORIGINAL, out,
                         KEY_PUBLIC_SIZE, &size) &&
           size == KEY_PUBLIC_SIZE;
}

static void encode(const uint8_t *key, char out[BASE64_SIZE])
{
    sodium_bin2base64(out, BASE64_SIZE, key, KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        size -= (size_t)written;
    }
    return true;
}

/* The whole file as a string in guarded memory; sodium_free it. */
static struct err read_text(int fd, const char *path, char **out)
{
    struct stat info;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size >= FILE_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s is not a file of less than 1 MiB",
                        path);
    size_t size = 0, room = (size_t)info.st_size;
    char *text = sodium_malloc(room + 1);
    if (text == NULL)
        return err_memory();
    while (size < room) {
        ssize_t got = read(fd, text + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    text[size] = '\0';
    if (strlen(text) != room) {
        sodium_free(text);
        return err_make(ERR_INVALID_ARGUMENT, "%s could not be read whole as text", path);
    }
    *out = text;
    return ERR_NONE;
}

/* The next line with comment and outer blanks cut off; false at the end. */
static bool next_line(char **rest, char **line)
{
    char *start = *rest;

    if (start == NULL || *start == '\0')
        return false;
    char *end = strchr(start, '\n');
    *rest = end == NULL ? NULL : end + 1;
    if (end != NULL)
        *end = '\0';
    start[strcspn(start, "#")] = '\0';
    start += strspn(start, BLANKS);
    size_t length = strlen(start);
    while (length > 0 && strchr(BLANKS, start[length - 1]) != NULL)
        start[--length] = '\0';
    *line = start;
    return true;
}

/* ---------------------------------------------------------- our own key */

static struct err write_key(int fd, const char *path, const char *name)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    char public_text[BASE64_SIZE];
    const size_t room = 512;
    uint8_t *secret = sodium_malloc(SECRET_SIZE);
    char *text = sodium_malloc(room), *secret_text = sodium_malloc(BASE64_SIZE);
    struct err e = err_memory();

    if (secret != NULL && text != NULL && secret_text != NULL) {
        crypto_box_keypair(public_key, secret);
        encode(public_key, public_text);
        encode(secret, secret_text);
        int size = snprintf(text, room, "name = %s\npublic = %s\nsecret = %s\n", name,
                            public_text, secret_text);
        e = ERR_NONE;
        if (!write_all(fd, text, (size_t)size) || fsync(fd) != 0)
            e = err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                         strerror(errno));
    }
    sodium_free(secret);
    sodium_free(text);
    sodium_free(secret_text);
    return e;
}

struct err key_create(const char *path, const char *name)
{
    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    if (!key_name_valid(name))
        return err_make(ERR_INVALID_ARGUMENT,
                        "a key's name is 1 to %d of A-Z a-z 0-9 _ -, not '%s'",
                        KEY_NAME_MAX, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return err_make(ERR_ALREADY_EXISTS, "%s exists; a key is never replaced", path);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s could not be created: %s", path,
                        strerror(errno));
    struct err e = write_key(fd, path, name);
    if (close(fd) != 0 && !failed(e))
        e = err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                     strerror(errno));
    if (failed(e))
        unlink(path);
    return e;
}

/* One "name = value" line into the key; `have` collects which were seen. */
static bool take_setting(char *line, struct key *key, unsigned *have)
{
    char *equals = strchr(line, '=');

    if (equals == NULL)
        return false;
    char *value = equals + 1 + strspn(equals + 1, BLANKS);
    line[strcspn(line, " \t=")] = '\0';
    unsigned which = strcmp(line, "name") == 0     ? 1
                     : strcmp(line, "public") == 0 ? 2
                     : strcmp(line, "secret") == 0 ? 4
                                                   : 0;
    if (which == 0 || (*have & which) != 0)
        return false;
    *have |= which;
    if (which == 1 && key_name_valid(value)) {
        memcpy(key->name, value, strlen(value) + 1);
        return true;
    }
    return which == 2 ? decode(value, key->public_key)
                      : which == 4 && decode(value, key->secret);
}

static struct err parse_key(const char *path, char *text, struct key *key)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    unsigned have = 0;
    char *line;

    for (int number = 1; next_line(&text, &line); number++)
        if (*line != '\0' && !take_setting(line, key, &have))
            return err_make(
                ERR_INVALID_ARGUMENT,
                "%s:%d: expected 'name', 'public' or 'secret', once each, with "
                "a value",
                path, number);
    if (have != 7)
        return err_make(ERR_INVALID_ARGUMENT, "%s lacks name, public or secret", path);
    if (crypto_scalarmult_base(public_key, key->secret) != 0 ||
        sodium_memcmp(public_key, key->public_key, KEY_PUBLIC_SIZE) != 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s: public is not the secret's", path);
    return ERR_NONE;
}

static struct err read_key(int fd, const char *path, struct key *key)
{
    struct stat info;
    char *text;

    if (fstat(fd, &info) != 0 || (info.st_mode & 077) != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s holds a secret and others may use it; chmod 600 it", path);
    struct err e = read_text(fd, path, &text);
    if (failed(e))
        return e;
    e = parse_key(path, text, key);
    sodium_free(text);
    return e;
}

struct err key_read(const char *path, struct key **out)
{
    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    struct key *key = calloc(1, sizeof *key);
    if (key == NULL || (key->secret = sodium_malloc(SECRET_SIZE)) == NULL) {
        key_free(key);
        return err_memory();
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct err e =
        fd < 0 ? err_make(ERR_INVALID_ARGUMENT, "key file %s cannot be opened: %s", path,
                          strerror(errno))
               : read_key(fd, path, key);
    if (fd >= 0)
        close(fd);
    if (failed(e)) {
        key_free(key);
        return e;
    }
    *out = key;
    return ERR_NONE;
}

void key_free(struct key *key)
{
    if (key == NULL)
        return;
    sodium_free(key->secret);
    free(key);
}

const char *key_name(const struct key *key)
{
    return key->name;
}

const uint8_t *key_public(const struct key *key)
{
    return key->public_key;
}

/* ---------------------------------------------------------- other parties */

/* Fills peer->methods from "a,b,c". */
static bool take_methods(char *list, struct peer *peer)
{
    size_t count = 1;

    for (const char *c = list; *c != '\0'; c++)
        count += *c == ',';
    peer->methods = calloc(count, sizeof *peer->methods);
    if (peer->methods == NULL)
        return false;
    for (char *rest = list, *method; (method = strsep(&rest, ",")) != NULL;) {
        if (!pattern_valid(method))
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
    char *rest, *name = strtok_r(line, BLANKS, &rest);
    char *public_key = strtok_r(NULL, BLANKS, &rest);
    char *methods = strtok_r(NULL, BLANKS, &rest);

    if (name == NULL || public_key == NULL || (methods != NULL) != caller ||
        strtok_r(NULL, BLANKS, &rest) != NULL)
        return false;
    if (!key_name_valid(name) || !decode(public_key, peer->public_key))
        return false;
    memcpy(peer->name, name, strlen(name) + 1);
    return !caller || take_methods(methods, peer);
}

/*
 * Whether the new peer can be told from every other.  Two callers with one key could each
 * pass for the other, as the name in a frame is only proven by the key that opens it.
 */
static bool distinct(const struct peers *peers, const struct peer *peer, bool callers)
{
    for (size_t i = 0; i < peers->count; i++) {
        const struct peer *other = &peers->list[i];
        if (strcmp(other->name, peer->name) == 0)
            return false;
        if (callers && memcmp(other->public_key, peer->public_key, KEY_PUBLIC_SIZE) == 0)
            return false;
    }
    return true;
}

static void clear_peer(struct peer *peer)
{
    for (size_t i = 0; i < peer->method_count; i++)
        free(peer->methods[i]);
    free(peer->methods);
    sodium_free(peer->shared);
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
    else if ((peer->shared = sodium_malloc(KEY_SHARED_SIZE)) == NULL)
        e = err_memory();
    else if (crypto_box_beforenm(peer->shared, peer->public_key, own->secret) != 0)
        e = err_make(ERR_INVALID_ARGUMENT, "%s: not a usable public key", where);
    if (!failed(e)) {
        sodium_mprotect_readonly(peer->shared);
        peers->count++;
        return e;
    }
    clear_peer(peer);
    memset(peer, 0, sizeof *peer);
    return e;
}

static struct err parse_peers(struct peers *peers, const char *path, char *text,
                              bool callers, const struct key *own)
{
    char *line, where[128];

    for (int number = 1; next_line(&text, &line); number++) {
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

struct err peers_read(const char *path, bool callers, const struct key *own,
                      struct peers **out)
{
    char *text = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be opened: %s", path,
                        strerror(errno));
    struct err e = read_text(fd, path, &text);
    close(fd);
    if (failed(e))
        return e;
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers != NULL)
        atomic_init(&peers->shares, 1);
    if (peers == NULL || (peers->list = calloc(PEERS_MAX, sizeof *peers->list)) == NULL)
        e = err_memory();
    else
        e = parse_peers(peers, path, text, callers, own);
    sodium_free(text);
    if (failed(e)) {
        peers_free(peers);
        return e;
    }
    *out = peers;
    return ERR_NONE;
}

struct err peers_of_service(const char *name, const char *public_base64,
                            const struct key *own, struct peers **out)
{
    char line[KEY_NAME_MAX + 2 * BASE64_SIZE];
    struct peers *peers = calloc(1, sizeof *peers);
    struct err e = ERR_NONE;

    if (peers != NULL)
        atomic_init(&peers->shares, 1);
    if (peers == NULL || (peers->list = calloc(PEERS_MAX, sizeof *peers->list)) == NULL)
        e = err_memory();
    else if (strlen(public_base64) >= BASE64_SIZE ||
             strpbrk(public_base64, "#\n") != NULL)
        e = err_make(ERR_INVALID_ARGUMENT, "that is no public key (44 characters of "
                                           "base64, as key new prints them)");
    if (!failed(e)) {
        snprintf(line, sizeof line, "%.*s %s", KEY_NAME_MAX, name, public_base64);
        e = parse_peers(peers, "the public key given", line, false, own);
    }
    if (failed(e)) {
        peers_free(peers);
        return e;
    }
    *out = peers;
    return ERR_NONE;
}

void peers_free(struct peers *peers)
{
    if (peers == NULL || atomic_fetch_sub(&peers->shares, 1) > 1)
        return;
    for (size_t i = 0; i < peers->count; i++)
        clear_peer(&peers->list[i]);
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

const struct peer *peers_find(const struct peers *peers, const char *name, size_t length)
{
    if (length == 0 || length > KEY_NAME_MAX)
        return NULL;
    for (size_t i = 0; i < peers->count; i++) {
        const struct peer *peer = &peers->list[i];
        if (strlen(peer->name) == length && memcmp(peer->name, name, length) == 0)
            return peer;
    }
    return NULL;
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

/* ---------------------------------------------------------- letting one in */

enum standing { ABSENT, SAME, OTHER };

/* How the name stands in the list now, compared with the line to be added. */
static enum standing find_standing(char *text, const char *name, const char *wanted)
{
    char *line;

    while (next_line(&text, &line)) {
        char found[1024] = "", *rest = NULL;
        size_t used = 0;
        for (char *word = strtok_r(line, BLANKS, &rest); word != NULL;
             word = strtok_r(NULL, BLANKS, &rest)) {
            int n = snprintf(found + used, sizeof found - used, "%s%s",
                             used > 0 ? " " : "", word);
            used += (size_t)n < sizeof found - used ? (size_t)n : sizeof found - used - 1;
        }
        size_t length = strlen(name);
        if (strncmp(found, name, length) == 0 && found[length] == ' ')
            return strcmp(found, wanted) == 0 ? SAME : OTHER;
    }
    return ABSENT;
}

static struct err append_peer(int fd, const char *path, const char *name,
                              const char *line)
{
    char *text;
    struct err e = read_text(fd, path, &text);

    if (failed(e))
        return e;
    size_t size = strlen(text);
    bool open_line = size > 0 && text[size - 1] != '\n';
    enum standing standing = find_standing(text, name, line);
    sodium_free(text);
    if (standing == SAME)
        return ERR_NONE;
    if (standing == OTHER)
        return err_make(ERR_ALREADY_EXISTS,
                        "%s has '%s' with another key or other methods; edit that line",
                        path, name);
    char whole[1200];
    int length = snprintf(whole, sizeof whole, "%s%s\n", open_line ? "\n" : "", line);
    if (lseek(fd, 0, SEEK_END) < 0 || !write_all(fd, whole, (size_t)length) ||
        fsync(fd) != 0)
        return err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                        strerror(errno));
    return ERR_NONE;
}

static bool methods_valid(const char *methods)
{
    char copy[1024];
    struct peer peer = {0};

    if (strlen(methods) >= sizeof copy - 128)
        return false;
    snprintf(copy, sizeof copy, "%s", methods);
    bool valid = take_methods(copy, &peer);
    clear_peer(&peer);
    return valid;
}

struct err peers_allow(const char *path, const char *name, const uint8_t *public_key,
                       const char *methods)
{
    char line[1100], public_text[BASE64_SIZE];

    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    if (!key_name_valid(name))
        return err_make(ERR_INVALID_ARGUMENT, "'%s' is not a key's name", name);
    if (methods != NULL && !methods_valid(methods))
        return err_make(
            ERR_INVALID_ARGUMENT,
            "'%s' are not methods: full names or beginnings with '*', separated "
            "by commas",
            methods);
    encode(public_key, public_text);
    snprintf(line, sizeof line, "%s %s%s%s", name, public_text,
             methods != NULL ? " " : "", methods != NULL ? methods : "");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s cannot be opened: %s", path,
                        strerror(errno));
    /* Two who add at once must not both find the name absent. */
    struct err e =
        flock(fd, LOCK_EX) != 0
            ? err_make(ERR_UNAVAILABLE, "%s cannot be locked: %s", path, strerror(errno))
            : append_peer(fd, path, name, line);
    close(fd);
    return e;
}
