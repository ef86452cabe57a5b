/* conf_file.c - settings from a file, whole or not at all; see conf.h. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_source.h"
#include "base/file.h"

enum { FILE_MAX = 1 << 20 }; /* bytes */

/* Bytes of what can be a name, 40 at most. */
static int name_length(const char *text)
{
    size_t size =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return size < 40 ? (int)size : 40;
}

/* `lines`: where each row was set before; 0: nowhere. */
static struct err read_line(struct conf_source *source, char *line, int number,
                            int *lines)
{
    const struct conf_table *table = source->table;
    char *text = conf_trim(line);

    if (*text == '\0' || *text == '#')
        return ERR_NONE;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%.80s line %d has no '='; write: name = value", source->file,
                        number);
    *equals = '\0';
    char *name = conf_trim(text);
    int row = conf_find_row(table, name, strlen(name));
    if (row <
        0) /* a line with a ':' for the '=' has a value there, which may be secret */
        return err_make(ERR_INVALID_ARGUMENT,
                        "%.80s line %d sets \"%.*s\", which %s does not know; see --help",
                        source->file, number, name_length(name), name, table->program);
    if (lines[row] != 0)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "%.80s line %d sets %s once more, after line %d; keep one of them",
            source->file, number, table->rows[row].name, lines[row]);
    lines[row] = number;
    return source->values[row] != NULL
               ? ERR_NONE
               : conf_give(source, row, conf_trim(equals + 1), source->file);
}

static struct err read_lines(struct conf_source *source, char *text, size_t size)
{
    int *lines = calloc(source->table->count, sizeof *lines);
    struct err e = lines == NULL ? err_memory() : ERR_NONE;
    char *line;

    if (!failed(e) && strlen(text) != size)
        e = err_make(ERR_INVALID_ARGUMENT, "%.120s has a zero byte: it is no text file",
                     source->file);
    for (int number = 1; !failed(e) && (line = strsep(&text, "\n")) != NULL; number++)
        e = read_line(source, line, number, lines);
    free(lines);
    return e;
}

struct err conf_read_file(struct conf_source *source)
{
    char *text;
    size_t size;
    struct err e = file_load(source->file, FILE_MAX, &text, &size);

    if (failed(e))
        return e;
    e = read_lines(source, text, size);
    sodium_memzero(text, size); /* it may hold passwords */
    free(text);
    return e;
}
