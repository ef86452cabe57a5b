/*
 * request_context.h - what a store function gets of its request: memory, deadline, where
 * to reply.
 *
 * The same in every service: a handler opens the context, gives it to its store function,
 * and returns; the store calls `done` once, with a reply message or an error.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "rpc/server/server.h"

/* `reply` lives until the function returns; NULL when failed. */
typedef void request_context_done(void *arg, struct err error,
                                  const ProtobufCMessage *reply);

struct request_context {
    struct arena *arena;         /* what the answer lives in */
    int64_t deadline_ms;         /* clock_monotonic_ms */
    const char *request;         /* the call's id: names the request in logs */
    const char *order;           /* likewise; "" when the call is about none */
    const struct cancel *cancel; /* whether anybody still waits; see server/server.h */
    request_context_done *done;  /* called exactly once, from any thread */
    void *arg;
};

/*
 * Opens the context of a call whose handler's closure is `reply`; `invalid` is what
 * checking the request gave.  False when that failed or memory is short: the error was
 * then given as the reply, and the handler returns.
 */
bool request_context_open(struct request_context *ctx, struct rpc_call *call,
                          ProtobufCClosure reply, struct err invalid)
    __attribute__((warn_unused_result));
