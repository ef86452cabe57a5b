/*
 * batch.h - one group of operations through one transaction, in one round trip.
 *
 *   BEGIN; lock; {write; answer} per kind; COMMIT; Sync  all sent at once (pipeline mode)
 *
 * Where a kind has `write_answers`, its `answer` runs in a second round trip, for those
 * operations for which `write` returned no row:
 *
 *   {answer} per kind; Sync
 *
 * Private to lib/db.  An attempt ends in a verdict; the writer decides what to do with
 * it.
 */
#pragma once

#include "db/connection/connection.h"
#include "db/db.h"
#include "db/statement.h"

/* An operation in the writer's hands. */
struct slot {
    struct db_op *op;           /* NULL once its `done` was called */
    const struct db_kind *kind; /* of the operation that was sent; NULL: none was */
    bool in_doubt;              /* an earlier attempt may have committed it */
    bool held_back;           /* not sent: an earlier one in the batch has the same id */
    int first_row, row_count; /* of the rows that its kind's write returned */
};

/* Slots whose kind has `write_answers`, by kind and id. */
struct slots_by_id {
    struct slot **slots; /* the writer's: room for a whole batch */
    size_t count;
};

enum verdict_kind {
    VERDICT_COMMITTED, /* every `done` was called */
    /* All below: rolled back; or, with effect unknown in `error`, committed, but some operations
     * could not be answered. */
    VERDICT_DATA,      /* some operation can never succeed: `error` */
    VERDICT_AGAIN,     /* a race: `error` */
    VERDICT_LOCKED,    /* a row that some operation needs stays locked: `error` */
    VERDICT_UNIQUE,    /* unique_violation: run again; if it persists, like DATA */
    VERDICT_REFUSED,   /* the server cannot write now: `error` */
    VERDICT_READ_ONLY, /* this server is read-only; nothing was done: `error` */
    VERDICT_LOST,      /* the connection is gone; what was sent is in doubt */
};

struct verdict {
    enum verdict_kind kind;
    struct err error; /* for the operations */
    struct err why;   /* for db_health; or ERR_NONE */
    bool in_lock;     /* it was config->lock that failed */
};

/* Kept between batches.  by_id's slots are allocated by the writer, the rest starts
 * zeroed. */
struct batch {
    struct buffer parameters;
    PGresult *answers[DB_KINDS_MAX];
    struct slots_by_id by_id;
    bool committing; /* only the COMMIT is unanswered */
    bool hurried;    /* set by the writer: attempts wait for locks only briefly */
};

/* Calls an operation's `done` and empties its slot. */
void slot_finish(struct slot *slot, struct err error, const struct db_rows *rows);

/* Prepares every statement and enters pipeline mode: the connection then runs batches
 * only. */
struct err batch_prepare(const struct db_config *config, struct conn *conn,
                         int64_t deadline_ms) __attribute__((warn_unused_result));

/*
 * One attempt, of slots that all hold an operation.  Operations whose deadline passes
 * while the database works end with DEADLINE_EXCEEDED (effect unknown) and their slots
 * are emptied.  An attempt lasts 30 s at most; once all its operations have ended, until
 * stop(arg) is true.
 */
struct verdict batch_attempt(struct batch *batch, const struct db_config *config,
                             struct conn *conn, struct slot *slots, size_t count,
                             bool (*stop)(void *arg), void *arg)
    __attribute__((warn_unused_result));

/*
 * Whether a batch would be written now: runs each kind's statements over empty arrays.
 * So missing rights and read-only servers are noticed, a megabyte of disk is used for a
 * moment, and the COMMIT writes something.  Changes nothing.
 *
 * All but the COMMIT must be answered in the time of an attempt.  The COMMIT is waited
 * for longer, because the server keeps a session that waits for a standby even when the
 * client disconnects; until stop(arg), called every so often, is true.
 */
struct verdict batch_probe(struct batch *batch, const struct db_config *config,
                           struct conn *conn, bool (*stop)(void *arg), void *arg)
    __attribute__((warn_unused_result));

void batch_free(struct batch *batch);
