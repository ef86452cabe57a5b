/* conf.c - see conf.h. */
#include "base/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
    const char *file;   /* path of --config, or NULL */
    char **values;      /* one a row, NULL where nothing was given */
    const char **from;  /* where each came from, for error sentences */
};

/* Finds a row by name; dashes count as underscores. */
static int find_row(const struct conf_table *table, const char *name, size_t length)
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

static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

static struct err read_line(const struct conf_table *table, struct source *source, char *line,
                            int number)
{
    char *text = trim(line);

    if (*text == '\0' || *text == '#')
        return ERR_NONE;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "%s line %d has no '='; write: name = value",
                        source->file, number);
    *equals = '\0';
    char *name = trim(text);
    int row = find_row(table, name, strlen(name));
    if (row < 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s line %d sets \"%s\", which %s does not know; see --help",
                        source->file, number, name, table->program);
    if (source->values[row] == NULL) {
        source->values[row] = strdup(trim(equals + 1));
        source->from[row] = source->file;
        if (source->values[row] == NULL)
            return err_memory();
    }
    return ERR_NONE;
}

static struct err read_file(const struct conf_table *table, struct source *source)
{
    char line[4096];
    struct err e = ERR_NONE;
    FILE *file = fopen(source->file, "re");

    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot open the configuration %s: %s",
                        source->file, strerror(errno));
    for (int number = 1; !failed(e) && fgets(line, sizeof line, file) != NULL; number++)
        e = read_line(table, source, line, number);
    fclose(file);
    return e;
}

static struct err read_arguments(const struct conf_table *table, struct source *source,
                                 int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "--help") == 0) {
            conf_print_help(table);
            exit(0);
        }
        if (strncmp(name, "--", 2) != 0)
            return err_make(ERR_INVALID_ARGUMENT, "unexpected argument \"%s\"; see --help", name);
        name += 2;
        size_t length = strcspn(name, "=");
        const char *value = name[length] == '=' ? name + length + 1 : NULL;
        if (value == NULL && ++i < argc)
            value = argv[i];
        if (value == NULL)
            return err_make(ERR_INVALID_ARGUMENT, "--%s needs a value", name);
        if (length == 6 && strncmp(name, "config", 6) == 0) {
            source->file = value;
            continue;
        }
        int row = find_row(table, name, length);
        if (row < 0)
            return err_make(ERR_INVALID_ARGUMENT, "%s does not know --%.*s; see --help",
                            table->program, (int)length, name);
        if (table->rows[row].type == CONF_SECRET)
            return err_make(ERR_INVALID_ARGUMENT,
                            "--%.*s is a secret and would show in the process list; put it "
                            "into the --config file or the environment",
                            (int)length, name);
        free(source->values[row]);
        source->values[row] = strdup(value);
        source->from[row] = "the command line";
        if (source->values[row] == NULL)
            return err_memory();
    }
    return ERR_NONE;
}

static void read_environment(const struct conf_table *table, struct source *source)
{
    char name[128];

    for (size_t i = 0; i < table->count; i++) {
        snprintf(name, sizeof name, "CHECKOUT_%s_%s", table->program, table->rows[i].name);
        for (char *c = name; *c != '\0'; c++)
            *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
        const char *value = getenv(name);
        if (value != NULL && source->values[i] == NULL) {
            source->values[i] = strdup(value);
            source->from[i] = "the environment";
        }
    }
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
    if (errno != 0 || end == value || *end != '\0' || number < row->least || number > row->most)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s is \"%s\" in %s; it must be a whole number from %lld to %lld",
                        row->name, value, from, (long long)row->least, (long long)row->most);
    *(int64_t *)field = number;
    return ERR_NONE;
}

static struct err fill(const struct conf_table *table, const struct source *source, void *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_row *row = &table->rows[i];
        const char *value = source->values[i] != NULL ? source->values[i] : row->fallback;
        const char *from = source->from[i] != NULL ? source->from[i] : "the defaults";
        if (value == NULL)
            return err_make(ERR_INVALID_ARGUMENT,
                            "%s is not set; put it into the --config file (%s)", row->name,
                            row->help);
        struct err e = store(row, value, from, out);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

struct err conf_read(const struct conf_table *table, int argc, char **argv, void *out)
{
    struct source source = {
        .values = calloc(table->count, sizeof *source.values),
        .from = calloc(table->count, sizeof *source.from),
    };

    if (source.values == NULL || source.from == NULL) {
        free(source.values);
        free(source.from);
        return err_memory();
    }
    struct err e = read_arguments(table, &source, argc, argv);
    if (!failed(e)) {
        read_environment(table, &source);
        if (source.file != NULL)
            e = read_file(table, &source);
    }
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
    int row = find_row(table, name, strlen(name));

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
