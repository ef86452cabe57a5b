/*
 * saga.h - the engine: runs a checkout's steps, or undoes them, to one end or the other.
 *
 *            act, act, act ... pivot --> completed
 *   running -----| refused
 *                +--> [aborting is written] --> undo, undo ... --> failed
 *
 * Promises: a step is repeated until its outcome is known; aborting, with its reason, is
 * durable before the first compensation, and a failure is told to nobody before that; what it
 * tells of the money is durable when it is told;
 * compensations are repeated with capped, jittered backoff, whatever happens to this
 * process; a saga whose checkout was taken over by another owner changes nothing more.
 *
 * One thread at a time touches a saga: each continuation ends by starting the next.  The
 * table of running sagas, and their waiters, are shared, under one lock.
 */
#pragma once

#include "base/arena.h"
#include "base/contract/trace.h"
#include "db/db.h"
#include "orchestrator/checkout.h"
#include "rpc/client/channel.h"

struct saga;
struct sagas;
struct waiter;

/* A step: how it is done and how it is undone. */
struct saga_step {
    const char *name;
    void (*act)(struct saga *saga);  /* ends in saga_step_done */
    void (*undo)(struct saga *saga); /* ends in saga_undo_done */
    const char *undone_by;           /* the earlier step whose undo covers this one */
    bool pivot;                      /* nothing is undone after it */
    bool takes_money; /* its undoing gives back, and calls saga_set_money */
};
#define SAGA_UNDONE_BY(step) NULL, step, false, false
#define SAGA_PIVOT           NULL, NULL, true, false

struct saga {
    struct sagas *sagas;
    struct checkout checkout; /* its failure.money is under the sagas' lock */
    const char *call_id;      /* of the call that began it, or NULL */
    const char *request; /* names it in logs and calls: call_id, the claim's, or else the
                          * order's id */
    struct trace trace;  /* our place in its trace */
    struct arena *arena; /* the saga's own: it outlives its callers */
    struct arena *scratch; /* of the step under way; reset before each */
    struct db_op op;       /* of the step under way */

    /* The engine's. */
    int step;           /* being done, or being undone */
    bool touched;       /* an attempt of this step may have taken effect */
    int undo_from;      /* the last step that may need undoing; -1: none */
    bool refused;       /* aborting is durable; under the sagas' lock */
    int64_t renewed_ms; /* when its lease was last renewed; likewise */
    int attempts;       /* of this step, so far */
    struct err trouble; /* what the last attempt that failed came to */
    int troubled_step;  /* of that attempt */
    int tries;          /* of that step, with it */
    int64_t give_up_ms; /* clock_monotonic_ms: past it, a step that fails is refused */
    struct waiter *waiters;
    struct saga *next;
};

struct sagas_config {
    struct db *db; /* all borrowed; they must outlive the sagas */
    struct channel *inventory;
    struct channel *payment;
    const struct saga_step *steps;
    int step_count;
    int64_t lease_ms;
    int64_t step_timeout_ms; /* of one attempt at a step */
    int64_t give_up_ms;      /* age at which a checkout that cannot go on is aborted */
    int64_t attention_after; /* attempts to undo, before an operator is called */
    size_t most;             /* sagas at once */
    /* Told, on any thread and under the sagas' lock, of what chores that rest are to do: a saga
     * begins or somebody waits; an order and its event were written.  NULL: nobody is. */
    void (*on_work)(void *chores);
    void (*on_order)(void *chores);
    void *chores;
};

struct err sagas_open(const struct sagas_config *config, struct sagas **out)
    __attribute__((warn_unused_result));

/* Nobody is told of work or orders any more, from its return on: the chores may end. */
void sagas_forget_chores(struct sagas *sagas); /* NULL is allowed */

/* Lets each saga end its step and drop out, to be taken over when its lease runs out; waits
 * up to drain_ms for them.  False when some are still under way: nothing they use may then
 * be freed. */
bool sagas_stop(struct sagas *sagas, int64_t drain_ms)
    __attribute__((warn_unused_result));

const struct sagas_config *sagas_config(const struct sagas *sagas);

/* This process as an owner of checkouts: a ULID made when it started. */
const char *sagas_owner(const struct sagas *sagas);

/* Room for one more; every true is given back by sagas_leave or sagas_run. */
bool sagas_admit(struct sagas *sagas) __attribute__((warn_unused_result));
size_t sagas_room(struct sagas *sagas); /* how many more would be admitted now */
void sagas_leave(struct sagas *sagas);

/*
 * Runs a checkout this process owns, after sagas_admit.  Takes ownership of the arena its
 * texts live in, also on failure.  `waiter` is answered at its end; NULL when it was taken
 * over, for nobody.
 */
void sagas_run(struct sagas *sagas, const struct checkout *checkout, struct arena *arena,
               struct waiter *waiter);

enum saga_join { SAGA_JOINED, SAGA_NOT_HERE, SAGA_OTHER_REQUEST, SAGA_REFUSED };

/*
 * Adds a waiter to the saga of this key, if it runs here and is of the same request.  An
 * attempt of the very call that began it (the channel retries) has not joined another's.
 * SAGA_REFUSED: its failure is durable, though not all is undone; `refusal` is set to it,
 * in the waiter's arena, and the waiter is left to the caller.
 */
enum saga_join sagas_join(struct sagas *sagas, const char *key, const char *user_id,
                          const uint8_t *fingerprint, struct waiter *waiter,
                          struct err *refusal) __attribute__((warn_unused_result));

/* ---- for steps ------------------------------------------------------------------------ */

/*
 * Ends an attempt.  OK: the next step.  Effect unknown, or retryable: again after a pause,
 * until the checkout is too old, then as refused.  Otherwise refused: compensation, of this
 * step too unless the effect is none.
 */
void saga_step_done(struct saga *saga, struct err error);

/* An order and its event are durable: tells on_order. */
void saga_ordered(struct saga *saga);

/* Ends an attempt to undo; on failure it is repeated, without end. */
void saga_undo_done(struct saga *saga, struct err error);

/* What became of the money is known, and durable with payment: told from now on, and kept
 * with the checkout's end. */
void saga_set_money(struct saga *saga, enum err_money money);

/* The checkout belongs to another owner now: waiters are told what that one makes of it. */
void saga_lost(struct saga *saga);

/*
 * The checkout's row is gone or damaged, so nothing more can be kept of it: it is left as it
 * is, for an operator, and waiters are told DATA_LOSS.  It is not undone: whether its order
 * stands is not known.
 */
void saga_damaged(struct saga *saga, struct err error);

/* When the attempt under way must have its answer, clock_monotonic_ms. */
int64_t saga_deadline(const struct saga *saga);

/* ---- for chores (workers; sagas is a struct sagas) ------------------------------------- */

/* Tells waiters whose time is up; gives 0, or how long to rest (base/program/worker.h). */
int64_t sagas_expire_waiters(void *sagas);

/*
 * Renews the leases of the sagas that run here and have not been renewed for a quarter of
 * one; blocks, at most as long as a lease.  Before each taking over: an owner that was only
 * cut off from the database for a while must not lose its checkouts to itself.
 */
struct err sagas_renew_leases(struct sagas *sagas) __attribute__((warn_unused_result));
