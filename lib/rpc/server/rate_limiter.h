/*
 * rate_limiter.h - how much of a server one caller may have: calls at once, and calls a second.
 *
 * The second is a token bucket that holds one second's worth, so a caller may send those
 * at once and then one every 1/n second.  What is counted of a caller is kept by its
 * name, also while its list of callers is replaced.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct rate_limiter;
struct caller_usage; /* one caller */

/* 0 means no such limit.  NULL when memory is short. */
struct rate_limiter *rate_limiter_new(size_t in_flight_max, uint32_t per_second);
/* When no call is under way.  NULL is allowed. */
void rate_limiter_free(struct rate_limiter *limiter);

/*
 * Counts a call of the caller as under way, until rate_limiter_leave of what `out` is set to
 * (NULL when there are no limiter).  RESOURCE_EXHAUSTED with a hint when it may have no
 * more.
 */
struct err rate_limiter_enter(struct rate_limiter *limiter, const char *caller,
                              int64_t now_us, struct caller_usage **out)
    __attribute__((warn_unused_result));
void rate_limiter_leave(struct rate_limiter *limiter, struct caller_usage *usage);
