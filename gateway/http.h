/*
 * http.h - the gateway's requests, between lib/http and the handlers.
 *
 *      head -> read (head.h), admitted (admit.h) -> body -> handler -> a call runs
 *           \-> refused: a problem (problem.h)                          \-> answered
 *
 * Every answer, a refusal too, is counted (traffic.h) and has a line in the access log;
 * but for a request that finds no memory, which is 503 at once.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/gateway.h"

struct http_tls;
struct request;

struct http_config {
    const char *address; /* numeric, IPv4 or IPv6 */
    uint16_t port;       /* 0: a free one */
    unsigned connections_max;
    unsigned per_address_max;
    int64_t idle_timeout_ms;     /* from connecting, or an answer, to the next request */
    int64_t head_timeout_ms;     /* from a request's first byte to its whole head */
    int64_t transfer_timeout_ms; /* to send a body; to take an answer */
    struct http_tls *tls;        /* borrowed; NULL: no TLS */
};

struct http;

/* Serves; UNAVAILABLE when the address cannot be listened on, saying why.  `gateway` is
 * borrowed and must outlive the server. */
struct err http_start(const struct http_config *config, const struct gateway *gateway,
                      struct http **out) __attribute__((warn_unused_result));

/* The port listened on. */
uint16_t http_port(const struct http *http);

/* From here on /healthz says 503, so that load balancers send nothing new; all else is
 * served as before. */
void http_retire(struct http *http);

/* Whether http_retire was called. */
bool http_retired(const struct http *http);

/* Retires, accepts no more, and waits up to `limit_ms` until nothing runs; every answer
 * says that the connection closes.  No call begins or is cancelled after it: channels may
 * be closed. */
void http_drain(struct http *http, int64_t limit_ms);

/* Ends it all.  No call may be running any more: close the channels first, whose calls then
 * end as requests whose outcome is not known.  False when requests were cut off so: each is
 * logged (request_cut). */
bool http_stop(struct http *http);

/* Sends an answered request's answer (request_resume).  Any thread. */
void http_send(struct request *request);
