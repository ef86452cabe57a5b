/*
 * conf.h - configuration as a table, read once into a plain struct.
 *
 * A program describes its settings in rows.  The first source that has a value wins:
 *   1. on the command line          --listen-url ipc:///run/x.sock   (not for secrets)
 *   2. in the environment           CHECKOUT_INVENTORY_LISTEN_URL=...
 *   3. in the file of --config FILE listen_url = ...                 (# starts a comment)
 *   4. in the row's default.
 * --help prints the table, --version the program's name and version.  Unknown names (in
 * the environment, after CHECKOUT_<PROGRAM>_) and names given twice in one source are
 * rejected, because a typing error must not leave another value in force.  So is a file
 * that is a folder, cannot be read to its end or is longer than 1 MiB.  Variables that
 * Kubernetes injects are ignored, with one log line.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum conf_type {
    CONF_TEXT,   /* const char *; an empty default means "" */
    CONF_NUMBER, /* int64_t between least and most */
    CONF_SECRET, /* like CONF_TEXT; rejected on the command line, never printed */
    CONF_FLAG,   /* bool: true or false */
};

struct conf_row {
    const char *name; /* lower case with underscores */
    enum conf_type type;
    size_t offset;        /* of the field in the filled struct */
    const char *fallback; /* default, as it would be written; NULL: required */
    int64_t least, most;  /* CONF_NUMBER only */
    const char *help;     /* one line: meaning and unit */
};

/* A row for a field of `struct settings`, named as the field. */
#define CONF_ROW(field, type, fallback, least, most, help)                               \
    {                                                                                    \
#field, type, offsetof(struct settings, field), fallback, least, most, help      \
    }
#define CONF_ROW_TEXT(field, fallback, help)                                             \
    CONF_ROW(field, CONF_TEXT, fallback, 0, 0, help)
#define CONF_ROW_SECRET(field, help) CONF_ROW(field, CONF_SECRET, NULL, 0, 0, help)
#define CONF_ROW_FLAG(field, fallback, help)                                             \
    CONF_ROW(field, CONF_FLAG, fallback, 0, 0, help)
#define CONF_ROW_NUMBER(field, fallback, least, most, help)                              \
    CONF_ROW(field, CONF_NUMBER, fallback, least, most, help)

struct conf_table {
    const char *program; /* "inventory"; part of the environment names */
    const char *summary; /* one line for --help */
    const struct conf_row *rows;
    size_t count;
};

/*
 * Fills the fields of `out`.  Its texts are freed with conf_free, or live until the
 * process ends; on failure there are none.  INVALID_ARGUMENT names the setting, the value
 * unless secret, and what is allowed.  --help and --version print to standard output and
 * exit 0. Call once, from main.
 */
struct err conf_read(const struct conf_table *table, int argc, char **argv, void *out)
    __attribute__((warn_unused_result));

/* The text that conf_read put into `out` for the CONF_TEXT row of that name. */
const char *conf_text(const struct conf_table *table, const char *name, const void *out);

/* What --help prints: each setting with its default, and the bounds of a number. */
void conf_print_help(const struct conf_table *table);

/* Frees the texts that conf_read put into `out`. */
void conf_free(const struct conf_table *table, void *out);
