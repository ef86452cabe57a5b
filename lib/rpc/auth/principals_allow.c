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

/* Whether the list has the name, and the line `wanted` or another for it. */
static enum presence find_name(char *text, const char *name, const char *wanted)
{
    enum presence presence = ABSENT;
    char *line;

    while (presence != SAME && keys_next_line(&text, &line)) {
        char found[1024] = "", *rest = NULL;
        size_t used = 0;
        for (char *word = strtok_r(line, KEYS_BLANKS, &rest); word != NULL;
             word = strtok_r(NULL, KEYS_BLANKS, &rest)) {
            int n = snprintf(found + used, sizeof found - used, "%s%s",
                             used > 0 ? " " : "", word);
            used += (size_t)n < sizeof found - used ? (size_t)n : sizeof found - used - 1;
        }
        size_t length = strlen(name);
        if (strncmp(found, name, length) == 0 && found[length] == ' ')
            presence = strcmp(found, wanted) == 0 ? SAME : OTHER;
    }
    return presence;
}

static struct err append_line(int fd, const char *path, const char *name,
                              const char *line)
{
    char *text;
    struct err e = keys_file_read(fd, path, false, KEYS_FILE_MAX, &text);

    if (failed(e))
        return e;
    size_t size = strlen(text);
    bool open_line = size > 0 && text[size - 1] != '\n';
    enum presence presence = find_name(text, name, line);
    sodium_free(text);
    if (presence == SAME)
        return ERR_NONE;
    if (presence == OTHER)
        return err_make(ERR_ALREADY_EXISTS,
                        "%s has '%s' with another key or other methods; edit that line",
                        path, name);
    char whole[1200];
    int length = snprintf(whole, sizeof whole, "%s%s\n", open_line ? "\n" : "", line);
    if (lseek(fd, 0, SEEK_END) < 0)
        return err_make(ERR_UNAVAILABLE, "%s could not be written: %s", path,
                        strerror(errno));
    return keys_file_write(fd, path, whole, (size_t)length);
}

struct err principals_allow(const char *path, const char *name, const uint8_t *public_key,
                            const char *methods)
{
    char line[1100], public_text[KEYS_BASE64_SIZE];

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
    snprintf(line, sizeof line, "%s %s%s%s", name, public_text,
             methods != NULL ? " " : "", methods != NULL ? methods : "");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s cannot be opened: %s", path,
                        strerror(errno));
    /* Two programs that add at once must not both find the name absent. */
    struct err e =
        flock(fd, LOCK_EX) != 0
            ? err_make(ERR_UNAVAILABLE, "%s cannot be locked: %s", path, strerror(errno))
            : append_line(fd, path, name, line);
    close(fd);
    return e;
}
