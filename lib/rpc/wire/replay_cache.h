/*
 * replay_cache.h - each sealed request is admitted once.
 *
 * For each session (seal.h) the cache keeps the highest counter and a bitmap of the 8,192
 * below it; older counters count as seen.  A session belongs to the first caller that used
 * it.  The cache holds at most 1,024 sessions.  It forgets one only to make room, and only
 * if every frame of it is older than 30 s.  In an unknown session it admits no frame that was
 * sent at or before the newest forgotten one, even if the clock is set back.  That floor
 * starts at the server's own start, because earlier frames are not known.
 *
 * So while a server runs, nothing is admitted twice.  Over a restart, a frame can be
 * admitted twice only if its caller's clock was ahead by more than the restart took.
 */
#pragma once

#include <stdint.h>

#include "rpc/wire/seal.h"

enum {
    REPLAY_CACHE_MS = 30000,
    REPLAY_CACHE_COUNTERS = 8192,
    REPLAY_CACHE_SESSIONS = 1024,
};

struct replay_cache;

/* `started_ms`: the clock (Unix milliseconds) at the server's start.  NULL: no memory. */
struct replay_cache *replay_cache_new(int64_t started_ms)
    __attribute__((warn_unused_result));
void replay_cache_free(struct replay_cache *cache);

/* 0 when admitted, else why not.  Thread-safe; `now_ms` and `sent_at_ms` are Unix
 * milliseconds. */
enum seal_refusal replay_cache_admit(struct replay_cache *cache,
                                     const struct seal_opened *opened, int64_t sent_at_ms,
                                     int64_t now_ms) __attribute__((warn_unused_result));
