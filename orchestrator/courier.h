/*
 * courier.h - the duty that gives what is placed to NATS, and marks what it acknowledged.
 *
 * One courier among all replicas (duty.h), in the order of positions.  Nothing is
 * skipped: while NATS is away, or refuses an event, that one and all behind it wait in
 * the outbox, which the log says and the metrics show.  Of a flight of events the
 * acknowledged beginning is marked, whatever became of the rest; after a refusal they go
 * one by one, so that the server is not given the same many again and again.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "orchestrator/bus_nats.h"

struct courier;

struct courier_config {
    const char *database_url; /* borrowed */
    int64_t every_ms;         /* how often new events are looked for */
    /* After how much silence another replica takes over; a bus that hangs may keep it
     * silent for BUS_NATS_WAIT_MS, so it is at least twice that. */
    int64_t takeover_ms;
    struct bus_nats *nats;   /* borrowed */
    struct metrics *metrics; /* may be NULL; borrowed */
};

struct err courier_start(const struct courier_config *config, struct courier **out)
    __attribute__((warn_unused_result));
/* There is something to publish: it looks at once, if it rests.  Any thread; waits for nothing.
 * NULL is allowed. */
void courier_stir(struct courier *courier);

void courier_stop(struct courier *courier); /* NULL is allowed */

/* OK when it publishes, or leaves that to another replica; UNAVAILABLE with why not: the
 * database or NATS is away, or NATS refuses.  From any thread. */
struct err courier_health(struct courier *courier) __attribute__((warn_unused_result));
