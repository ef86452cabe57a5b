/* files.c - see files.h. */
#include "cli/files.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct err file_read(const char *path, size_t most, struct arena *arena, char **out,
                     size_t *size)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open %s: %s", path,
                        strerror(errno));
    char *text = arena_alloc(arena, most + 1);
    struct err e = text == NULL ? err_memory() : ERR_NONE;
    if (!failed(e)) {
        *size = fread(text, 1, most, file);
        *out = text;
        if (ferror(file))
            e = err_make(ERR_INVALID_ARGUMENT, "cannot read %s: %s", path,
                         strerror(errno));
        else if (*size == most && fgetc(file) != EOF)
            e = err_make(ERR_INVALID_ARGUMENT, "%s is larger than %zu bytes", path, most);
    }
    if (file != stdin)
        fclose(file);
    return e;
}

static struct err cannot_write(const char *path)
{
    return err_make(ERR_INVALID_ARGUMENT, "cannot write %s: %s", path, strerror(errno));
}

static bool write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, text, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return false;
        text += written;
        size -= (size_t)written;
    }
    return true;
}

/* The name is durable only after the folder is synced. */
static bool sync_folder(const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool synced = fsync(fd) == 0;
    close(fd);
    return synced;
}

static struct err put_in_place(const char *temporary, const char *path, bool replace)
{
    int moved = replace ? rename(temporary, path) : link(temporary, path);

    if (moved != 0 && errno == EEXIST)
        return err_make(ERR_ALREADY_EXISTS, "%s is there already and is not replaced",
                        path);
    if (moved != 0 || !sync_folder(path))
        return cannot_write(path);
    return ERR_NONE;
}

struct err file_write(const char *path, const char *text, size_t size, mode_t mode,
                      bool replace)
{
    char temporary[PATH_MAX];

    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        return err_make(ERR_INVALID_ARGUMENT, "the path is too long: %.80s...", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return cannot_write(path);
    struct err e = ERR_NONE;
    if (fchmod(fd, mode) != 0 || !write_all(fd, text, size) || fsync(fd) != 0)
        e = cannot_write(path);
    close(fd);
    if (!failed(e))
        e = put_in_place(temporary, path, replace);
    unlink(temporary); /* gone already when it was renamed */
    return e;
}
