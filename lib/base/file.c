/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct err read_all(FILE *file, const char *path, size_t most, char *bytes,
                           size_t *size)
{
    errno = 0;
    *size = fread(bytes, 1, most + 1, file);
    if (ferror(file))
        return err_make(ERR_INVALID_ARGUMENT, "cannot read %s: %s", path,
                        strerror(errno));
    if (*size > most)
        return err_make(ERR_INVALID_ARGUMENT, "%s is longer than %zu bytes", path, most);
    bytes[*size] = '\0';
    return ERR_NONE;
}

static struct err check_private(FILE *file, const char *path)
{
    struct stat status;

    if (fstat(fileno(file), &status) == 0 &&
        (S_ISDIR(status.st_mode) || (status.st_mode & 077) == 0))
        return ERR_NONE; /* a folder is refused when it is read */
    return err_make(ERR_INVALID_ARGUMENT, "%s can be read by others; chmod 600 it", path);
}

static struct err load(const char *path, bool private, size_t most, char **bytes,
                       size_t *size)
{
    FILE *file = fopen(path, "re");

    *bytes = NULL;
    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open %s: %s", path,
                        strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* what is read may be secret: no copy of it stays */
    struct err e = private ? check_private(file, path) : ERR_NONE;
    if (!failed(e))
        *bytes = malloc(most + 1);
    if (!failed(e))
        e = *bytes == NULL ? err_memory() : read_all(file, path, most, *bytes, size);
    fclose(file);
    if (failed(e) && *bytes != NULL) {
        sodium_memzero(*bytes, most + 1);
        free(*bytes);
        *bytes = NULL;
    }
    return e;
}

struct err file_load(const char *path, size_t most, char **bytes, size_t *size)
{
    return load(path, false, most, bytes, size);
}

struct err file_load_private(const char *path, size_t most, char **bytes, size_t *size)
{
    return load(path, true, most, bytes, size);
}
