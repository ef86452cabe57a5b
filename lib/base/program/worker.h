/*
 * worker.h - a thread that runs one task periodically.
 *
 * For background work: reaping, recovery, leases.  The task may block within its own
 * deadlines; runs never overlap.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct worker;

/* Runs task(arg) at once, then every_ms milliseconds after each run ends. */
struct err worker_start(const char *name, int64_t every_ms, void (*task)(void *arg),
                        void *arg, struct worker **out)
    __attribute__((warn_unused_result));

/*
 * The same for a task that mostly finds nothing to do.  The task returns 0 when it found
 * work, and is run again after every_ms; else the longest pause it allows, in
 * milliseconds.  Pauses double up to that, so work that is not announced
 * (worker_reset_backoff) waits at most as long as the worker was idle before.
 */
struct err worker_start_with_backoff(const char *name, int64_t every_ms,
                                     int64_t (*task)(void *arg), void *arg,
                                     struct worker **out)
    __attribute__((warn_unused_result));

/* Announces work, now or soon: an idle worker runs every every_ms again.  This and the
 * two below: any thread; never wait; cheap when there is nothing to change; NULL is
 * allowed. */
void worker_reset_backoff(struct worker *worker);

/* Makes the task run no later than that time (clock_monotonic_ms). */
void worker_run_by(struct worker *worker, int64_t at_ms);

/* Runs the task at once or, if a run is under way, once more after it. */
void worker_run_now(struct worker *worker);

/* Waits for a run under way, then ends the thread.  NULL is allowed. */
void worker_stop(struct worker *worker);
