/*
 * sequencer.h - the relay: makes of rows that committed with their orders a log to be read.
 *
 *      persist --> orders.sequencer, no position
 *                        |  placed: gets the next position, from the one sequencer (leader.h)
 *                        v
 *                  readable, in order, without a gap  --> live listeners (bus_local.h)
 *                        |  published: the bus acknowledged (publisher.h); without one, at once
 *                        v
 *                  kept for keep_ms, then pruned
 *
 * A row cannot get its position when it is inserted: a transaction with a smaller one may
 * commit later, and a reader would have passed it by.  So one sequencer gives positions to rows
 * that have committed, in transactions one after another.  An event of an order is placed only
 * after all earlier ones of the same order.  No order ever waits for this.
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
    /* Called by the sequencer's thread, with `arg`: this process relays from now on, or no more;
     * and it has placed events.  May be NULL. */
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
 * From any thread: OK when this process relays, or another replica does; UNAVAILABLE with why
 * not: the database is unavailable, or more than backlog_max wait.  `events` is about positions,
 * so about readers; `nats` about NATS: OK when there is none.
 */
struct sequencer_health {
    struct err events, nats;
};

struct sequencer_health sequencer_health(struct sequencer *sequencer);

/* An event was written here: ends the pause of the relay, if it is this process's.  Any thread;
 * waits for nothing. */
void sequencer_wake(struct sequencer *sequencer); /* NULL is allowed */
