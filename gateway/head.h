/*
 * head.h - a request's header fields, looked at once, before any body is read.
 *
 * libmicrohttpd lets duplicates and odd framing through; whatever could make two readers
 * of one connection disagree about where a request ends is refused here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/trace.h"

/* Values are the connection's or the request's and live until the answer is sent; NULL:
 * not there. */
struct head {
    const char *authorization;
    const char *content_type;
    const char *content_encoding;
    const char *idempotency_key;
    const char *if_none_match;
    struct trace_fields trace; /* traceparent and tracestate, which may be repeated */
    const char *content_length;
    const char *transfer_encoding;
    const char *host;
    const char *expect;
    const char *cookie;
    const char *origin;
    const char *fetch_site;    /* Sec-Fetch-Site */
    const char *wanted_method; /* Access-Control-Request-Method: a preflight */
    int64_t length;            /* of the body by Content-Length; -1 when not told */
    const char *twice;         /* the field that came twice, or NULL */
    bool malformed; /* a name that is no token, or a value with control characters */
};

/* Adds one field, as a walk over the header finds it. */
void head_add(struct head *head, const char *name, const char *value);

/*
 * Judges the framing.  INVALID_ARGUMENT or UNIMPLEMENTED (unknown transfer coding): the
 * connection must be closed after the answer.
 */
struct err head_check(struct head *head, const char *method, const char *version)
    __attribute__((warn_unused_result));
