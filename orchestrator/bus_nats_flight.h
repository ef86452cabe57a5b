/*
 * bus_nats_flight.h - what a NATS server answered to events that were published together.
 *
 * Answers come in threads of libnats, in any order, and late: of a connection before, or of
 * events given before.  Each is taken for its own event of the present flight only.
 *
 *      flight_begin --> publish each --> flight_wait --> flight_end
 *                            on_acknowledged, on_error: libnats' threads
 *
 * Stored is what a PubAck says so of: from our stream, with a sequence above 0.  A server
 * of version 2.10 with replicas answers the repeat of a message that it never stored with
 * "duplicate" and sequence 0; that is no acknowledgement.
 * https://docs.nats.io/reference/reference-protocols/nats_api_reference
 */
#pragma once

#include <nats/nats.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "orchestrator/bus_nats.h"
#include "orchestrator/event.h"

/* One for the life of the bus. */
struct flight {
    const char *stream; /* whose acknowledgement counts; borrowed */
    const char *prefix; /* of subjects; borrowed */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    /* The lock guards what follows.  `jetstream` NULL: no flight is under way. */
    const jsCtx *jetstream;
    const natsConnection *connection;
    const struct event *events;
    struct bus_delivery *deliveries;
    size_t count, open; /* open: of these not answered yet */
    bool closed;        /* the connection is */
};

/* The header that an event's position is in; an answer is found by it. */
extern const char FLIGHT_POSITION_HEADER[];

void flight_init(struct flight *flight, const char *stream, const char *prefix);
void flight_destroy(struct flight *flight);

/* Has answers and errors of connections made with `options` come here. */
natsStatus flight_listen(struct flight *flight, natsOptions *options);

/* Likewise of a JetStream context. */
void flight_take_answers(struct flight *flight, jsOptions *options);

/* From here on answers of that context go into `deliveries`, which has room for `count`, one
 * an event.  Events are in the order of their positions; both are borrowed until the end. */
void flight_begin(struct flight *flight, const jsCtx *jetstream,
                  const natsConnection *connection, const struct event *events,
                  struct bus_delivery *deliveries, size_t count);

/* Event `i` cannot be sent: why. */
void flight_refuse(struct flight *flight, size_t i, const char *why);

/* Waits until the first `sent` events are answered, the connection is closed, or the
 * monotonic deadline. */
void flight_wait(struct flight *flight, size_t sent, int64_t deadline_ms);

/* What comes later changes nothing any more. */
void flight_end(struct flight *flight);
