/*
 * http.h - the gateway's HTTP server: takes requests from lib/http to the handlers.
 *
 *      head -> read (fields.h), admitted (admission.h) -> body -> handler -> a call runs
 *           \-> refused: a problem (problem.h)                            \-> answered
 *
 * Every answer, including refusals, is counted and has a line in the access log, except
 * when there is no memory for the request: then the answer is 503 at once.  Metrics:
 *
 *   http_server_calls{route,status}   answers, by the class of their status: 2xx to 5xx
 *   http_server_latency_us{route}     from a request's first byte read to its answer
 *   http_server_in_flight{route}      requests whose handler was called
 *   http_server_left                  calls cancelled because the connection broke
 *   http_server_dropped               connections closed without an answer: 64 others
 *                                     wait for a 429 (per_address_max), or no memory
 *
 * Requests without a route are counted as route "none".
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct gateway;
struct http;
struct http_tls;
struct metrics;
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
    struct metrics *metrics;     /* borrowed; NULL: nothing is counted */
};

/* Starts serving; UNAVAILABLE with the reason when the address cannot be listened on,
 * INVALID_ARGUMENT when cors_origins is malformed.  `gateway` is borrowed
 * and must outlive the server. */
struct err http_start(const struct http_config *config, const struct gateway *gateway,
                      struct http **out) __attribute__((warn_unused_result));

/* The port listened on. */
uint16_t http_port(const struct http *http);

/* From now on /healthz answers 503, so that load balancers send no new requests; all
 * other requests are served as before. */
void http_retire(struct http *http);

/* Whether http_retire was called. */
bool http_retired(const struct http *http);

/* Retires, accepts no more connections, and waits up to `limit_ms` until no request runs;
 * every answer closes its connection.  Afterwards no call is started or cancelled:
 * channels may be closed. */
void http_drain(struct http *http, int64_t limit_ms);

/* Stops and frees the server.  No call may be running: close the channels first, whose
 * calls then end with an unknown outcome.  Returns false when requests were cut off; each
 * of them is logged (request_cut). */
bool http_stop(struct http *http);

/* Sends the request's answer; the last step of a completion.  Any thread. */
void http_send(struct request *request);

/* request_fail, then http_send. */
void http_send_failure(struct request *request, struct err error);
