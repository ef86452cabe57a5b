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
#include "rpc/auth/principals.h"

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
static bool covers(const struct principal *principal, const char *pattern)
{
    char method[256];
    size_t plain = strcspn(pattern, "*");

    assert(plain < sizeof method - 2);
    memcpy(method, pattern, plain);
    strcpy(method + plain, pattern[plain] == '*' ? "x" : "");
    return principal_may_call(principal, method);
}

static void check_caller(const struct principals *principals,
                         const struct principal *principal, const uint8_t *bytes,
                         size_t size)
{
    bool everything = has(bytes, size, "*");

    const struct principal *second = principals_find_next(principals, principal);

    assert(principals_find(principals, principal->name, strlen(principal->name)) ==
           principal);
    assert(second == NULL ||
           (strcmp(second->name, principal->name) == 0 &&
            memcmp(second->public_key, principal->public_key, KEY_PUBLIC_SIZE) != 0 &&
            principals_find_next(principals, second) == NULL));
    for (size_t i = 0; i < principal->method_count; i++) {
        assert(has(bytes, size, principal->methods[i]));
        assert(principal_methods_valid(principal->methods[i]));
        assert(covers(principal, principal->methods[i]));
    }
    if (!everything)
        assert(!principal_may_call(principal, "no.v1.Such/Method*"));
}

static void read_peers(const char *path, bool callers, const uint8_t *bytes, size_t size)
{
    struct input words = {bytes, size};
    struct principals *principals;
    struct err e = principals_read(path, callers, own, &principals);

    if (failed(e)) {
        assert_refusal(e);
        return;
    }
    /* Whatever stands first in a line and is known as a name. */
    while (words.left > 0) {
        char *line = input_text(&words, '\n');
        size_t length = strcspn(line, " \t");
        const struct principal *principal = principals_find(principals, line, length);
        if (principal != NULL)
            check_caller(principals, principal, bytes, size);
        free(line);
    }
    assert(memcmp(principals_own(principals), key_public(own), KEY_PUBLIC_SIZE) == 0);
    assert(memcmp(principals_earlier_own(principals), key_public(earlier),
                  KEY_PUBLIC_SIZE) == 0);
    struct principals *share = principals_share(principals);
    principals_free(principals);
    assert(principals_count(share) <= size / 46 + 1); /* a name, a blank and a key each */
    principals_free(share);
}

static void read_service(struct input *in)
{
    char *name = input_text(in, '\n'), *public_key = input_text(in, '\0');
    struct principals *principals = NULL;
    struct err e = principals_of_service(name, public_key, own, &principals);

    if (failed(e))
        assert_refusal(e);
    else
        assert(principals_count(principals) <= 1);
    principals_free(principals);
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
