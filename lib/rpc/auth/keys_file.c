/* keys_file.c - see keys.h: files whose text may be secret, and a new key file. */
#include "rpc/auth/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads up to `size` bytes; how many there were. */
static size_t read_whole(int fd, char *text, size_t size)
{
    size_t done = 0;
    ssize_t got = 1;

    while (done < size && got > 0) {
        got = read(fd, text + done, size - done);
        if (got > 0)
            done += (size_t)got;
        else if (got < 0 && errno == EINTR)
            got = 1;
    }
    return done;
}

struct err keys_file_read(int fd, const char *path, bool secret, size_t most, char **out)
{
    struct stat info;

    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || (size_t)info.st_size >= most)
        return err_make(ERR_INVALID_ARGUMENT, "%s is not a file of less than %zu KiB",
                        path, most / 1024);
    if (secret && (info.st_mode & 077) != 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s holds a secret and others may use it; chmod 600 it", path);
    size_t size = (size_t)info.st_size;
    char *text = sodium_malloc(size + 1);
    if (text == NULL)
        return err_memory();
    text[read_whole(fd, text, size)] = '\0';
    if (strlen(text) != size) {
        sodium_free(text);
        return err_make(ERR_INVALID_ARGUMENT, "%s could not be read whole as text", path);
    }
    *out = text;
    return ERR_NONE;
}

struct err keys_file_load(const char *path, bool secret, size_t most, char **out)
{
    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be opened: %s", path,
                        strerror(errno));
    struct err e = keys_file_read(fd, path, secret, most, out);
    close(fd);
    return e;
}

struct err keys_file_write(int fd, const char *path, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break;
        text += written;
        size -= (size_t)written;
    }
    return size == 0 && fsync(fd) == 0
               ? ERR_NONE
               : err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                          strerror(errno));
}

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
        e = keys_file_write(fd, path, text, (size_t)size);
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
