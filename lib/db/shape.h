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

/*
 * DATA_LOSS when a row is missing or a cell is not as promised.  It is logged as
 * `rows_damaged`, with the statement's name and an id: the first ULID in the damaged row, or
 * else among `parameters` (their types are `types`).
 */
struct err shape_check(const char *statement, struct shape shape,
                       const struct db_rows *rows, const char *types,
                       const struct db_value *parameters)
    __attribute__((warn_unused_result));
