/*
 * buckets.h - how often each user may ask: a token bucket a user.
 *
 * A bucket holds at most `burst` tokens and gains `rate` a second; a request takes one.
 * The table is bounded: where a newcomer finds no place, the fullest bucket of its
 * neighbourhood is forgotten, which is the one that restrains its user least.
 *
 * One thread at a time may use a struct buckets.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ids.h"

struct buckets;

/* `users`: how many are told apart, rounded up to a power of two; rate and burst 1 or
 * more. */
struct err buckets_open(size_t users, int64_t rate, int64_t burst, struct buckets **out)
    __attribute__((warn_unused_result));
void buckets_close(struct buckets *buckets);

/* Takes a token at `now_ms` (clock_monotonic_ms); false when the user has none left, and
 * has one again within a second. */
bool buckets_take(struct buckets *buckets, const char user[UUID_LENGTH + 1],
                  int64_t now_ms) __attribute__((warn_unused_result));
