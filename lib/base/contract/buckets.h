/*
 * buckets.h - a rate limiter with one token bucket per user.
 *
 * A bucket holds at most `burst` tokens and gains `rate` per second; a request takes
 * one.  The table is bounded: a new user without a free place replaces the fullest bucket
 * of its set, which limits its user least.
 *
 * Not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/contract/ids.h"
#include "base/err.h"

struct buckets;

/* `users`: size of the table, rounded up to a power of two; rate and burst at least 1. */
struct err buckets_open(size_t users, int64_t rate, int64_t burst, struct buckets **out)
    __attribute__((warn_unused_result));
void buckets_close(struct buckets *buckets);

/* Takes a token at `now_ms` (clock_monotonic_ms); false when the user has none left.  A
 * token is back within a second. */
bool buckets_take(struct buckets *buckets, const char user[UUID_LENGTH + 1],
                  int64_t now_ms) __attribute__((warn_unused_result));
