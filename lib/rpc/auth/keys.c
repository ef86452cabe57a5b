/* keys.c - see keys.h: text, and the key pair.  keys_file.c reads and writes. */
#include "rpc/auth/keys.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* ---------------------------------------------------------- text */

bool keys_name_valid(const char *name)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    size_t length = strlen(name);

    return length >= 1 && length <= KEY_NAME_MAX && strspn(name, allowed) == length;
}

bool keys_decode(const char *base64, uint8_t out[KEY_PUBLIC_SIZE])
{
    size_t size;

    return base64_decode(base64, strlen(base64), sodium_base64_VARIANT_ORIGINAL, out,
                         KEY_PUBLIC_SIZE, &size) &&
           size == KEY_PUBLIC_SIZE;
}

void keys_encode(const uint8_t *key, char out[KEYS_BASE64_SIZE])
{
    sodium_bin2base64(out, KEYS_BASE64_SIZE, key, KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
}

bool keys_next_line(char **rest, char **line)
{
    char *start = *rest;

    if (start == NULL || *start == '\0')
        return false;
    char *end = strchr(start, '\n');
    *rest = end == NULL ? NULL : end + 1;
    if (end != NULL)
        *end = '\0';
    start[strcspn(start, "#")] = '\0';
    start += strspn(start, KEYS_BLANKS);
    size_t length = strlen(start);
    while (length > 0 && strchr(KEYS_BLANKS, start[length - 1]) != NULL)
        start[--length] = '\0';
    *line = start;
    return true;
}

/* ---------------------------------------------------------- the key pair */

struct key {
    char name[KEY_NAME_MAX + 1];
    uint8_t public_key[KEY_PUBLIC_SIZE];
    uint8_t *secret;     /* KEY_SECRET_SIZE guarded bytes */
    struct key *earlier; /* a reference, or NULL */
    atomic_size_t shares;
};

/* One "name = value" line into the key; `have` collects which were seen. */
static bool take_setting(char *line, struct key *key, unsigned *have)
{
    char *equals = strchr(line, '=');

    if (equals == NULL)
        return false;
    char *value = equals + 1 + strspn(equals + 1, KEYS_BLANKS);
    line[strcspn(line, " \t=")] = '\0';
    unsigned which = strcmp(line, "name") == 0     ? 1
                     : strcmp(line, "public") == 0 ? 2
                     : strcmp(line, "secret") == 0 ? 4
                                                   : 0;
    if (which == 0 || (*have & which) != 0)
        return false;
    *have |= which;
    if (which == 1 && keys_name_valid(value)) {
        memcpy(key->name, value, strlen(value) + 1);
        return true;
    }
    return which == 2 ? keys_decode(value, key->public_key)
                      : which == 4 && keys_decode(value, key->secret);
}

static struct err parse_key(const char *path, char *text, struct key *key)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    unsigned have = 0;
    char *line;

    for (int number = 1; keys_next_line(&text, &line); number++)
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
        return err_make(ERR_INVALID_ARGUMENT, "%s: public does not match secret", path);
    return ERR_NONE;
}

struct err key_read(const char *path, struct key **out)
{
    char *text;
    struct err e = keys_file_load(path, true, KEYS_FILE_MAX, &text);

    if (failed(e))
        return e;
    struct key *key = calloc(1, sizeof *key);
    if (key != NULL) {
        atomic_init(&key->shares, 1);
        key->secret = sodium_malloc(KEY_SECRET_SIZE);
    }
    e = key == NULL || key->secret == NULL ? err_memory() : parse_key(path, text, key);
    sodium_free(text);
    if (failed(e))
        key_free(key);
    else
        *out = key;
    return e;
}

void key_free(struct key *key)
{
    if (key == NULL || atomic_fetch_sub(&key->shares, 1) > 1)
        return;
    key_free(key->earlier);
    sodium_free(key->secret);
    free(key);
}

struct key *key_share(const struct key *key)
{
    struct key *shared = (struct key *)(uintptr_t)key; /* only the count changes */

    atomic_fetch_add(&shared->shares, 1);
    return shared;
}

void key_succeed(struct key *key, const struct key *earlier)
{
    key->earlier = key_share(earlier);
}

const struct key *key_earlier(const struct key *key)
{
    return key->earlier;
}

const char *key_name(const struct key *key)
{
    return key->name;
}

const uint8_t *key_public(const struct key *key)
{
    return key->public_key;
}

bool key_agree(const struct key *key, const uint8_t *public_key, uint8_t *shared)
{
    return crypto_box_beforenm(shared, public_key, key->secret) == 0;
}

void key_derive(const struct key *key, const char *purpose, uint8_t *out)
{
    crypto_generichash(out, KEY_SHARED_SIZE, (const unsigned char *)purpose,
                       strlen(purpose), key->secret, KEY_SECRET_SIZE);
}
