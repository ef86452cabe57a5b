/*
 * source.h - the events, from events.v1.Events of the orchestrator, for threads that
 * wait.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proto/events.pb-c.h"
#include "rpc/channel.h"

/* Events after the cursor and `after`; the reply lives in the arena. */
struct err source_read(struct channel *channel, const char *cursor, int64_t after,
                       int32_t limit, int32_t wait_ms, struct arena *arena,
                       const Events__V1__ReadReply **out)
    __attribute__((warn_unused_result));

/* The oldest position that can still be read after. */
struct err source_pruned(struct channel *channel, struct arena *arena, int64_t *out)
    __attribute__((warn_unused_result));

struct err source_commit(struct channel *channel, const char *cursor, int64_t position,
                         struct arena *arena) __attribute__((warn_unused_result));
