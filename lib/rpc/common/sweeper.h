/*
 * sweeper.h - one look for many waits: what is late is found at the earliest time any of
 * them was said to end, not by a timer of each.
 *
 *      IDLE --want--> SLEEPING --time--> RUNNING --more waits--> SLEEPING
 *                                           +------none--------> IDLE
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct sweeper {
    /* Looks, on an nng thread; gives the time to look again, INT64_MAX: not by itself. */
    int64_t (*look)(void *arg);
    void *arg;
    nng_aio *aio; /* only ever sleeps */
    pthread_mutex_t lock;
    atomic_int_least64_t at_ms; /* when it will look: INT64_MAX when IDLE */
    bool running, stopped;
};

struct err sweeper_open(struct sweeper *sweeper, int64_t (*look)(void *arg), void *arg)
    __attribute__((warn_unused_result));

/* Waits for a look that runs; then there is none any more, whatever is wanted. */
void sweeper_stop(struct sweeper *sweeper);
void sweeper_close(struct sweeper *sweeper);

/* Looks at that time (clock_monotonic_ms) at the latest.  Any thread; waits for nothing. */
void sweeper_want(struct sweeper *sweeper, int64_t at_ms);
