/*
 * server.h - an RPC server: sealed requests in, protobuf-c service methods run, replies
 * out.
 *
 * A handler has the shape protobuf-c generates and runs on an nng thread: it validates,
 * submits a database operation or a call, and returns.  The reply may come later, from
 * any thread, exactly once.  Rejected without running anything: frames that do not open,
 * unknown callers, methods the caller may not call, frames that the replay cache does not
 * admit, requests past their deadline or not well-formed.
 *
 * With nng before 1.6 the server may have to listen again (nng_defects.h), which ends
 * every connection: channels reconnect and retry.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/cancel.h"
#include "base/contract/trace.h"
#include "base/err.h"
#include "base/metrics.h"
#include "rpc/auth/principals.h"
#include "rpc/auth/tls.h"
#include "rpc/wire/bounds.h"

struct rpc_server;
struct rpc_call; /* one request being served: the closure_data of a handler */

enum { RPC_HEALTH_PARTS_MAX = 72, RPC_HEALTH_NAME_SIZE = 64 };

/* A part of a server whose health is reported separately (HealthPart in rpc.proto). */
struct rpc_health_part {
    char name[RPC_HEALTH_NAME_SIZE];
    struct err health;
};

struct rpc_server_config {
    const char *url;      /* ipc:///path, tcp://address:port or tls+tcp://address:port */
    struct tls_files tls; /* for the last */
    const struct principals *callers; /* read with our key; takes a reference */
    /* Borrowed; Health, Reflection, Metrics and Calls are added by the server itself. */
    ProtobufCService *const *services;
    size_t service_count;
    size_t in_flight_max; /* requests served at once; more wait in the socket */
    /* Whether the service can do its work; failed: NOT_SERVING with its message and, as
     * its subject (static or NULL), the summary.  NULL: it always can.  Called on an nng
     * thread: must not wait. */
    struct err (*health)(void *arg);
    /* The health of its parts: fills in up to RPC_HEALTH_PARTS_MAX, returns how many.
     * NULL: none. Must not wait. */
    size_t (*health_parts)(void *arg, struct rpc_health_part *parts);
    void *health_arg; /* of both */
    /* Per caller: requests served at once, and calls per second; above either
     * RESOURCE_EXHAUSTED.  0: no such limit.  Health and Cancel are not
     * limited. */
    size_t caller_in_flight_max;
    uint32_t caller_per_second;
    bool access_log; /* one line per call that a handler ran; not for package rpc.v1 */
    struct metrics *metrics; /* borrowed, must outlive the server; NULL: one of its own */
};

/* Starts serving; UNAVAILABLE when the address cannot be listened on, saying which. */
struct err rpc_server_start(const struct rpc_server_config *config,
                            struct rpc_server **out) __attribute__((warn_unused_result));

/* Replaces the list of callers for the next requests; takes a reference.  Calls being
 * served go on. */
void rpc_server_set_callers(struct rpc_server *server, const struct principals *callers);

/* Replaces the certificates for new connections; see watch_set_tls.  Not on an nng
 * thread, nor while the server is stopped. */
struct err rpc_server_set_tls(struct rpc_server *server, const struct tls_pem *pem)
    __attribute__((warn_unused_result));

/*
 * Fails new requests with UNAVAILABLE, waits up to drain_ms for the calls being served
 * and a tenth of a second for their replies to be read, and closes.  NULL is allowed.
 * False when calls were still being served: each is logged (call_cut).  Its caller sees
 * the connection end, so the outcome is unknown to it, and retries.
 */
bool rpc_server_stop(struct rpc_server *server, int64_t drain_ms);

/* Of a call being served; all valid until its reply is given. */
struct arena *rpc_call_arena(struct rpc_call *call);    /* freed when the reply is sent */
int64_t rpc_call_deadline(const struct rpc_call *call); /* clock_monotonic_ms */
const char *rpc_call_id(const struct rpc_call *call);
const char *rpc_call_caller(const struct rpc_call *call);

/* Our span in the call's trace (base/contract/trace.h), for calls we make to serve it. */
void rpc_call_trace(const struct rpc_call *call, struct trace *out);

/* The caller's metadata of that key; NULL when there is none. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key);

/*
 * Whether the reply is no longer wanted: the caller has cancelled the call
 * (rpc.v1.Calls/Cancel) or its connection has ended.  Work that has not begun to change
 * anything may then end with CANCELLED; a reply must be given in any case.  The pointer
 * may be given to another thread that does the work; it is valid until the reply is
 * given.
 */
const struct cancel *rpc_call_cancel(const struct rpc_call *call);

/* The order that the call is about, for its log lines.  NULL or "": none is known. */
void rpc_call_set_order(struct rpc_call *call, const char *order_id);
const char *rpc_call_order(const struct rpc_call *call);

/* Marks the reply as one that was given before (Response.replayed). */
void rpc_call_replayed(struct rpc_call *call);

/* Gives an error as the reply, in place of calling the handler's reply closure. */
void rpc_call_fail(struct rpc_call *call, struct err error);
