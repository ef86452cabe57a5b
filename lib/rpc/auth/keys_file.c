/* keys_file.c - see keys_file.h. */
#include "rpc/auth/keys_file.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 1 << 20 }; /* bytes of a key file or an access list */

struct err keys_file_read(int fd, const char *path, char **out)
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

bool keys_file_append(int fd, const char *text, size_t size)
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
