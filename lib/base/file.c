/* file.c - see file.h. */
#include "base/file.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct err file_read(const char *path, size_t most, char **bytes, size_t *size)
{
    FILE *file = fopen(path, "re");

    *bytes = NULL;
    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open %s: %s", path,
                        strerror(errno));
    setvbuf(file, NULL, _IONBF, 0); /* what is read may be secret: no copy of it stays */
    *bytes = malloc(most + 1);
    struct err e =
        *bytes == NULL ? err_memory() : read_all(file, path, most, *bytes, size);
    fclose(file);
    if (failed(e) && *bytes != NULL) {
        sodium_memzero(*bytes, most + 1);
        free(*bytes);
        *bytes = NULL;
    }
    return e;
}
