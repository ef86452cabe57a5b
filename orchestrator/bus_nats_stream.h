/*
 * bus_nats_stream.h - the JetStream stream: made if it is not there, refused if it would
 * drop events.
 *
 * What a stream acknowledged is there for as long as it keeps messages, whatever else is
 * stored, read or restarted.  A stream that promises less is not used: an event that it
 * dropped would be told as published.
 * https://docs.nats.io/nats-concepts/jetstream/streams
 */
#pragma once

#include <nats/nats.h>

#include "base/err.h"
#include "orchestrator/bus_nats.h"

/*
 * Asks the server twice at most, BUS_NATS_ANSWER_MS each.  May be repeated.
 * FAILED_PRECONDITION: the stream cannot be used as it is; the message says what to change.
 * UNAVAILABLE: it could not be looked at or made; in the server's words.
 */
struct err stream_ensure(jsCtx *jetstream, const struct bus_nats_config *config)
    __attribute__((warn_unused_result));

/* Whatever may carry `most` bytes must carry every event: FAILED_PRECONDITION if it does not;
 * `what` is the setting to be raised. */
struct err stream_check_size(int64_t most, const char *what)
    __attribute__((warn_unused_result));
