/*
 * head.h - the header fields that the gateway reads, as C strings of the request.
 *
 * Framing and syntax are lib/http's; here is what the fields mean to us.
 */
#pragma once

#include "base/arena.h"
#include "base/contract/trace.h"
#include "base/err.h"
#include "http/server.h"

/* Values live in the request's arena; NULL: not there. */
struct head {
    const char *authorization;
    const char *content_type;
    const char *content_encoding;
    const char *content_range;
    const char *idempotency_key;
    const char *if_match;
    const char *if_none_match;
    struct trace_fields trace; /* traceparent and tracestate, which may be repeated */
    const char *host; /* of the target, else of the Host field; "" in HTTP/1.0 without */
    const char *cookie;
    const char *origin;
    const char *fetch_site;    /* Sec-Fetch-Site */
    const char *wanted_method; /* Access-Control-Request-Method: a preflight */
};

/* Copies the fields' values alone, as far as they came: for a head that is refused.  Errors as
 * head_read's; what was copied before stands. */
struct err head_read_fields(struct head *head, struct arena *arena,
                            const struct http_head *from);

/* Copies the fields' values and the host.  INVALID_ARGUMENT when one came twice that is no
 * list; RESOURCE_EXHAUSTED when the arena is full. */
struct err head_read(struct head *head, struct arena *arena, const struct http_head *from)
    __attribute__((warn_unused_result));
