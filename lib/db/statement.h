/*
 * statement.h - a prepared statement: its parameters in binary form, its rows and their
 * shape.
 *
 * Types are the letters of db.h.  Private to lib/db.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "db/connection/connection.h"
#include "db/db.h"

/* ---- preparing and sending -------------------------------------------------------------- */

/* Prepares a statement; for use before pipeline mode.  `arrays`: each parameter is
 * one. */
struct err statement_prepare(struct conn *conn, const char *name, const char *sql,
                             const char *types, bool arrays, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* The queries that are prepared on a connection, by name.  Reset `count` when it
 * connects. */
struct prepared {
    const char *names[32]; /* more than any service has */
    size_t count;
};

/* Prepares the query, unless it is. */
struct err statement_prepare_once(struct conn *conn, struct prepared *prepared,
                                  const struct db_query *query, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Sends a prepared query within its deadline.  False: the connection is
 * unusable. */
bool statement_send(struct conn *conn, const struct db_query *query)
    __attribute__((warn_unused_result));

/* ---- arrays as parameters --------------------------------------------------------------- */

/* A growing buffer.  Start zeroed; free(bytes) at the end. */
struct buffer {
    char *bytes;
    size_t size, room;
    bool failed; /* memory ran out once; nothing was added since */
};

/* Starts an array of `length` elements; array_add adds the next one. */
void array_begin(struct buffer *buffer, char type, size_t length);
void array_add(struct buffer *buffer, char type, const struct db_value *value);

/* ---- rows ------------------------------------------------------------------------------- */

/* All rows of a result, which may be NULL. */
struct db_rows rows_of(const PGresult *result);

/*
 * Whether rows are what their statement's `rows` promises; see db.h.  DATA_LOSS when a
 * row is missing or a cell is not as promised, logged as `rows_damaged` with the
 * statement's name and an id: the first ULID in the damaged row, or else among the
 * parameters.
 */
struct err rows_check(const struct db_query *query, const struct db_rows *rows)
    __attribute__((warn_unused_result));

/* The same for rows of a batch; their column 0, which assigns them to operations, was
 * already checked. */
struct err rows_check_op(const struct db_op *op, const struct db_rows *rows)
    __attribute__((warn_unused_result));
