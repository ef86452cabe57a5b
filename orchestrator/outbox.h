/*
 * outbox.h - the relay: from rows that committed with their orders to a log that is read.
 *
 *      persist --> orders.outbox, no position
 *                        |  placed: the next positions, by the one relay (duty.h)
 *                        v
 *                  readable, in order, without a gap  --> live listeners (bus_local.h)
 *                        |  published: the bus acknowledged (courier.h); without one, at once
 *                        v
 *                  kept for keep_ms, then pruned
 *
 * Positions cannot be given when a row is inserted: a transaction with a smaller one may
 * commit later, and a reader would have passed it by.  Nor need they be: one relay gives
 * them to rows that have committed, in transactions one after another.  An event of an
 * order is placed only after all before it of the same order.  No order ever waits for
 * this.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/metrics.h"
#include "orchestrator/bus_local.h"
#include "orchestrator/bus_nats.h"

struct outbox;

struct outbox_config {
    const char *database_url; /* borrowed */
    const char *owner;        /* this process, for operators; borrowed */
    int64_t every_ms;         /* how often new events are looked for */
    int64_t takeover_ms;      /* after how much silence another replica relays */
    int64_t keep_ms;          /* how long published events are kept */
    int64_t prune_every_ms;
    int64_t backlog_max;     /* events waiting, past which the relay is not serving */
    struct bus_local *local; /* live listeners, or NULL; borrowed */
    int64_t nats_attempts;   /* see courier.h */
    struct bus_nats *nats;   /* or NULL: there is no bus; borrowed */
    /* Told by the relay's thread, with `arg`: this process relays from now on, or no more; and
     * events were given their positions by it.  NULL: nobody is. */
    void (*on_relay)(void *arg, bool here);
    void (*on_placed)(void *arg);
    void *arg;
    /* Gets the lag, relay_active and so on (docs/events.md), all 0 in a process that does
     * not relay.  May be NULL; borrowed. */
    struct metrics *metrics;
};

struct err outbox_start(const struct outbox_config *config, struct outbox **out)
    __attribute__((warn_unused_result));
void outbox_stop(struct outbox *outbox); /* NULL is allowed */

/*
 * How the relay is, from any thread: OK when this process relays, or leaves it to another
 * replica; UNAVAILABLE with why not: the database is away, or more than backlog_max wait.
 * `events` is about positions, for who reads; `nats` about NATS: OK when there is none.
 */
struct outbox_health {
    struct err events, nats;
};

struct outbox_health outbox_health(struct outbox *outbox);

/* An event was written here: the relay looks at once, if it is this process's and rests.  Any
 * thread; waits for nothing. */
void outbox_stir(struct outbox *outbox); /* NULL is allowed */
