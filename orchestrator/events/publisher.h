/*
 * publisher.h - the leader task that publishes events to NATS and marks what it acknowledged.
 *
 * One publisher among all replicas (leader.h) publishes in the order of positions.  While
 * NATS is unavailable, or refuses everything, all events wait in the outbox; log and
 * metrics show it.  An event that NATS refuses while it stores later ones becomes a dead
 * letter (dead_letters.h) and delays only its own order.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "orchestrator/events/bus/bus_nats.h"

struct publisher;

struct publisher_config {
    const char *database_url; /* borrowed */
    int64_t every_ms;         /* how often new events are looked for */
    /* After so long without a statement another replica takes over.  A bus that hangs may
     * block the publisher for BUS_NATS_WAIT_MS, so this is at least twice that. */
    int64_t takeover_ms;
    int64_t attempts;        /* to publish a dead letter, before it is given up */
    struct bus_nats *nats;   /* borrowed */
    struct metrics *metrics; /* may be NULL; borrowed */
};

struct err publisher_start(const struct publisher_config *config, struct publisher **out)
    __attribute__((warn_unused_result));
/* Ends the pause, because there is something to publish.  Any thread; does not block.
 * NULL is allowed. */
void publisher_wake(struct publisher *publisher);

void publisher_stop(struct publisher *publisher); /* NULL is allowed */

/* OK when it publishes, or another replica does; UNAVAILABLE with the reason: the
 * database or NATS is unavailable, or NATS refuses events.  From any thread. */
struct err publisher_health(struct publisher *publisher)
    __attribute__((warn_unused_result));
