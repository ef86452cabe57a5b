/*
 * callers.c - the three files of keys.h, and one service as a command line names it.
 *
 *   first byte   then
 *   c            a file of authorized_callers
 *   s            a file of known_services
 *   k            a file of our own key
 *   w            the same, of a file that others may read
 *   o            a service's name, newline, its public key
 *
 * A list that is accepted keeps its promises: names of allowed characters, no key twice,
 * and a caller may call what its patterns cover and nothing else.
 */
#include <sodium.h>

#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"
#include "rpc/auth/keys.h"

static struct key *own, *earlier; /* the second was the first's before */

static struct key *make_key(const char *folder)
{
    struct key *key = NULL;
    char path[64];

    snprintf(path, sizeof path, "%s/key", folder);
    struct err e = key_create(path, "own");
    if (!failed(e))
        e = key_read(path, &key);
    assert(!failed(e));
    unlink(path);
    return key;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char directory[] = "/tmp/fuzz-callers-XXXXXX";

    (void)argc, (void)argv;
    assert(sodium_init() >= 0 && mkdtemp(directory) != NULL);
    own = make_key(directory);
    earlier = make_key(directory);
    key_succeed(own, earlier);
    rmdir(directory);
    return 0;
}

/* Whether the file has `text`; files have no NUL. */
static bool has(const uint8_t *bytes, size_t size, const char *text)
{
    return memmem(bytes, size, text, strlen(text)) != NULL;
}

/* Whether the caller may call what one of its patterns says: a name, or what begins so. */
static bool covers(const struct peer *peer, const char *pattern)
{
    char method[256];
    size_t plain = strcspn(pattern, "*");

    assert(plain < sizeof method - 2);
    memcpy(method, pattern, plain);
    strcpy(method + plain, pattern[plain] == '*' ? "x" : "");
    return peer_may_call(peer, method);
}

static void check_caller(const struct peers *peers, const struct peer *peer,
                         const uint8_t *bytes, size_t size)
{
    bool everything = has(bytes, size, "*");

    const struct peer *second = peers_find_next(peers, peer);

    assert(peers_find(peers, peer->name, strlen(peer->name)) == peer);
    assert(second == NULL ||
           (strcmp(second->name, peer->name) == 0 &&
            memcmp(second->public_key, peer->public_key, KEY_PUBLIC_SIZE) != 0 &&
            peers_find_next(peers, second) == NULL));
    for (size_t i = 0; i < peer->method_count; i++) {
        assert(has(bytes, size, peer->methods[i]));
        assert(covers(peer, peer->methods[i]));
    }
    if (!everything)
        assert(!peer_may_call(peer, "no.v1.Such/Method*"));
}

static void read_peers(const char *path, bool callers, const uint8_t *bytes, size_t size)
{
    struct input words = {bytes, size};
    struct peers *peers;
    struct err e = peers_read(path, callers, own, &peers);

    if (failed(e)) {
        assert_refusal(e);
        return;
    }
    /* Whatever stands first in a line and is known as a name. */
    while (words.left > 0) {
        char *line = input_text(&words, '\n');
        size_t length = strcspn(line, " \t");
        const struct peer *peer = peers_find(peers, line, length);
        if (peer != NULL)
            check_caller(peers, peer, bytes, size);
        free(line);
    }
    assert(memcmp(peers_own(peers), key_public(own), KEY_PUBLIC_SIZE) == 0);
    assert(memcmp(peers_earlier_own(peers), key_public(earlier), KEY_PUBLIC_SIZE) == 0);
    struct peers *share = peers_share(peers);
    peers_free(peers);
    assert(peers_count(share) <= size / 46 + 1); /* a name, a blank and a key each */
    peers_free(share);
}

static void read_service(struct input *in)
{
    char *name = input_text(in, '\n'), *public_key = input_text(in, '\0');
    struct peers *peers = NULL;
    struct err e = peers_of_service(name, public_key, own, &peers);

    if (failed(e))
        assert_refusal(e);
    else
        assert(peers_count(peers) <= 1);
    peers_free(peers);
    free(public_key);
    free(name);
}

static void read_key(const char *path, bool private)
{
    struct key *key;
    struct err e = key_read(path, &key);

    assert(private || failed(e));
    if (failed(e)) {
        assert_refusal(e);
        return;
    }
    size_t length = strlen(key_name(key));
    assert(length >= 1 && length <= KEY_NAME_MAX);
    assert(sodium_is_zero(key_public(key), KEY_PUBLIC_SIZE) == 0);
    uint8_t derived[2][KEY_SHARED_SIZE];
    key_derive(key, "one", derived[0]);
    key_derive(key, "two", derived[1]);
    assert(memcmp(derived[0], derived[1], KEY_SHARED_SIZE) != 0);
    key_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t kind = input_byte(&in);

    if (kind == 'o') {
        read_service(&in);
        return 0;
    }
    struct memory_file file = memory_file_open(in.at, in.left);
    if (kind == 'w' && fchmod(file.fd, 0640) != 0)
        abort();
    if (kind == 'k' || kind == 'w')
        read_key(file.path, kind == 'k');
    else
        read_peers(file.path, kind != 's', in.at, in.left);
    memory_file_close(&file);
    return 0;
}
