/*
 * cancel.h - a lock-free cancellation flag for a slot that serves one request after
 * another.
 *
 * A canceller names the request by the token that it began with, so a cancellation that
 * comes late never hits the next request in the slot.
 *
 *      idle: 0 -> running: an even token, new each time -> cancelled: token | 1 -> idle: 0
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cancel {
    atomic_uint_fast64_t word;
    uint64_t last; /* the latest token; used only by the owner, who begins and ends */
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

/* The token of the running request; 0: none. */
static inline uint64_t cancel_token(const struct cancel *cancel)
{
    return (uint64_t)atomic_load_explicit(&cancel->word, memory_order_acquire) &
           ~(uint64_t)1;
}

/* Cancels the request with that token; false when it has ended or was cancelled
 * before. */
static inline bool cancel_request(struct cancel *cancel, uint64_t token)
{
    uint_fast64_t expected = token;

    return token != 0 &&
           atomic_compare_exchange_strong(&cancel->word, &expected, token | 1);
}

/* Whether the running request was cancelled.  NULL: never. */
static inline bool cancel_requested(const struct cancel *cancel)
{
    return cancel != NULL &&
           (atomic_load_explicit(&cancel->word, memory_order_relaxed) & 1) != 0;
}
