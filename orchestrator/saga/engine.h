/*
 * engine.h - runs a checkout's steps to completion, or compensates them.
 *
 *            act, act, act ... pivot --> completed
 *   running -----| refused
 *                +--> [aborting is written] --> undo, undo ... --> failed
 *
 * Promises: a step is repeated until its outcome is known; aborting, with its failure, is
 * durable before the first compensation, and no caller gets a failure before that; the
 * state of the money that a caller gets is durable; compensations are repeated with
 * capped, jittered backoff, also after a crash of this process; a saga whose checkout was
 * taken over by another owner changes nothing more.
 *
 * One thread at a time touches a saga: each continuation ends by starting the next.
 */
#pragma once

#include "orchestrator/saga/registry.h"

/*
 * Runs a checkout this process owns, after sagas_admit.  Takes ownership of the arena its
 * texts live in, also on failure.  `waiter` is answered at its end; NULL when the checkout was
 * taken over, as no call waits then.
 */
void sagas_run(struct sagas *sagas, const struct checkout *checkout, struct arena *arena,
               struct waiter *waiter);

/* ---- for steps ------------------------------------------------------------------------ */

/*
 * Ends an attempt.  OK: the next step.  Effect unknown, or retryable: retry after a
 * pause, until the checkout is too old, then refused.  Otherwise refused: compensation,
 * including this step unless the effect is none.
 */
void saga_step_done(struct saga *saga, struct err error);

/* Ends an attempt to undo; after a failure it is retried without limit. */
void saga_undo_done(struct saga *saga, struct err error);

/* The checkout belongs to another owner now: the waiters wait for that one's result. */
void saga_lost(struct saga *saga);

/*
 * The checkout's row is missing or damaged, so its progress cannot be recorded.  It is
 * left to an operator, and the waiters get DATA_LOSS.  It is not undone, because its
 * order may exist.
 */
void saga_damaged(struct saga *saga, struct err error);

/* The deadline of the current attempt, clock_monotonic_ms. */
int64_t saga_deadline(const struct saga *saga);
