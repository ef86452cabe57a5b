/*
 * line.h - a line to one service, kept open for many calls, several of them under way.
 *
 *      line_start(call) --> (nng's thread) the answer is stored --> line_wait(call)
 *
 * Nothing here waits without a bound: the channel promises an answer by the deadline, and
 * should it ever not keep that, the line is closed, which ends the call.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <pthread.h>

#include "cli/catalogue.h"
#include "cli/cli.h"

struct line;

/* A call under way: the caller's memory, left alone between line_start and line_wait. */
struct line_call {
    struct line *line;
    int64_t deadline_ms;
    pthread_cond_t end;
    bool ended;
    struct err error;
    const ProtobufCMessage *reply;
};

/* Opens a line; local outcomes for settings and keys.  Free with line_close. */
struct outcome line_open(const struct cli *cli, const struct place *place,
                         struct line **out) __attribute__((warn_unused_result));

/* Ends every call under way, and the line.  NULL is allowed. */
void line_close(struct line *line);

/* Starts a call that may take `timeout_ms`.  The reply, and an error's subject, will live
 * in `arena`, which is the call's until line_wait. */
void line_start(struct line *line, struct line_call *call, const char *method,
                const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, struct arena *arena,
                int64_t timeout_ms);

/* Waits for its end: the reply, or an outcome that carries the gRPC status. */
struct outcome line_wait(struct line_call *call, const ProtobufCMessage **reply)
    __attribute__((warn_unused_result));
