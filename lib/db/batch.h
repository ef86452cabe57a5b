/*
 * batch.h - one group of operations through one transaction, in one round trip.
 *
 *   BEGIN; lock; {write; answer} a kind; COMMIT; Sync      all sent at once (pipeline mode)
 *
 * Where a kind's write answers, its answer is not among these, but asked afterwards for those
 * operations that the write said nothing of:
 *
 *   {answer} a kind; Sync
 *
 * Private to lib/db.  A batch is attempted; the verdict says what to do with it.
 */
#pragma once

#include "db/connection/connection.h"
#include "db/db.h"
#include "db/statement.h"

/* An operation in the writer's hands. */
struct slot {
    struct db_op *op;           /* NULL once its `done` was called */
    const struct db_kind *kind; /* what was sent of it; NULL: nothing was */
    bool in_doubt;              /* an earlier attempt of it may have committed */
    bool held_back;             /* one before it in the batch has its id */
    int first_row, row_count;   /* of the rows that its kind's write returned */
};

/* Slots whose kind has `write_answers`, by kind and id. */
struct slots_by_id {
    struct slot **slots; /* the writer's: room for a whole batch */
    size_t count;
};

enum verdict_kind {
    VERDICT_COMMITTED, /* every `done` was called */
    /* Rolled back; or, with effect unknown in `error`, committed and some could not be answered. */
    VERDICT_DATA,      /* some operation can never succeed: `error` */
    VERDICT_AGAIN,     /* a race: `error` */
    VERDICT_LOCKED,    /* what some operation needs is locked for too long: `error` */
    VERDICT_TWIN,      /* a key is taken: again, and if that stays, DATA */
    VERDICT_REFUSED,   /* the server cannot write just now: `error` */
    VERDICT_READ_ONLY, /* this server only reads; nothing was done: `error` */
    VERDICT_LOST,      /* the connection is gone; what was sent is in doubt */
};

struct verdict {
    enum verdict_kind kind;
    struct err error; /* for the operations */
    struct err why;   /* for who asks how the database is; or ERR_NONE */
    bool in_lock;     /* it was config->lock that failed */
};

/* Kept between batches.  by_id's slots are allocated by the writer, the rest starts zeroed. */
struct batch {
    struct buffer parameters;
    PGresult *answers[DB_KINDS_MAX];
    struct slots_by_id by_id;
    bool committing; /* all is answered but the COMMIT */
    bool hurried;    /* set by the writer: attempts wait for locks for a moment only */
};

/* Calls an operation's `done` and empties its slot. */
void slot_finish(struct slot *slot, struct err error, const struct db_rows *rows);

/* Prepares every statement and enters pipeline mode; the connection is then a batch's. */
struct err batch_prepare(const struct db_config *config, struct conn *conn,
                         int64_t deadline_ms) __attribute__((warn_unused_result));

/*
 * One attempt, of slots that all hold an operation.  Operations whose deadline passes while
 * the database works are told so (effect unknown) and their slots emptied; an attempt lasts
 * at most the patience, and once all are told, until stop(arg) says that it is enough.
 */
struct verdict batch_attempt(struct batch *batch, const struct db_config *config,
                             struct conn *conn, struct slot *slots, size_t count,
                             bool (*stop)(void *arg), void *arg)
    __attribute__((warn_unused_result));

/*
 * Whether a batch would be written now: one of no operations, each kind's statements over
 * empty arrays.  So rights and read-only servers are noticed, a megabyte of disk is used
 * for a moment, and the COMMIT has something to wait for.  Changes nothing.
 *
 * An answer to all but the COMMIT is waited for as long as in an attempt.  The COMMIT is
 * waited for longer, since a server keeps the session of one that waits for a standby,
 * whoever hangs up; until stop(arg), asked every so often, says that it is enough.
 */
struct verdict batch_probe(struct batch *batch, const struct db_config *config,
                           struct conn *conn, bool (*stop)(void *arg), void *arg)
    __attribute__((warn_unused_result));

void batch_free(struct batch *batch);
