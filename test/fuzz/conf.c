/*
 * conf.c - a program's settings, of every type, from everywhere they may come from.
 *
 *   input:  lines, an empty line | configuration file
 *
 * A line is an argument, or a variable of the environment: $NAME=VALUE, where NAME is a
 * setting in capitals.
 */
#include <stdio.h>

#include "base/program/conf.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"

enum { ARGUMENTS_MAX = 16 };

struct settings {
    const char *listen_url;
    const char *database_url;
    int64_t workers;
    bool pretend;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, "ipc:///tmp/x", "where it listens"),
    CONF_ROW_SECRET(database_url, "where its rows are"),
    CONF_ROW_NUMBER(workers, "4", -3, 64, "threads"),
    {"pretend", CONF_FLAG, offsetof(struct settings, pretend), "false", 0, 0, "a flag"},
};

static const char
    *const VARIABLES[] =
        {
            "CHECKOUT_FUZZ_LISTEN_URL",   "CHECKOUT_FUZZ_DATABASE_URL",
            "CHECKOUT_FUZZ_WORKERS",      "CHECKOUT_FUZZ_PRETEND",
            "CHECKOUT_FUZZ_SERVICE_HOST", /* injected by Kubernetes: ignored */
            "CHECKOUT_FUZZ_UNKNOWN",
};

enum { VARIABLES_COUNT = sizeof VARIABLES / sizeof VARIABLES[0] };

/* Another file than ours is not read, and --help ends the process. */
static bool may_be_given(const char *argument)
{
    return strstr(argument, "--config") == NULL && strcmp(argument, "--help") != 0 &&
           strcmp(argument, "--version") != 0;
}

static void set_variable(const char *line)
{
    size_t length = strcspn(line, "=");

    if (line[length] != '=')
        return;
    for (size_t i = 0; i < VARIABLES_COUNT; i++) {
        const char *setting = VARIABLES[i] + strlen("CHECKOUT_FUZZ_");
        if (strlen(setting) == length && strncmp(setting, line, length) == 0)
            setenv(VARIABLES[i], line + length + 1, 1);
    }
}

/* The lines before the file: arguments of main, to be freed, and variables.  How many. */
static int read_lines(struct input *in, char **arguments)
{
    int count = 0;

    while (in->left > 0) {
        char *line = input_text(in, '\n');
        bool last = line[0] == '\0', variable = line[0] == '$';
        if (variable)
            set_variable(line + 1);
        if (last || variable || count == ARGUMENTS_MAX || !may_be_given(line))
            free(line);
        else
            arguments[count++] = line;
        if (last)
            break;
    }
    return count;
}

static void check(const struct conf_table *table, int count, char **arguments)
{
    struct settings settings;
    struct err e = conf_read(table, count, arguments, &settings);

    if (failed(e)) {
        assert_refusal(e);
        assert(settings.listen_url == NULL && settings.database_url == NULL);
    } else {
        assert(settings.workers >= -3 && settings.workers <= 64);
        assert(settings.database_url != NULL && settings.listen_url != NULL);
        conf_free(table, &settings);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool printed;
    const struct conf_table table = {"fuzz", "a harness", ROWS,
                                     sizeof ROWS / sizeof ROWS[0]};
    struct input in = {data, size};
    char *arguments[3 + ARGUMENTS_MAX] = {"fuzz", "--config"};

    if (!printed)
        conf_print_help(&table);
    printed = true;
    for (size_t i = 0; i < VARIABLES_COUNT; i++)
        unsetenv(VARIABLES[i]);
    int count = 3 + read_lines(&in, arguments + 3);
    struct memory_file file = memory_file_open(in.at, in.left);
    arguments[2] = file.path;
    check(&table, count, arguments);
    for (int i = 3; i < count; i++)
        free(arguments[i]);
    memory_file_close(&file);
    return 0;
}
