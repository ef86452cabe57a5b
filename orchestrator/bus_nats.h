/*
 * bus_nats.h - the distributed bus: NATS JetStream.
 *
 * An event is published to PREFIX.TYPE (checkout.order.created) with its id as
 * Nats-Msg-Id, by which the server drops what it has seen within two minutes.  What is
 * given to bus_nats_publish together goes out together, and its success means that the
 * server acknowledged every one: stored.  After a failure it says how many of the first
 * are known to be stored; of the others some may be, and they are given again.
 *
 * So that the stream has each order's events in their order, no two of one order may be
 * given together: were the first lost and the second not, they would be stored the other
 * way round.
 *
 * A server or stream that could not carry the largest event there is (EVENT_SIZE_MAX) is
 * not used at all: better none now than one that is stuck some night.
 *
 * For one thread, which it may keep waiting for BUS_NATS_WAIT_MS a call.  The library's
 * own reconnecting is off: it would send later what was not known to be sent earlier.  A
 * connection that fails is thrown away, and the next server of the list is tried.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "orchestrator/event.h"

struct bus_nats;

enum { BUS_NATS_WAIT_MS = 2500 };

struct bus_nats_config {
    const char *url;    /* nats:// or tls://, several with commas; may be secret */
    const char *stream; /* the stream's name; made if it is not there */
    const char *prefix; /* of subjects; the stream's are PREFIX.> */
    int64_t replicas;   /* of a stream that is made */
    int64_t keep_ms;    /* how long a stream that is made keeps messages */
    /* "" for none. */
    const char *credentials_file;                      /* a .creds file: JWT and seed */
    const char *ca_file, *certificate_file, *key_file; /* PEM */
};

/* Reads the files; does not connect.  INVALID_ARGUMENT says which file it was. */
struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
    __attribute__((warn_unused_result));
void bus_nats_close(struct bus_nats *bus); /* NULL is allowed */

/*
 * Connects and makes or checks the stream, unless that is done.  FAILED_PRECONDITION: the
 * server or the stream cannot be used as it is; the message says what to change.
 */
struct err bus_nats_ready(struct bus_nats *bus) __attribute__((warn_unused_result));

/*
 * When it is ready: publishes events, which have positions one after another, and waits
 * for every acknowledgement.  `*stored` is how many of the first are stored, also after a
 * failure; there must be a bus_nats_ready then.  FAILED_PRECONDITION: the server has
 * refused the one after those; the message names it and says why.
 */
struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, size_t *stored)
    __attribute__((warn_unused_result));
