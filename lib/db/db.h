/*
 * db.h - one service's database: a writer that commits in groups, and a few readers.
 *
 *      db_submit -> queue -> [ lock; one set-based statement per kind; COMMIT ] -> done
 *
 * The writer takes everything queued, runs each kind's operations as one statement over
 * arrays, all in one transaction, and calls each operation's `done` after COMMIT.  Under
 * load batches form by themselves; a single operation runs at once.
 *
 * What the writer guarantees:
 *  - `done` is called exactly once, at the latest soon after the operation's deadline.
 *  - when the database cannot write (unreachable, full, read-only, a right is missing), the
 *    operation ends with UNAVAILABLE; RESOURCE_EXHAUSTED means a full queue or no memory.
 *  - success means that COMMIT was acknowledged.  A failure with effect none means that it
 *    was not and will not be committed; with effect unknown, that it may have been.
 *  - one bad operation never fails the others: a batch that fails for its data is rolled
 *    back, halved and run again until the bad one is alone.  The same for a row that
 *    another transaction keeps locked: only operations that need it fail, UNAVAILABLE.
 *  - when the connection is lost, also during COMMIT, the batch is run again on a new one
 *    until each operation's deadline.  So every statement must be idempotent by its ids.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cancel.h"
#include "base/err.h"
#include "base/metrics.h"

enum {
    DB_HEAD_MAX = 13,  /* columns of an operation's own row */
    DB_LINES_MAX = 4,  /* columns of its lines */
    DB_KINDS_MAX = 16, /* kinds of operation a service has */
};

/*
 * One kind of operation.  All statements of a kind get the same parameters, arrays with
 * one element a row: $1... the head columns in order (element i is operation i); then,
 * if there are lines, the operations' ordinals (bigint[], from 1) and the line columns.
 * Column types are letters: t text, i bigint, b boolean, y bytea.
 */
struct db_kind {
    const char *name;  /* of the prepared statements; a plain word */
    const char *head;  /* types of the head columns, "tti" */
    const char *lines; /* types of the line columns, or NULL */
    const char *write; /* changes rows; without operations it locks none; or NULL */
    /* Returns the rows for each operation, sorted by column 0, the ordinal (bigint); those of
     * one operation are passed to its `done`.  NULL: none. */
    const char *answer;
    const char *rows; /* the shape of `answer`'s rows, see below; there when that is */
    /* `write` returns rows like those of `answer` for what it changed, but with column 0 of the
     * head (the id: a text, never NULL) in place of the ordinal, one operation's rows
     * together.  Then `answer` runs, after COMMIT, only for operations of which
     * `write` returned nothing.  If operations share an id, only the first is written;
     * the others read its result. */
    bool write_answers;
};

/*
 * The shape of an answer: "+itT" is one row or more, each of a bigint, a text, and a text
 * that may be NULL; "*..." any number of rows.  Letters as above; a capital may be NULL.
 * Only rows of that shape are passed on.  If a required row is missing, or a required
 * cell is NULL, somebody has changed the database by hand or a disk has failed: the
 * operation ends with DATA_LOSS, of unknown effect if it wrote, and `rows_damaged` is
 * logged.  Other operations are not affected.
 */

/* A result's rows, valid only while `done` runs; columns and rows count from 0. */
struct db_rows {
    const void *result;
    int first, count;
};

struct db_value {
    const char *text; /* t and y; NULL is SQL's NULL */
    size_t size;      /* y only */
    int64_t number;   /* i and b */
};

typedef void db_done(void *arg, struct err error, const struct db_rows *rows);

/* One operation: the caller's memory, which it must not touch until `done` is called. */
struct db_op {
    const struct db_kind *kind;
    struct db_value head[DB_HEAD_MAX];
    const struct db_value *lines; /* line_count rows, one after another */
    size_t line_count;
    int64_t deadline_ms; /* clock_monotonic_ms */
    /* When cancelled, an operation that has not begun ends with CANCELLED.  NULL:
     * never. */
    const struct cancel *cancel;
    const char *request, *order; /* for logs; NULL: not known */
    db_done *done;               /* on the writer's thread: it must not block */
    void *arg;
    struct db_op *next; /* the queue's */
};

/* One read-only query: the caller's memory until `done` is called, as above. */
struct db_query {
    const char *name;  /* of the prepared statement; one name, one text */
    const char *types; /* of the parameters $1..., letters as above */
    const char *sql;
    const char *rows; /* the shape of the answer, as above; NULL: none is read */
    struct db_value values[DB_HEAD_MAX];
    int64_t deadline_ms;
    const struct cancel *cancel; /* as above */
    const char *request, *order; /* as above */
    db_done *done;               /* on a reader's thread: it must not block */
    void *arg;
    struct db_query *next;
};

struct db_config {
    const char *url;                    /* libpq URL; may hold a password: never logged */
    const char *name;                   /* application_name, and in logs */
    const struct db_kind *const *kinds; /* in the order they run in a batch */
    size_t kind_count;
    /* Run first in each transaction when not NULL: takes every lock the batch needs in one
     * sorted statement.  $1 is column 0 of every head, $2 column 0 of every line, both
     * text[], unsorted and with repeats.  An operation with lines locks by its lines. */
    const char *lock;
    size_t queue_max; /* operations waiting; past it RESOURCE_EXHAUSTED */
    size_t batch_max; /* operations in one transaction */
    size_t readers;   /* reader threads, 0 to 16 */
    /* Where db_queue_operations, db_batch_operations and db_batch_us go; borrowed, or
     * NULL. */
    struct metrics *metrics;
};

struct db;

/* Starts the threads and connects in the background; waits for nothing. */
struct err db_open(const struct db_config *config, struct db **out)
    __attribute__((warn_unused_result));

/* Ends what is queued with CANCELLED, then the threads.  NULL is allowed. */
void db_close(struct db *db);

/*
 * Whether an operation submitted now would be written, as far as is known: OK or
 * UNAVAILABLE.  The message has the reason for operators, the subject (static) the reason
 * that clients may see.  Probes keep it up to date, also while there are no
 * operations.
 */
struct err db_health(struct db *db) __attribute__((warn_unused_result));

/* `done` may be called before these return (queue full, or closing). */
void db_submit(struct db *db, struct db_op *op);
void db_read(struct db *db, struct db_query *query);

/* ---- waiting for the answer ------------------------------------------------------------ */

/*
 * Block; never call them on an nng thread, a writer's or a reader's.  Run the query, or
 * all the operations together (their done and arg are set here), and call on_rows(arg,
 * rows), which may be NULL, for each that succeeds, on the database's thread, before
 * returning.  Return the first error, at the latest soon after the deadlines.
 */
struct err db_read_wait(struct db *db, struct db_query *query,
                        void (*on_rows)(void *arg, const struct db_rows *rows), void *arg)
    __attribute__((warn_unused_result));
struct err db_submit_wait(struct db *db, struct db_op *ops, size_t count,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg) __attribute__((warn_unused_result));

/*
 * Checks some columns of one row, those from `first` on: for columns that are required
 * only if another column says so, and where one damaged row must not fail the others.
 * `columns` is a shape without its first character.  Logs nothing.
 */
struct err db_row_check(const struct db_rows *rows, int row, int first,
                        const char *columns) __attribute__((warn_unused_result));

/* Checks a whole row whose column 0 is an id, which the error names. */
struct err db_entry_check(const struct db_rows *rows, int row, const char *columns)
    __attribute__((warn_unused_result));

/* Cells.  Text is NULL for SQL's NULL, and for a row that is not there, and lives while
 * `done` runs; numbers are then 0. */
const char *db_text(const struct db_rows *rows, int row, int column);
int64_t db_number(const struct db_rows *rows, int row, int column);
bool db_bool(const struct db_rows *rows, int row, int column);
size_t db_size(const struct db_rows *rows, int row, int column);

/* Parameters, written short. */
static inline struct db_value db_t(const char *text)
{
    return (struct db_value){.text = text};
}

static inline struct db_value db_i(int64_t number)
{
    return (struct db_value){.number = number};
}

static inline struct db_value db_y(const void *bytes, size_t size)
{
    return (struct db_value){.text = bytes, .size = size};
}
