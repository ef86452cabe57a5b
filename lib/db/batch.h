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

#include "db/answers.h"
#include "db/array.h"
#include "db/conn.h"
#include "db/db.h"

enum verdict_kind {
    VERDICT_COMMITTED, /* every `done` was called */
    /* Rolled back; or, with effect unknown in `error`, committed and some could not be answered. */
    VERDICT_DATA,      /* some operation can never succeed: `error` */
    VERDICT_AGAIN,     /* a race: `error` */
    VERDICT_TWIN,      /* a key is taken: again, and if that stays, DATA */
    VERDICT_REFUSED,   /* for want of disk or memory: `error` */
    VERDICT_LOST,      /* the connection is gone; what was sent is in doubt */
};

struct verdict {
    enum verdict_kind kind;
    struct err error;
};

/* Kept between batches.  by_id's slots are allocated by the writer, the rest starts zeroed. */
struct batch {
    struct buffer parameters;
    PGresult *answers[DB_KINDS_MAX];
    struct slots_by_id by_id;
};

/* Prepares every statement and enters pipeline mode; the connection is then a batch's. */
struct err batch_prepare(const struct db_config *config, struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/*
 * One attempt, of slots that all hold an operation.  Operations whose deadline passes while
 * the database works are told so (effect unknown) and their slots emptied; an attempt lasts
 * at most the patience.
 */
struct verdict batch_attempt(struct batch *batch, const struct db_config *config,
                             struct conn *conn, struct slot *slots, size_t count)
    __attribute__((warn_unused_result));

void batch_free(struct batch *batch);
