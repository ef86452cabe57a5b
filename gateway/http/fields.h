/*
 * fields.h - header fields: those of a request that the gateway reads, and those of an
 * answer.  lib/http checks framing and syntax; this file interprets them.
 *
 * CORS (https://fetch.spec.whatwg.org/): pages of an exact list of origins may read
 * answers.  With an empty list, the default, no CORS field is ever added.  Cookies are
 * never allowed across sites: pages of other origins send a bearer token.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/contract/trace.h"
#include "base/err.h"
#include "base/text.h"
#include "http/server.h"

/* Fields of a request, as C strings in its arena; NULL: absent. */
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

/* Copies the fields' values of a refused head, without the host.  Fails like head_read;
 * values copied before the failure stay. */
struct err head_read_fields(struct head *head, struct arena *arena,
                            const struct http_head *from);

/* Copies the fields' values and the host.  INVALID_ARGUMENT when a field came twice that
 * is not a list; RESOURCE_EXHAUSTED when the arena is full. */
struct err head_read(struct head *head, struct arena *arena, const struct http_head *from)
    __attribute__((warn_unused_result));

/* A field of an answer; a list of them ends with a NULL name. */
struct answer_field {
    const char *name, *value;
};

/* An answer.  All pointers are borrowed; NULL or 0 means not sent. */
struct answer {
    unsigned status;
    const char *body;
    size_t size;
    const char *content_type; /* NULL: JSON, or a problem from 400 on */
    const char *location;
    const char *allow;
    const char *accept_encoding; /* with 415: which codings of a body are read */
    bool replayed;               /* an earlier answer to the same key */
    bool close;                  /* close the connection after it */
    int retry_after_s;
    const char *cache_control; /* NULL: no-store */
    const char *set_cookie;
    const struct answer_field *fields; /* more, or in place of the usual ones; or NULL */
};

/* Appends `raw`, such as ",\"sku\":", and then the value as a JSON string or number. */
void answer_text(struct text *text, const char *raw, const char *value);
void answer_number(struct text *text, const char *raw, int64_t value);

/* For every answer but the shop page (files.c): it may load nothing, must not be framed,
 * and browsers must not guess its type. */
#define ANSWER_POLICIES(X)                                                               \
    X("X-Content-Type-Options", "nosniff")                                               \
    X("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")           \
    X("Referrer-Policy", "no-referrer")

/* The lines of most answers: those policies, and no caching. */
#define ANSWER_LINE(name, value) name ": " value "\r\n"
#define ANSWER_USUAL             ANSWER_POLICIES(ANSWER_LINE) ANSWER_LINE("Cache-Control", "no-store")

/*
 * The lines "NAME: VALUE\r\n" of an answer, in the arena; broken when that is full.
 * id: the request's.  head: the request's, for CORS; origins: the list.  tls: it is sent
 * over TLS; only then may it require TLS for later visits (RFC 6797, 7.2).
 */
struct text answer_fields(struct arena *arena, const struct answer *answer,
                          const char *id, const struct head *head, const char *origins,
                          bool tls);

/* Whether every entry of the list, separated by commas, is an origin: scheme, "://",
 * host, optional port; no path, no space, no "*". */
bool cors_list_valid(const char *origins);
