/* conf.c - see conf.h. */
#include "base/program/conf.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <regex.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/program/file.h"
#include "base/program/process.h"

/* What was found so far, from the strongest source to the weakest. */
struct conf_source {
    const struct conf_table *table;
    const char *file;  /* path of --config, or NULL */
    char **values;     /* one per row; NULL where nothing was found */
    const char **from; /* the source of each value, for error messages */
};

/* The row of that name, or -1.  upper: the name is in capitals, as in the environment;
 * else dashes count as underscores. */
static int find_row(const struct conf_table *table, const char *name, size_t length,
                    bool upper)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *row = table->rows[i].name;
        size_t k = 0;
        while (k < length && (upper ? toupper((unsigned char)row[k]) == name[k]
                                    : row[k] == (name[k] == '-' ? '_' : name[k])))
            k++;
        if (k == length && row[k] == '\0')
            return (int)i;
    }
    return -1;
}

/* The text without the blanks and line ends around it; in place. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* Keeps a copy of the value, unless a stronger source gave one; `from` is borrowed.
 * Trimmed: a value that a shell or an orchestrator took from a file may end in a line
 * end, and no valid value begins or ends with a blank. */
static struct err give(struct conf_source *source, int row, const char *value,
                       const char *from)
{
    if (source->values[row] != NULL)
        return ERR_NONE;
    char *copy = strdup(value);
    if (copy == NULL)
        return err_memory();
    const char *text = trim(copy);
    memmove(copy, text, strlen(text) + 1);
    source->values[row] = copy;
    source->from[row] = from;
    return ERR_NONE;
}

/* ---- --help ---- */

void conf_print_help(const struct conf_table *table)
{
    printf("%s - %s\n\nusage: %s [--config FILE] [--SETTING VALUE ...]\n\n",
           table->program, table->summary, table->program);
    for (size_t i = 0; i < table->count; i++) {
        const struct conf_row *row = &table->rows[i];
        const char *note = row->type == CONF_SECRET ? " (file or environment only)" : "";
        printf("  %-28s %s%s", row->name, row->help, note);
        if (row->fallback == NULL)
            printf(" [required]");
        else
            printf(" [%s]", row->fallback);
        if (row->type == CONF_NUMBER)
            printf(" %" PRId64 " to %" PRId64, row->least, row->most);
        printf("\n");
    }
}

/* ---- 1. the command line ---- */

static struct err take_argument(struct conf_source *source, const char *name,
                                size_t length, const char *value)
{
    const struct conf_table *table = source->table;
    const bool is_config = length == 6 && strncmp(name, "config", 6) == 0;
    int row = is_config ? -1 : find_row(table, name, length, false);

    if (is_config ? source->file != NULL : row >= 0 && source->values[row] != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%.*s is given twice; keep one of them",
                        (int)length, name);
    if (is_config) {
        source->file = value;
        return ERR_NONE;
    }
    if (row < 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s does not know --%.*s; see --help",
                        table->program, (int)length, name);
    if (table->rows[row].type == CONF_SECRET)
        return err_make(ERR_INVALID_ARGUMENT,
                        "--%.*s is a secret and would show in the process list; put it "
                        "into the --config file or the environment",
                        (int)length, name);
    return give(source, row, value, "the command line");
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

/* ---- 2. the environment ---- */

/*
 * Every variable that begins with CHECKOUT_<PROGRAM>_ is treated as a setting, so an
 * unknown one is rejected.  But Kubernetes sets variables with that prefix in every
 * container of a namespace that has a service named checkout-<program>
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables):
 *
 *      ..._SERVICE_HOST=10.0.0.1   ..._SERVICE_PORT=8080   ..._SERVICE_PORT_HTTP=8080
 *      ..._PORT=tcp://10.0.0.1:8080   ..._PORT_8080_TCP=tcp://10.0.0.1:8080
 *      ..._PORT_8080_TCP_PROTO=tcp   ..._PORT_8080_TCP_PORT=8080   ..._PORT_8080_TCP_ADDR=10.0.0.1
 *
 * These are ignored, with one log line.
 */

/* NAME=VALUE, after the prefix.  Only the value tells the second from a setting. */
static const char INJECTED[] = "^((.*_)?SERVICE_HOST|(.*_)?SERVICE_PORT(_.*)?"
                               "|(.*_)?PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=";
static const char INJECTED_PORT[] = "^(.*_)?PORT=(tcp|udp|sctp)://";

static const char ENVIRONMENT[] = "the environment";

struct ignored {
    size_t count;
    const char *first; /* NAME=VALUE of the first */
};

/* Of NAME=VALUE, for messages: never the value, which may be a secret. */
static int length_of_name(const char *variable)
{
    size_t length = strcspn(variable, "=");

    return (int)(length < 80 ? length : 80);
}

/* Also false when memory is short: the variable is then rejected. */
static bool matches(const char *text, const char *pattern)
{
    regex_t compiled;

    if (regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    bool found = regexec(&compiled, text, 0, NULL, 0) == 0;
    regfree(&compiled);
    return found;
}

static bool is_injected(const char *setting, const struct conf_row *row)
{
    if (row != NULL && row->type != CONF_NUMBER)
        return false;
    return matches(setting, INJECTED_PORT) || (row == NULL && matches(setting, INJECTED));
}

/* `variable` is CHECKOUT_<PROGRAM>_NAME=VALUE; `setting` begins at NAME. */
static struct err take_variable(struct conf_source *source, const char *variable,
                                const char *setting, struct ignored *ignored)
{
    const struct conf_table *table = source->table;
    size_t length = strcspn(setting, "=");
    int row = find_row(table, setting, length, true);

    if (is_injected(setting, row < 0 ? NULL : &table->rows[row])) {
        ignored->first = ignored->count++ == 0 ? variable : ignored->first;
        return ERR_NONE;
    }
    if (row < 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "the environment sets %.*s, which %s does not know; see --help",
                        length_of_name(variable), variable, table->program);
    if (source->from[row] == ENVIRONMENT)
        return err_make(ERR_INVALID_ARGUMENT, "the environment sets %s twice",
                        table->rows[row].name);
    return give(source, row, setting + length + 1, ENVIRONMENT);
}

static struct err read_environment(struct conf_source *source)
{
    char prefix[64];
    struct ignored ignored = {0, NULL};
    struct err e = ERR_NONE;

    snprintf(prefix, sizeof prefix, "CHECKOUT_%s_", source->table->program);
    for (char *c = prefix; *c != '\0'; c++)
        *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
    for (char **variable = environ; !failed(e) && *variable != NULL; variable++)
        if (strncmp(*variable, prefix, strlen(prefix)) == 0)
            e = take_variable(source, *variable, *variable + strlen(prefix), &ignored);
    if (ignored.count > 0)
        log_info("environment_ignored",
                 "variables=%zu first=%.*s note=\"Kubernetes sets them for a service of "
                 "that name; they are not settings\"",
                 ignored.count, length_of_name(ignored.first), ignored.first);
    return e;
}

/* ---- 3. the file ---- */

enum { FILE_MAX = 1 << 20 }; /* bytes */

/* Length of the leading part that can be a name, at most 40. */
static int name_length(const char *text)
{
    size_t size =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

    return size < 40 ? (int)size : 40;
}

/* `lines`: the line that set each row before, or 0. */
static struct err read_line(struct conf_source *source, char *line, int number,
                            int *lines)
{
    const struct conf_table *table = source->table;
    char *text = trim(line);

    if (*text == '\0' || *text == '#')
        return ERR_NONE;
    char *equals = strchr(text, '=');
    if (equals == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%.80s line %d has no '='; write: name = value", source->file,
                        number);
    *equals = '\0';
    char *name = trim(text);
    int row = find_row(table, name, strlen(name), false);
    if (row < 0) /* name_length: with ':' for '=', a secret value may follow the name */
        return err_make(ERR_INVALID_ARGUMENT,
                        "%.80s line %d sets \"%.*s\", which %s does not know; see --help",
                        source->file, number, name_length(name), name, table->program);
    if (lines[row] != 0)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "%.80s line %d sets %s once more, after line %d; keep one of them",
            source->file, number, table->rows[row].name, lines[row]);
    lines[row] = number;
    return give(source, row, equals + 1, source->file);
}

static struct err read_lines(struct conf_source *source, char *text, size_t size)
{
    int *lines = calloc(source->table->count, sizeof *lines);
    struct err e = lines == NULL ? err_memory() : ERR_NONE;
    char *line;

    if (!failed(e) && strlen(text) != size)
        e = err_make(ERR_INVALID_ARGUMENT, "%.120s has a zero byte, so it is not text",
                     source->file);
    for (int number = 1; !failed(e) && (line = strsep(&text, "\n")) != NULL; number++)
        e = read_line(source, line, number, lines);
    free(lines);
    return e;
}

static struct err read_file(struct conf_source *source)
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

/* ---- 4. the struct ---- */

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
        e = read_environment(&source);
    if (!failed(e) && source.file != NULL)
        e = read_file(&source);
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
    int row = find_row(table, name, strlen(name), false);

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
