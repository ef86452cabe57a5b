/*
 * sequencer.h - the relay: turns outbox rows, committed with their orders, into a
 * readable log.
 *
 *      persist --> orders.sequencer, no position
 *                        |  placed: gets the next position, from the one sequencer (leader.h)
 *                        v
 *                  readable, in order, without a gap  --> live listeners (bus_local.h)
 *                        |  published: the bus acknowledged (publisher.h); without one, at once
 *                        v
 *                  kept for keep_ms, then pruned
 *
 * A row cannot get its position when it is inserted: a transaction with a smaller
 * position might commit later, and readers would miss it.  So one sequencer assigns
 * positions to committed rows, one transaction at a time.  An event is placed only after
 * all earlier events of its order.  Placing an order never waits for this.
 *
 * The sequencer starts and stops the publisher, and its health includes the publisher's.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "orchestrator/events/bus/bus_local.h"
#include "orchestrator/events/bus/bus_nats.h"

struct sequencer;

struct sequencer_config {
    const char *database_url; /* borrowed */
    const char *owner;        /* this process, for operators; borrowed */
    int64_t every_ms;         /* how often new events are looked for */
    int64_t takeover_ms; /* after so long without a statement another replica relays */
    int64_t keep_ms;     /* how long published events are kept */
    int64_t prune_every_ms;
    int64_t backlog_max;     /* events waiting, past which it is unhealthy */
    struct bus_local *local; /* live listeners, or NULL; borrowed */
    int64_t nats_attempts;   /* see publisher.h */
    struct bus_nats *nats;   /* or NULL: there is no bus; borrowed */
    /* Called by the sequencer's thread, with `arg`: this process has become or is no
     * longer the relay; it has placed events.  May be NULL. */
    void (*on_relay)(void *arg, bool here);
    void (*on_placed)(void *arg);
    void *arg;
    /* For the lag, relay_active and so on (docs/events.md), all 0 in a process that does not
     * relay.  May be NULL; borrowed. */
    struct metrics *metrics;
};

struct err sequencer_start(const struct sequencer_config *config, struct sequencer **out)
    __attribute__((warn_unused_result));
void sequencer_stop(struct sequencer *sequencer); /* NULL is allowed */

/*
 * From any thread: OK when this process relays, or another replica does; UNAVAILABLE with
 * the reason: the database is unavailable, or more than backlog_max wait.  `events`
 * covers positions, hence readers; `nats` covers NATS, and is OK without a bus.
 */
struct sequencer_health {
    struct err events, nats;
};

struct sequencer_health sequencer_health(struct sequencer *sequencer);

/* Ends the relay's pause, if it runs in this process, because an event was written.  Any
 * thread; does not block. */
void sequencer_wake(struct sequencer *sequencer); /* NULL is allowed */
