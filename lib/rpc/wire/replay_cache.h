/*
 * window.h - the replay window: each sealed request is admitted once.
 *
 * A session (seal.h) is remembered as its highest counter and a bitmap of the 8,192
 * below; what is older than that counts as seen.  A session belongs to the first caller
 * that used it.  At most 1,024 sessions are remembered; one is forgotten only to make
 * room, and only when none of its frames could still be within the 30 s.  No frame sent
 * at or before the newest one forgotten is admitted in an unknown session, even if the
 * clock is set back; the same floor starts at the server's own start, as what came before
 * that is not known.
 *
 * So while a server runs nothing is admitted twice.  Over a restart, a frame can be
 * admitted twice only if its caller's clock was ahead by more than the restart took.
 */
#pragma once

#include <stdint.h>

#include "rpc/wire/seal.h"

enum {
    WINDOW_MS = 30000,
    WINDOW_COUNTERS = 8192,
    WINDOW_SESSIONS = 1024,
};

struct window;

/* `started_ms`: the clock (Unix milliseconds) at the server's start.  NULL: no memory. */
struct window *window_new(int64_t started_ms) __attribute__((warn_unused_result));
void window_free(struct window *window);

/* 0 when admitted, else why not.  Thread-safe; `now_ms` and `sent_at_ms` are Unix
 * milliseconds. */
enum seal_refusal window_admit(struct window *window, const struct seal_opened *opened,
                               int64_t sent_at_ms, int64_t now_ms)
    __attribute__((warn_unused_result));
