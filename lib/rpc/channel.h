/*
 * channel.h - calling one service, in however many replicas it runs.
 *
 *      call -> [least outstanding address] -> seal, send -> receive, open -> done
 *                        ^                            |
 *                        +---- backoff <-- UNAVAILABLE or effect unknown, time left
 *
 * The channel alone retries, and only what is UNAVAILABLE or of unknown effect: every
 * method is keyed by an id, so asking again is safe.  An address that fails is rested.
 * nng's own resending is off.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "rpc/keys.h"

struct channel;

struct channel_config {
    const char *service;         /* the callee's name in known_services */
    const char *addresses;       /* nng URLs separated by commas, 1 to 16 */
    const struct key *key;       /* ours; borrowed, must outlive the channel */
    const struct peers *services; /* known_services; borrowed, must outlive the channel */
    size_t in_flight_max;        /* calls at once; past it RESOURCE_EXHAUSTED */
};

struct channel_call {
    const char *method;              /* "inventory.v1.Inventory/Reserve" */
    const ProtobufCMessage *request; /* packed before channel_call returns */
    const ProtobufCMessageDescriptor *reply_type;
    struct arena *arena;             /* the reply is unpacked here; untouched by the
                                        caller until done is called */
    int64_t deadline_ms;             /* clock_monotonic_ms; at most 600 s ahead */
    const char *id;                  /* names the call in logs; NULL: a new ULID */
    const char *traceparent;         /* or NULL */
};

/*
 * The answer: `reply` is of reply_type and lives in the arena, NULL when failed.
 * `replayed` is the envelope's.  Called exactly once, on an nng thread or, when the call
 * cannot even start, before channel_call returns.
 */
typedef void channel_done(void *arg, struct err error, const ProtobufCMessage *reply,
                          bool replayed);

/* Starts dialling, waits for nothing.  INVALID_ARGUMENT for a bad or unknown address. */
struct err channel_open(const struct channel_config *config, struct channel **out)
    __attribute__((warn_unused_result));

/* Ends every call in flight with CANCELLED (effect unknown) and waits for their ends; so it
 * is not to be called from a channel_done. */
void channel_close(struct channel *channel);

/*
 * Calls.  Errors: the callee's own; UNAVAILABLE (effect none) when no address could be
 * reached in time; DEADLINE_EXCEEDED (effect unknown) when an answer did not come in
 * time; RESOURCE_EXHAUSTED at once past in_flight_max; DATA_LOSS when an answer does not
 * unpack.  Everything in `call` is copied or used before it returns.
 */
void channel_call(struct channel *channel, const struct channel_call *call, channel_done *done,
                  void *arg);
