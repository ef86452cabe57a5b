/*
 * worker.h - a thread that does one thing every so often, until told to stop.
 *
 * For chores outside any request: reaping, recovery, leases.  The chore may block within
 * its own deadlines; it is never run twice at once.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct worker;

/* Runs chore(arg) at once, then every_ms milliseconds after each end. */
struct err worker_start(const char *name, int64_t every_ms, void (*chore)(void *arg),
                        void *arg, struct worker **out)
    __attribute__((warn_unused_result));

/*
 * The same for a chore that mostly finds nothing to do, and then rests: it gives 0 when there
 * was something, and is run again after every_ms; or for how many milliseconds it may rest at
 * most.  Its pauses double up to that, so what nobody tells of (worker_stir) is found at the
 * latest when it has been there for as long as the worker had rested before.
 */
struct err worker_start_resting(const char *name, int64_t every_ms,
                                int64_t (*chore)(void *arg), void *arg,
                                struct worker **out) __attribute__((warn_unused_result));

/* There is, or will soon be, something to do: has it run every every_ms again, if it rests.
 * Any thread; waits for nothing, and costs next to nothing when it does not rest.  NULL is
 * allowed. */
void worker_stir(struct worker *worker);

/* Has it run at that time (clock_monotonic_ms) at the latest.  Any thread; waits for nothing.  NULL
 * is allowed. */
void worker_by(struct worker *worker, int64_t at_ms);

/* Has it run once more at once, after a run under way.  Any thread; waits for nothing.  NULL is
 * allowed. */
void worker_now(struct worker *worker);

/* Waits for a chore under way, then ends the thread.  NULL is allowed. */
void worker_stop(struct worker *worker);
