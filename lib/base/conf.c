/* conf.c - see conf.h. */
#include "base/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_source.h"
#include "base/version.h"

/* Finds a row by name; dashes count as underscores. */
int conf_find_row(const struct conf_table *table, const char *name, size_t length)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *candidate = table->rows[i].name;
        size_t k = 0;
        while (k < length && candidate[k] == (name[k] == '-' ? '_' : name[k]))
            k++;
        if (k == length && candidate[k] == '\0')
            return (int)i;
    }
    return -1;
}

char *conf_trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

struct err conf_give(struct conf_source *source, int row, const char *value,
                     const char *from)
{
    char *copy = strdup(value);

    if (copy == NULL)
        return err_memory();
    const char *text = conf_trim(copy);
    memmove(copy, text, strlen(text) + 1);
    free(source->values[row]);
    source->values[row] = copy;
    source->from[row] = from;
    return ERR_NONE;
}

static struct err take_argument(struct conf_source *source, const char *name,
                                size_t length, const char *value)
{
    const struct conf_table *table = source->table;
    const bool config = length == 6 && strncmp(name, "config", 6) == 0;
    int row = config ? -1 : conf_find_row(table, name, length);

    if (!config && row < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s does not know --%.*s; see --help",
                        table->program, (int)length, name);
    if (!config && table->rows[row].type == CONF_SECRET)
        return err_make(ERR_INVALID_ARGUMENT,
                        "--%.*s is a secret and would show in the process list; put it "
                        "into the --config file or the environment",
                        (int)length, name);
    if (config ? source->file != NULL : source->values[row] != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%.*s is given twice; keep one of them",
                        (int)length, name);
    if (!config)
        return conf_give(source, row, value, "the command line");
    source->file = value;
    return ERR_NONE;
}

static struct err read_arguments(struct conf_source *source, int argc, char **argv)
{
    struct err e = ERR_NONE;

    for (int i = 1; i < argc && !failed(e); i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0) {
            conf_print_help(source->table);
            exit(0);
        }
        if (strcmp(name, "--version") == 0) {
            printf("%s %s\n", source->table->program, version_text());
            exit(0);
        }
        if (strncmp(name, "--", 2) != 0)
            return err_make(ERR_INVALID_ARGUMENT,
                            "unexpected argument \"%s\"; see --help", name);
        name += 2;
        size_t length = strcspn(name, "=");
        const char *value = name[length] == '=' ? name + length + 1 : NULL;
        if (value == NULL && ++i < argc)
            value = argv[i];
        if (value == NULL)
            return err_make(ERR_INVALID_ARGUMENT, "--%s needs a value", name);
        e = take_argument(source, name, length, value);
    }
    return e;
}

static bool is_text(const struct conf_row *row)
{
    return row->type == CONF_TEXT || row->type == CONF_SECRET;
}

static struct err store(const struct conf_row *row, const char *value, const char *from,
                        void *out)
{
    void *field = (char *)out + row->offset;
    char *end;

    switch (row->type) {
    case CONF_TEXT:
    case CONF_SECRET:
        *(char **)field = strdup(value);
        return *(char **)field == NULL ? err_memory() : ERR_NONE;
    case CONF_FLAG:
        *(bool *)field = strcmp(value, "true") == 0;
        if (*(bool *)field || strcmp(value, "false") == 0)
            return ERR_NONE;
        return err_make(ERR_INVALID_ARGUMENT, "%s is \"%s\" in %s; write true or false",
                        row->name, value, from);
    case CONF_NUMBER:
        break;
    }
    errno = 0;
    long long number = strtoll(value, &end, 10);
    if (errno != 0 || end == value || *end != '\0' || number < row->least ||
        number > row->most)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s is \"%s\" in %s; it must be a whole number from %lld to %lld",
                        row->name, value, from, (long long)row->least,
                        (long long)row->most);
    *(int64_t *)field = number;
    return ERR_NONE;
}

static struct err fill(const struct conf_table *table, const struct conf_source *source,
                       void *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_row *row = &table->rows[i];
        const char *value = source->values[i] != NULL ? source->values[i] : row->fallback;
        const char *from = source->from[i] != NULL ? source->from[i] : "the defaults";
        if (value == NULL)
            return err_make(ERR_INVALID_ARGUMENT,
                            "%s is not set; put it into the --config file (%s)",
                            row->name, row->help);
        struct err e = store(row, value, from, out);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

struct err conf_read(const struct conf_table *table, int argc, char **argv, void *out)
{
    struct conf_source source = {
        .table = table,
        .values = calloc(table->count, sizeof *source.values),
        .from = calloc(table->count, sizeof *source.from),
    };

    if (source.values == NULL || source.from == NULL) {
        free(source.values);
        free(source.from);
        return err_memory();
    }
    struct err e = read_arguments(&source, argc, argv);
    if (!failed(e))
        e = conf_read_environment(&source);
    if (!failed(e) && source.file != NULL)
        e = conf_read_file(&source);
    for (size_t i = 0; i < table->count; i++)
        if (is_text(&table->rows[i]))
            *(char **)((char *)out + table->rows[i].offset) = NULL;
    if (!failed(e))
        e = fill(table, &source, out);
    for (size_t i = 0; i < table->count; i++)
        free(source.values[i]);
    free(source.values);
    free(source.from);
    if (failed(e))
        conf_free(table, out);
    return e;
}

const char *conf_text(const struct conf_table *table, const char *name, const void *out)
{
    int row = conf_find_row(table, name, strlen(name));

    assert(row >= 0 && table->rows[row].type == CONF_TEXT);
    return *(char *const *)(const void *)((const char *)out + table->rows[row].offset);
}

void conf_free(const struct conf_table *table, void *out)
{
    for (size_t i = 0; i < table->count; i++) {
        char **field = (char **)(void *)((char *)out + table->rows[i].offset);
        if (!is_text(&table->rows[i]))
            continue;
        free(*field);
        *field = NULL;
    }
}
