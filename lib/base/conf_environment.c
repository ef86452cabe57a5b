/*
 * conf_environment.c - settings from the environment; see conf.h.
 *
 * All that begins with CHECKOUT_<PROGRAM>_ is meant for the program, so what it does not
 * know is refused.  But for a service that is named checkout-<program>, Kubernetes puts
 * variables with just that beginning into every container of the namespace
 * (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables):
 *
 *      ..._SERVICE_HOST=10.0.0.1   ..._SERVICE_PORT=8080   ..._SERVICE_PORT_HTTP=8080
 *      ..._PORT=tcp://10.0.0.1:8080   ..._PORT_8080_TCP=tcp://10.0.0.1:8080
 *      ..._PORT_8080_TCP_PROTO=tcp   ..._PORT_8080_TCP_PORT=8080   ..._PORT_8080_TCP_ADDR=10.0.0.1
 *
 * Nobody meant these as settings; they are overlooked, and one line in the log says so.
 */
#include <ctype.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/conf_source.h"
#include "base/log.h"

enum { PREFIX_SIZE = 64, NAME_TOLD = 80 };

static const char ENVIRONMENT[] = "the environment";

/* NAME=VALUE, after the prefix. */
static const char INJECTED[] = "^((.*_)?SERVICE_HOST|(.*_)?SERVICE_PORT(_.*)?"
                               "|(.*_)?PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)=";
/* The same where the name alone might be meant. */
static const char INJECTED_PORT[] = "^(.*_)?PORT=(tcp|udp|sctp)://";

struct overlooked {
    size_t count;
    const char *first; /* NAME=VALUE of the first */
};

struct patterns {
    regex_t injected, injected_port;
};

/* Of NAME=VALUE, for sentences: never the value, which may be a secret. */
static int length_of_name(const char *variable)
{
    size_t length = strcspn(variable, "=");

    return (int)(length < NAME_TOLD ? length : NAME_TOLD);
}

static void prefix_of(const struct conf_table *table, char out[PREFIX_SIZE])
{
    snprintf(out, PREFIX_SIZE, "CHECKOUT_%s_", table->program);
    for (char *c = out; *c != '\0'; c++)
        *c = (char)(*c == '-' ? '_' : toupper((unsigned char)*c));
}

/* Settings are in capitals there, so that a row's name is found by its own letters. */
static int row_of(const struct conf_table *table, const char *name, size_t length)
{
    for (size_t i = 0; i < table->count; i++) {
        const char *candidate = table->rows[i].name;
        size_t k = 0;
        while (k < length && toupper((unsigned char)candidate[k]) == name[k])
            k++;
        if (k == length && candidate[k] == '\0')
            return (int)i;
    }
    return -1;
}

static bool is_injected(const struct patterns *patterns, const struct conf_table *table,
                        const char *setting, int row)
{
    bool may_be_meant = row >= 0 && table->rows[row].type != CONF_NUMBER;

    if (may_be_meant)
        return false;
    return regexec(&patterns->injected_port, setting, 0, NULL, 0) == 0 ||
           (row < 0 && regexec(&patterns->injected, setting, 0, NULL, 0) == 0);
}

/* `variable` is CHECKOUT_<PROGRAM>_NAME=VALUE; `setting` begins at NAME. */
static struct err take(struct conf_source *source, const struct patterns *patterns,
                       const char *variable, const char *setting,
                       struct overlooked *overlooked)
{
    const struct conf_table *table = source->table;
    size_t length = strcspn(setting, "=");
    int row = row_of(table, setting, length);

    if (is_injected(patterns, table, setting, row)) {
        overlooked->first = overlooked->count++ == 0 ? variable : overlooked->first;
        return ERR_NONE;
    }
    if (row < 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "the environment sets %.*s, which %s does not know; see --help",
                        length_of_name(variable), variable, table->program);
    if (source->from[row] == ENVIRONMENT)
        return err_make(ERR_INVALID_ARGUMENT, "the environment sets %s twice",
                        table->rows[row].name);
    return source->values[row] != NULL
               ? ERR_NONE
               : conf_give(source, row, setting + length + 1, ENVIRONMENT);
}

static struct err take_all(struct conf_source *source, const struct patterns *patterns,
                           struct overlooked *overlooked)
{
    char prefix[PREFIX_SIZE];
    struct err e = ERR_NONE;

    prefix_of(source->table, prefix);
    for (char **variable = environ; !failed(e) && *variable != NULL; variable++)
        if (strncmp(*variable, prefix, strlen(prefix)) == 0)
            e = take(source, patterns, *variable, *variable + strlen(prefix), overlooked);
    return e;
}

struct err conf_read_environment(struct conf_source *source)
{
    struct patterns patterns;
    struct overlooked overlooked = {0, NULL};

    if (regcomp(&patterns.injected, INJECTED, REG_EXTENDED | REG_NOSUB) != 0)
        return err_memory();
    if (regcomp(&patterns.injected_port, INJECTED_PORT, REG_EXTENDED | REG_NOSUB) != 0) {
        regfree(&patterns.injected);
        return err_memory();
    }
    struct err e = take_all(source, &patterns, &overlooked);
    regfree(&patterns.injected);
    regfree(&patterns.injected_port);
    if (overlooked.count > 0)
        log_info("environment_overlooked",
                 "variables=%zu first=%.*s note=\"Kubernetes sets them for a service of "
                 "that name; they are no settings\"",
                 overlooked.count, length_of_name(overlooked.first), overlooked.first);
    return e;
}
