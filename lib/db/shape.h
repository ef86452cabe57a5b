/*
 * shape.h - whether rows are what their statement's `rows` promises; see db.h.
 *
 * Private to lib/db.
 */
#pragma once

#include "db/db.h"

/* The columns of a shape: without its first character, and without the first `skipped`. */
struct shape {
    const char *rows; /* as in db.h; NULL: nothing is promised */
    int skipped;      /* columns that lib/db has used itself */
};

/* What was asked, for the log. */
struct shape_asked {
    const char *statement; /* its name */
    const char *types;     /* of the parameters */
    const struct db_value *parameters;
    const char *request, *order; /* what it is about; NULL: not known */
};

/*
 * DATA_LOSS when a row is missing or a cell is not as promised.  It is logged as
 * `rows_damaged`, with the statement's name and an id: the first ULID in the damaged row, or
 * else among the parameters.
 */
struct err shape_check(struct shape shape, const struct db_rows *rows,
                       const struct shape_asked *asked)
    __attribute__((warn_unused_result));
