/* principals_allow.c - see principals_allow in principals.h: one more line in a list. */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "rpc/auth/principals.h"

enum presence { ABSENT, SAME, OTHER };

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* Whether the list has the name: with this key and these methods, or others. */
static enum presence find_name(char *text, const char *name, const char *public_key,
                               const char *methods)
{
    enum presence presence = ABSENT;
    char *line, *rest;

    while (presence != SAME && keys_next_line(&text, &line)) {
        const char *found = strtok_r(line, KEYS_BLANKS, &rest);
        const char *its_key = strtok_r(NULL, KEYS_BLANKS, &rest);
        const char *its_methods = strtok_r(NULL, KEYS_BLANKS, &rest);
        if (same(found, name) && its_key != NULL)
            presence = same(its_key, public_key) && same(its_methods, methods) &&
                               strtok_r(NULL, KEYS_BLANKS, &rest) == NULL
                           ? SAME
                           : OTHER;
    }
    return presence;
}

static struct err append_line(int fd, const char *path, const char *name,
                              const char *public_key, const char *methods)
{
    char *text, line[1200];
    struct err e = keys_file_read(fd, path, false, KEYS_FILE_MAX, &text);

    if (failed(e))
        return e;
    size_t size = strlen(text);
    bool open_line = size > 0 && text[size - 1] != '\n';
    enum presence presence = find_name(text, name, public_key, methods);
    sodium_free(text);
    if (presence == SAME)
        return ERR_NONE;
    if (presence == OTHER)
        return err_make(ERR_ALREADY_EXISTS,
                        "%s has '%s' with another key or other methods; edit that line",
                        path, name);
    int length =
        snprintf(line, sizeof line, "%s%s %s%s%s\n", open_line ? "\n" : "", name,
                 public_key, methods != NULL ? " " : "", methods != NULL ? methods : "");
    if (lseek(fd, 0, SEEK_END) < 0)
        return err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                        strerror(errno));
    return keys_file_write(fd, path, line, (size_t)length);
}

struct err principals_allow(const char *path, const char *name, const uint8_t *public_key,
                            const char *methods)
{
    char public_text[KEYS_BASE64_SIZE];

    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium could not be initialised");
    if (!keys_name_valid(name))
        return err_make(ERR_INVALID_ARGUMENT, "'%s' is not a key's name", name);
    if (methods != NULL && !principal_methods_valid(methods))
        return err_make(
            ERR_INVALID_ARGUMENT,
            "'%s' are not methods: full names or beginnings with '*', separated "
            "by commas",
            methods);
    keys_encode(public_key, public_text);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s cannot be opened: %s", path,
                        strerror(errno));
    /* Two programs that add at once must not both find the name absent. */
    struct err e =
        flock(fd, LOCK_EX) != 0
            ? err_make(ERR_UNAVAILABLE, "%s cannot be locked: %s", path, strerror(errno))
            : append_line(fd, path, name, public_text, methods);
    close(fd);
    return e;
}
