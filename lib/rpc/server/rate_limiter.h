/*
 * rate_limiter.h - limits per caller: calls in progress, and calls per second.
 *
 * The latter is a token bucket that holds one second's worth: a caller may send n calls
 * at once and then one every 1/n second.  Callers are told apart by name, so counts
 * survive when the list of callers is replaced.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rate_limiter;
struct caller_usage; /* what is counted for one caller */

/* 0 means no such limit.  NULL when memory is short. */
struct rate_limiter *rate_limiter_new(size_t in_flight_max, uint32_t per_second);
/* When no call is in progress.  NULL is allowed. */
void rate_limiter_free(struct rate_limiter *limiter);

/* Counts a call of the caller as in progress, until rate_limiter_leave of what `out` is
 * set to (NULL when there are no limits).  RESOURCE_EXHAUSTED, with the time to wait, at
 * the limit. */
struct err rate_limiter_enter(struct rate_limiter *limiter, const char *caller,
                              int64_t now_us, struct caller_usage **out)
    __attribute__((warn_unused_result));
void rate_limiter_leave(struct rate_limiter *limiter, struct caller_usage *usage);
