/* remote.h - a call that is waited for. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "cli/catalogue.h"
#include "cli/cli.h"

/*
 * Calls a method of the service at `place` and waits, at most cli->max_time_ms.  The
 * reply, and an error's subject, live in cli->arena.  Failures of settings and keys are
 * local outcomes, all others carry their gRPC status.
 */
struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const char *method, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           const ProtobufCMessage **reply)
    __attribute__((warn_unused_result));
