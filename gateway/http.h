/*
 * http.h - the HTTP server: libmicrohttpd around the route table.
 *
 *      request line -> head checked -> body, bounded -> handler -> suspended while a call
 *      runs -> resumed by its completion -> answered
 *
 * One thread (loop.h) serves every connection and never waits.  Bounded: connections, in all
 * and per address; a head's and a body's bytes; and by deadlines that count from the
 * start, not from the last byte, the time a client may take to send a request and to take
 * an answer.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/gateway.h"

struct certificates;

struct http_config {
    const char *address; /* numeric, IPv4 or IPv6 */
    uint16_t port;       /* 0: a free one */
    unsigned connections_max;
    unsigned per_address_max;
    int64_t idle_timeout_ms; /* from connecting, or the last answer, to a whole head */
    int64_t transfer_timeout_ms;       /* to send a body; to take an answer */
    int64_t look_every_ms;             /* see conns.h; 0: as usual */
    struct certificates *certificates; /* borrowed; NULL: no TLS */
};

struct http;

/* Serves; UNAVAILABLE when the address cannot be listened on, saying why.  `gateway` is
 * borrowed and must outlive the server. */
struct err http_start(const struct http_config *config, const struct gateway *gateway,
                      struct http **out) __attribute__((warn_unused_result));

/* The port listened on. */
uint16_t http_port(const struct http *http);

/* Whether http_drain was called. */
bool http_draining(const struct http *http);

/* Accepts no more, and waits up to `limit_ms` until nothing runs; then every answer says
 * that the connection closes.  No call is cancelled after it: channels may be closed. */
void http_drain(struct http *http, int64_t limit_ms);

/* Ends it all.  No call may be running any more: close the channels first. */
void http_stop(struct http *http);
