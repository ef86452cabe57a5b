/*
 * key_create.c - a new key pair, into a file; see keys.h.
 *
 * A key is never replaced, and half a key is never left behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rpc/auth/key.h"
#include "rpc/auth/keys_file.h"
#include "rpc/auth/keys_text.h"

static struct err write_key(int fd, const char *path, const char *name)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    char public_text[KEYS_BASE64_SIZE];
    const size_t room = 512;
    uint8_t *secret = sodium_malloc(KEY_SECRET_SIZE);
    char *text = sodium_malloc(room), *secret_text = sodium_malloc(KEYS_BASE64_SIZE);
    struct err e = err_memory();

    if (secret != NULL && text != NULL && secret_text != NULL) {
        crypto_box_keypair(public_key, secret);
        keys_encode(public_key, public_text);
        keys_encode(secret, secret_text);
        int size = snprintf(text, room, "name = %s\npublic = %s\nsecret = %s\n", name,
                            public_text, secret_text);
        e = ERR_NONE;
        if (!keys_file_append(fd, text, (size_t)size) || fsync(fd) != 0)
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
    if (!keys_name_valid(name))
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
