/*
 * sweeper.h - one timer for many deadlines: it runs at the earliest one and finds all that are
 * late, so that no call needs a timer of its own.
 *
 *      IDLE --want--> SLEEPING --time--> RUNNING --more deadlines--> SLEEPING
 *                                           +--------none----------> IDLE
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct sweeper {
    /* Sweeps, on an nng thread; returns the time of the next sweep, INT64_MAX: none. */
    int64_t (*sweep)(void *arg);
    void *arg;
    nng_aio *aio; /* only ever sleeps */
    pthread_mutex_t lock;
    atomic_int_least64_t at_ms; /* the next sweep; INT64_MAX when IDLE */
    bool running, stopped;
};

struct err sweeper_open(struct sweeper *sweeper, int64_t (*sweep)(void *arg), void *arg)
    __attribute__((warn_unused_result));

/* Waits for a running sweep; no other follows, whatever is wanted. */
void sweeper_stop(struct sweeper *sweeper);
void sweeper_close(struct sweeper *sweeper);

/* Sweeps at that time (clock_monotonic_ms) or earlier.  Any thread; waits for nothing. */
void sweeper_want(struct sweeper *sweeper, int64_t at_ms);
