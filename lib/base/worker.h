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
struct err worker_start(const char *name, int64_t every_ms, void (*chore)(void *arg), void *arg,
                        struct worker **out) __attribute__((warn_unused_result));

/* Has it run once more at once, after a run under way.  Any thread; waits for nothing.  NULL is
 * allowed. */
void worker_now(struct worker *worker);

/* Waits for a chore under way, then ends the thread.  NULL is allowed. */
void worker_stop(struct worker *worker);
