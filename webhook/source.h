/*
 * source.h - the events, from events.v1.Events of the orchestrator, for threads that
 * wait.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proto/events.pb-c.h"
#include "rpc/client/channel.h"

/* Lets another thread end a wait for events, also one that is only about to begin.  Zeroed at
 * first. */
struct source_wait {
    atomic_bool ended; /* whoever waits sets it back */
    _Atomic channel_ticket ticket;
};

void source_wait_end(struct channel *channel, struct source_wait *wait);

/* Events after the cursor and `after`; the reply lives in the arena.  `wait`: CANCELLED when it
 * was ended; NULL: nobody does. */
struct err source_read(struct channel *channel, const char *cursor, int64_t after,
                       int32_t limit, int32_t wait_ms, struct source_wait *wait,
                       struct arena *arena, const Events__V1__ReadReply **out)
    __attribute__((warn_unused_result));

/* The oldest position that can still be read after. */
struct err source_pruned(struct channel *channel, struct arena *arena, int64_t *out)
    __attribute__((warn_unused_result));

struct err source_commit(struct channel *channel, const char *cursor, int64_t position,
                         struct arena *arena) __attribute__((warn_unused_result));
