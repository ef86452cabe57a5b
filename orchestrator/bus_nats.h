/*
 * bus_nats.h - the distributed bus: NATS JetStream.
 *
 * An event is published to PREFIX.TYPE (checkout.order.created) with its id as
 * Nats-Msg-Id, by which the server drops what it has seen within two minutes.  What is
 * given to bus_nats_publish together goes out together, and each event is told apart:
 * stored is what the server acknowledged with the place it has in our stream, and nothing
 * else is (bus_nats_flight.h).
 *
 * So that the stream has each order's events in their order, no two of one order may be
 * given together: were the first lost and the second not, they would be stored the other
 * way round.
 *
 * A server or stream that could not carry the largest event there is (EVENT_SIZE_MAX), or
 * that would drop events, is not used at all: better none now than one that is stuck some
 * night.  An operator may change the stream while it is used, so whoever publishes looks at
 * it again when the last look was ten seconds ago; at rest nobody does.
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

enum {
    BUS_NATS_WAIT_MS = 2500,
    BUS_NATS_ANSWER_MS = 750,     /* for one request about the stream */
    BUS_NATS_KEEP_LEAST_MS = 100, /* the server's own least age */
    BUS_REASON_SIZE = 128,
};

struct bus_nats_config {
    const char *url;    /* nats:// or tls://, several with commas; may be secret */
    const char *stream; /* the stream's name; made if it is not there */
    const char *prefix; /* of subjects; the stream's are PREFIX.> */
    int64_t replicas;   /* of a stream that is made */
    int64_t keep_ms;    /* how long a stream keeps messages, at least; 0: for ever */
    /* "" for none. */
    const char *credentials_file;                      /* a .creds file: JWT and seed */
    const char *ca_file, *certificate_file, *key_file; /* PEM */
};

/* What became of one event. */
enum bus_answer {
    BUS_SILENT,        /* nothing was heard */
    BUS_DOUBTFUL,      /* an answer that is no acknowledgement; give it again */
    BUS_STORED,        /* acknowledged, with its place in the stream */
    BUS_STORED_BEFORE, /* likewise, from when it was given before */
    BUS_REFUSED,       /* by the server's own decision */
};

struct bus_delivery {
    enum bus_answer answer;
    char reason[BUS_REASON_SIZE]; /* of a refusal or a doubt: printable ASCII */
};

static inline bool bus_stored(const struct bus_delivery *delivery)
{
    return delivery->answer == BUS_STORED || delivery->answer == BUS_STORED_BEFORE;
}

/* Reads the files; does not connect.  INVALID_ARGUMENT says which file or setting it was. */
struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
    __attribute__((warn_unused_result));

/* Waits until no thread of libnats is left.  NULL is allowed. */
void bus_nats_close(struct bus_nats *bus);

/*
 * Connects and makes or checks the stream, unless that is done.  FAILED_PRECONDITION: the
 * server or the stream cannot be used as it is; the message says what to change.
 */
struct err bus_nats_ready(struct bus_nats *bus) __attribute__((warn_unused_result));

/*
 * When it is ready: publishes events, which are in the order of their positions, and waits
 * for every answer; `deliveries` has room for one each.  Unless all are stored there must be
 * a bus_nats_ready then.  UNAVAILABLE: one or more got no answer, or a doubtful one; the
 * message names the first.  FAILED_PRECONDITION: nothing was published, as the stream cannot
 * be used any more; as above.  May be repeated.
 */
struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, struct bus_delivery *deliveries)
    __attribute__((warn_unused_result));
