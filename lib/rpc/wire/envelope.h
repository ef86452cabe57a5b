/*
 * envelope.h - Request and Response (proto/rpc.proto): packed, checked, and their errors.
 */
#pragma once

#include "proto/rpc.pb-c.h"
#include <nng/nng.h>

#include "base/arena.h"
#include "base/err.h"
#include "rpc/wire/bounds.h"

enum {
    ENVELOPE_METHOD_MAX = 128,
    ENVELOPE_ID_MAX = 64,
    ENVELOPE_TRACEPARENT_MAX = 64,
    ENVELOPE_METADATA_MAX = 16,     /* entries */
    ENVELOPE_METADATA_KEY_MAX = 64, /* bytes */
    ENVELOPE_METADATA_VALUE_MAX = 512,
    /* Bytes nng may receive: a sealed frame behind nng's own headers. */
    ENVELOPE_RECEIVE_MAX = (1 << 20) + 64,
};

/* A message with `overhead` free bytes and then the packed envelope, ready to be sealed;
 * NULL when memory is short. */
nng_msg *envelope_pack(const ProtobufCMessage *envelope, size_t overhead)
    __attribute__((warn_unused_result));

/* Whether every field is within the bounds of rpc.proto: INVALID_ARGUMENT names the field. */
struct err envelope_check(const Rpc__V1__Request *request)
    __attribute__((warn_unused_result));

/* The same of the fields that a caller chooses. */
struct err envelope_check_fields(const char *method, const char *id,
                                 const char *traceparent, const char *tracestate,
                                 const struct rpc_metadata *metadata, size_t count)
    __attribute__((warn_unused_result));

/* The error as an answer; borrows its texts. */
void envelope_put_err(const struct err *error, Rpc__V1__Response *response);

/* The answer's error, ERR_NONE for status 0; borrows its subject. */
struct err envelope_get_err(const Rpc__V1__Response *response)
    __attribute__((warn_unused_result));
