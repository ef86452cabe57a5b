/*
 * channel.h - calls one service, in however many replicas it runs.
 *
 *      call -> [least outstanding address] -> seal, send -> receive, open -> done
 *                        ^                            |
 *                        +---- backoff <-- UNAVAILABLE or effect unknown, time left
 *
 * Only the channel retries, and only what is UNAVAILABLE or of unknown effect.  Every method
 * is keyed by an id, so a retry is safe.  The channel waits for a callee's
 * retry_after_ms.  It rests an address that fails, and uses it again when one attempt there
 * succeeded.  nng's own resending is off.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/metrics.h"
#include "rpc/auth/keys.h"
#include "rpc/auth/principals.h"
#include "rpc/auth/tls.h"
#include "rpc/wire/bounds.h"

struct channel;

struct channel_config {
    const char *service;   /* the callee's name in known_services */
    const char *addresses; /* nng URLs separated by commas, 1 to 16 */
    const struct key *key; /* ours; borrowed until channel_open returns */
    const struct principals
        *services;        /* known_services, read with it; it takes a share */
    size_t in_flight_max; /* calls at once, at most 65536; past it RESOURCE_EXHAUSTED */
    struct tls_files tls; /* for addresses of tls+tcp:// */
    struct metrics *metrics; /* where rpc_client_* go; borrowed, or NULL */
};

struct channel_call {
    const char *method;              /* "inventory.v1.Inventory/Reserve" */
    const ProtobufCMessage *request; /* packed before channel_call returns */
    const ProtobufCMessageDescriptor *reply_type;
    struct arena *arena;     /* for the reply; the caller's again when done is called */
    int64_t deadline_ms;     /* clock_monotonic_ms; at most 600 s ahead */
    const char *id;          /* names the call in logs; NULL: a new ULID */
    const char *traceparent; /* or NULL */
    const char *tracestate;  /* that goes with it; or NULL */
    const struct rpc_metadata *metadata;
    size_t metadata_count;
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

/* From the next attempt on, uses the callee's key of this list, and our own key with
 * which the list was read, of the same name.  Takes a share.  INVALID_ARGUMENT when the
 * service is not in it: the earlier list stays. */
struct err channel_set_services(struct channel *channel,
                                const struct principals *services)
    __attribute__((warn_unused_result));

/* Certificates for later connections to addresses of tls+tcp://; present connections stay.
 * Not while the channel is being closed.  If it fails, nothing has changed. */
struct err channel_set_tls(struct channel *channel, const struct tls_pem *pem)
    __attribute__((warn_unused_result));

/* Ends every call in flight with CANCELLED (effect unknown) and waits for their ends.  So it
 * must not be called from a channel_done. */
void channel_close(struct channel *channel);

/* Whether one of its addresses is connected.  Any thread; waits for nothing. */
bool channel_connected(const struct channel *channel);

/* Names a call under way; 0 names none. */
typedef uint64_t channel_ticket;

/*
 * Calls.  Errors: the callee's own; UNAVAILABLE (effect none) when no address could be
 * reached in time; DEADLINE_EXCEEDED (effect unknown) when an answer did not come in
 * time; RESOURCE_EXHAUSTED at once past in_flight_max; DATA_LOSS when an answer does not
 * unpack.  Everything in `call` is copied or used before it returns.  Returns the ticket for
 * channel_cancel; 0 when the call could not start, and `done` was called.
 */
channel_ticket channel_call(struct channel *channel, const struct channel_call *call,
                            channel_done *done, void *arg);

/*
 * Cancels the call: it ends soon with CANCELLED, unless its answer is just arriving.  The
 * effect is unknown if the request was sent; then the callee gets a Cancel, and drops what it
 * has not begun.  A ticket of a call that has ended, or 0, does nothing.
 */
void channel_cancel(struct channel *channel, channel_ticket ticket);
