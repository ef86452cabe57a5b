/*
 * registry.h - the sagas that run in this process, by idempotency key, and the calls that
 * wait for each.  The engine (engine.h) runs them, recovery (recovery.h) renews their leases.
 *
 * One lock guards all of it.  It is held only to read and write memory, never during a
 * call that blocks.
 */
#pragma once

#include <pthread.h>

#include "base/arena.h"
#include "base/contract/trace.h"
#include "db/db.h"
#include "orchestrator/checkout/checkout.h"
#include "orchestrator/saga/waiter.h"
#include "rpc/client/channel.h"

struct saga;
struct sagas;

/* A step: how it is done and how it is undone. */
struct saga_step {
    const char *name;
    void (*act)(struct saga *saga);  /* ends in saga_step_done */
    void (*undo)(struct saga *saga); /* ends in saga_undo_done */
    const char *undone_by;           /* the earlier step whose undo covers this one */
    bool pivot;                      /* nothing is undone after it */
    bool takes_money;                /* its undo refunds, and calls saga_set_money */
};
#define SAGA_UNDONE_BY(step) NULL, step, false, false
#define SAGA_PIVOT           NULL, NULL, true, false

struct saga {
    struct sagas *sagas;
    struct checkout checkout; /* its failure.money is under the sagas' lock */
    const char *call_id;      /* of the call that started it, or NULL */
    const char *request; /* names it in logs and calls: call_id, or that of the claim, or
                               * the order's id */
    struct trace trace;  /* our place in its trace */
    struct arena *arena; /* its own: it outlives its callers */
    struct arena *scratch; /* of the current attempt; reset before each */
    struct db_op op;       /* of the current attempt */

    /* Of the engine; the sagas' lock guards `refused`, `renewed_ms`, `waiters` and `next`. */
    int step;           /* the step that runs or is being undone */
    bool touched;       /* an attempt of this step may have taken effect */
    int undo_from;      /* the last step that may need undoing; -1: none */
    bool refused;       /* aborting is durable: calls that join get the failure */
    int64_t renewed_ms; /* when its lease was last renewed */
    int attempts;       /* of this step, so far */
    struct err trouble; /* the error of the last attempt that failed */
    int troubled_step;  /* the step of that attempt */
    int tries;          /* attempts at that step, up to that one */
    int64_t give_up_ms; /* clock_monotonic_ms: after it a step that fails is refused */
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
    int64_t give_up_ms;      /* age at which a failing checkout is aborted */
    int64_t attention_after; /* failed attempts to undo before needs_attention is set */
    size_t most;             /* sagas at once */
    /* Called on any thread, under the sagas' lock, to wake background tasks: on_work when
     * a saga starts or a call waits for one, on_order when an order was written.  May be
     * NULL. */
    void (*on_work)(void *arg);
    void (*on_order)(void *arg);
    void *arg;
};

enum { SAGA_BUCKETS = 4096 };

struct sagas {
    struct sagas_config config;
    char owner[ULID_SIZE];
    pthread_mutex_t lock; /* guards what follows and every saga's waiters */
    pthread_cond_t emptied;
    size_t count; /* admitted */
    bool stopping;
    struct saga *buckets[SAGA_BUCKETS]; /* by idempotency key */
};

struct err sagas_open(const struct sagas_config *config, struct sagas **out)
    __attribute__((warn_unused_result));

/* After it returns, on_work and on_order are not called any more.  NULL is allowed. */
void sagas_unsubscribe(struct sagas *sagas);

/* Lets each saga finish its step and end; its checkout is taken over when its lease
 * expires.  Waits up to drain_ms.  False when some still run: then do not free anything
 * they use. */
bool sagas_stop(struct sagas *sagas, int64_t drain_ms)
    __attribute__((warn_unused_result));

const struct sagas_config *sagas_config(const struct sagas *sagas);

/* The name of this process as an owner of checkouts: a ULID made when it started. */
const char *sagas_owner(const struct sagas *sagas);

/* Reserves room for one more; sagas_leave or sagas_run gives it back. */
bool sagas_admit(struct sagas *sagas) __attribute__((warn_unused_result));
size_t sagas_room(struct sagas *sagas); /* how many more can be admitted now */
void sagas_leave(struct sagas *sagas);

enum saga_join { SAGA_JOINED, SAGA_NOT_HERE, SAGA_OTHER_REQUEST, SAGA_REFUSED };

/*
 * Adds a waiter to the saga of this key, if it runs here for the same request.  A retry
 * of the call that started the saga does not count as joined.  SAGA_REFUSED: its failure
 * is durable, though its compensation may still run; `refusal` is set to it, in the
 * waiter's arena, and the caller keeps the waiter.
 */
enum saga_join sagas_join(struct sagas *sagas, const char *key, const char *user_id,
                          const uint8_t *fingerprint, struct waiter *waiter,
                          struct err *refusal) __attribute__((warn_unused_result));

/* Answers the waiters whose time is up; returns 0, or how long to pause
 * (base/program/worker.h).  `sagas` is a struct sagas. */
int64_t sagas_expire_waiters(void *sagas);

/* ---- for the engine -------------------------------------------------------------------- */

/* Puts an admitted saga into the registry, where it can be joined. */
void saga_put(struct saga *saga);

/* Removes the saga from the registry, so no call can join it.  Returns its waiters. */
struct waiter *saga_take_out(struct saga *saga) __attribute__((warn_unused_result));

/* Removes its waiters; the saga stays in the registry, and others may join. */
struct waiter *saga_take_waiters(struct saga *saga) __attribute__((warn_unused_result));

/* From now on a call that would join gets the failure instead. */
void saga_set_refused(struct saga *saga);

/* Whether the process stops: the saga must then end at its next step. */
bool saga_stopping(const struct saga *saga);

/* ---- for steps -------------------------------------------------------------------------- */

/* An order and its event are durable: calls on_order. */
void saga_ordered(struct saga *saga);

/* Records the state of the money, which payment has made durable.  Callers get it from
 * now on, and it is written with the checkout's end. */
void saga_set_money(struct saga *saga, enum err_money money);
