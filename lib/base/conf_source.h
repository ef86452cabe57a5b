/* conf_source.h - what was given of a program's settings so far; private to conf*.c. */
#pragma once

#include "base/conf.h"

struct conf_source {
    const struct conf_table *table;
    const char *file;  /* path of --config, or NULL */
    char **values;     /* one a row; NULL where nothing was given */
    const char **from; /* where each came from, for error sentences */
};

/* The row of that name, or -1; dashes count as underscores. */
int conf_find_row(const struct conf_table *table, const char *name, size_t length);

/* The text without blanks and line ends around it; in place. */
char *conf_trim(char *text);

/* Takes a copy of the value, in place of an earlier one; `from` is borrowed.  A value that a
 * shell or an orchestrator took from a file may end in a line end, and none of ours begins or
 * ends with a blank: those are taken off. */
struct err conf_give(struct conf_source *source, int row, const char *value,
                     const char *from) __attribute__((warn_unused_result));

/* Takes from source->file what was not given yet. */
struct err conf_read_file(struct conf_source *source) __attribute__((warn_unused_result));

/* Likewise from the environment's CHECKOUT_<PROGRAM>_<SETTING>. */
struct err conf_read_environment(struct conf_source *source)
    __attribute__((warn_unused_result));
