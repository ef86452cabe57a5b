/*
 * cancel.h - whether anybody still waits for what is being done.
 *
 * One lives in each place that serves one request after another.  Whoever wants to cancel
 * names the request by the token it began with, so that the next request in that place is
 * never hit by a cancellation that was meant for the one before.  Lock-free.
 *
 *      idle 0 -> begin: an even number, another each time -> cancelled: that, odd -> 0
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel {
    atomic_uint_fast64_t word;
    uint64_t last; /* the latest token; only whoever begins and ends touches it */
};

static inline void cancel_begin(struct cancel *cancel)
{
    cancel->last += 2;
    atomic_store_explicit(&cancel->word, cancel->last, memory_order_release);
}

static inline void cancel_end(struct cancel *cancel)
{
    atomic_store_explicit(&cancel->word, 0, memory_order_release);
}

/* What is under way now; 0 when nothing is. */
static inline uint64_t cancel_token(const struct cancel *cancel)
{
    return (uint64_t)atomic_load_explicit(&cancel->word, memory_order_acquire) &
           ~(uint64_t)1;
}

/* Cancels what has that token, if it is still under way and was not cancelled before. */
static inline bool cancel_ask(struct cancel *cancel, uint64_t token)
{
    uint_fast64_t expected = token;

    return token != 0 &&
           atomic_compare_exchange_strong(&cancel->word, &expected, token | 1);
}

/* Whether what is under way was cancelled.  NULL: it cannot be. */
static inline bool cancel_asked(const struct cancel *cancel)
{
    return cancel != NULL &&
           (atomic_load_explicit(&cancel->word, memory_order_relaxed) & 1) != 0;
}
