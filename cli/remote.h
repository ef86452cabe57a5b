/* remote.h - a call that is waited for. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "cli/catalogue.h"
#include "cli/cli.h"

struct line;

/* Waits until the server at the other end has answered anything, at most
 * cli->connect_timeout_ms (or max_time_ms): UNAVAILABLE when it has not. */
struct outcome remote_connect(const struct cli *cli, struct line *line)
    __attribute__((warn_unused_result));

/*
 * Calls a method of the service at `place` and waits, at most cli->max_time_ms.  The
 * reply, and an error's subject, live in cli->arena.  Failures of settings and keys are
 * local outcomes, all others carry their gRPC status.  With --connect-timeout or -v a
 * health check goes first; -v says on cli->err what happened and how long it took.
 */
struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const char *method, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           const ProtobufCMessage **reply)
    __attribute__((warn_unused_result));

/* The same at the stack's service of that name, and shows the reply: `print` to people,
 * with
 * --json its JSON to programs. */
struct outcome
remote_show(const struct cli *cli, const char *service, const char *method,
            const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
            void (*print)(const struct cli *cli, const ProtobufCMessage *reply))
    __attribute__((warn_unused_result));

/* Requests borrow words; protobuf-c's structs only lack the const.  NULL gives "". */
static inline char *borrow(const char *word)
{
    return (char *)(uintptr_t)(word != NULL ? word : "");
}
