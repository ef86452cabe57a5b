/*
 * bus_nats.h - the distributed bus: NATS JetStream.
 *
 * An event is published to PREFIX.TYPE (checkout.order.created) with its id as
 * Nats-Msg-Id, by which the server drops repeats within two minutes.  The events of one
 * bus_nats_publish are sent together, and each gets its own result.  An event counts as
 * stored only when the server acknowledged it with its sequence in our stream.
 *
 * No two events of one order may be published together: if the first were lost and the second
 * not, the stream would have them in the wrong order.
 *
 * A server or stream that cannot carry the largest event (EVENT_SIZE_MAX), or that would
 * drop events, is not used at all, so that the fault shows at start and not later.  An
 * operator may change the stream, so publishing checks it again ten seconds after the
 * last check; an idle publisher checks nothing.
 *
 * For use by one thread; a call blocks for at most BUS_NATS_WAIT_MS.  The library's own
 * reconnect is off, because it would resend buffered messages of unknown outcome.  A
 * failed connection is closed, and the next server of the list is tried.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "orchestrator/events/bus/event.h"

struct bus_nats;

enum {
    BUS_NATS_WAIT_MS = 2500,
    BUS_NATS_ANSWER_MS = 750,     /* for one request about the stream */
    BUS_NATS_KEEP_LEAST_MS = 100, /* the server's own least age */
    BUS_REASON_SIZE = 128,
};

struct bus_nats_config {
    const char *url;    /* nats:// or tls://, several with commas; may be secret */
    const char *stream; /* the stream's name; created if missing */
    const char *prefix; /* of subjects; the stream's are PREFIX.> */
    int64_t replicas;   /* of a stream that we create */
    int64_t keep_ms;    /* how long a stream keeps messages, at least; 0: for ever */
    /* "" for none. */
    const char *credentials_file;                      /* a .creds file: JWT and seed */
    const char *ca_file, *certificate_file, *key_file; /* PEM */
};

/* The result of one event. */
enum bus_answer {
    BUS_SILENT,        /* no answer */
    BUS_DOUBTFUL,      /* neither stored nor refused; publish it again */
    BUS_STORED,        /* acknowledged, with its sequence in the stream */
    BUS_STORED_BEFORE, /* likewise, by an earlier attempt */
    BUS_REFUSED,       /* the server rejected it */
};

struct bus_delivery {
    enum bus_answer answer;
    char reason[BUS_REASON_SIZE]; /* of a refusal or a doubt: printable ASCII */
};

static inline bool bus_stored(const struct bus_delivery *delivery)
{
    return delivery->answer == BUS_STORED || delivery->answer == BUS_STORED_BEFORE;
}

/* Reads the files; does not connect.  INVALID_ARGUMENT names the file or setting. */
struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
    __attribute__((warn_unused_result));

/* Waits until all threads of libnats have ended.  NULL is allowed. */
void bus_nats_close(struct bus_nats *bus);

/*
 * Connects and makes or checks the stream, unless connected.  FAILED_PRECONDITION: the server
 * or the stream cannot be used; the message says what to change.
 */
struct err bus_nats_ready(struct bus_nats *bus) __attribute__((warn_unused_result));

/*
 * After bus_nats_ready: publishes events, sorted by position, and waits for every answer;
 * `deliveries` has room for one each.  Unless all are stored, bus_nats_ready must be called
 * again.  UNAVAILABLE: one or more got no answer, or a doubtful one; the message names the
 * first.  FAILED_PRECONDITION: nothing was published, as the stream cannot be used any more;
 * as above.  May be repeated.
 */
struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, struct bus_delivery *deliveries)
    __attribute__((warn_unused_result));
