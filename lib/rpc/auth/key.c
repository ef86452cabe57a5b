/*
 * key.c - our own key pair; see keys.h.
 *
 * A secret is only ever in sodium_malloc memory: the file is read into it, decoded in
 * it, and wiped when freed.
 */
#include "rpc/auth/key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rpc/auth/keys_file.h"
#include "rpc/auth/keys_text.h"

struct key {
    char name[KEY_NAME_MAX + 1];
    uint8_t public_key[KEY_PUBLIC_SIZE];
    uint8_t *secret;     /* KEY_SECRET_SIZE guarded bytes */
    struct key *earlier; /* a share, or NULL */
    atomic_size_t shares;
};

/* ---- from text ------------------------------------------------------------------------ */

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
        return err_make(ERR_INVALID_ARGUMENT, "%s: public is not the secret's", path);
    return ERR_NONE;
}

/* ---- from a file ---------------------------------------------------------------------- */

static struct err read_key(int fd, const char *path, struct key *key)
{
    struct stat info;
    char *text;

    if (fstat(fd, &info) != 0 || (info.st_mode & 077) != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s holds a secret and others may use it; chmod 600 it", path);
    struct err e = keys_file_read(fd, path, &text);
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
    if (key != NULL)
        atomic_init(&key->shares, 1);
    if (key == NULL || (key->secret = sodium_malloc(KEY_SECRET_SIZE)) == NULL) {
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

/* ---- what it tells --------------------------------------------------------------------- */

const char *key_name(const struct key *key)
{
    return key->name;
}

const uint8_t *key_public(const struct key *key)
{
    return key->public_key;
}

const struct key *key_earlier(const struct key *key)
{
    return key->earlier;
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
