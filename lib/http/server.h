/*
 * server.h - a small, strict HTTP/1.1 server for one process.
 *
 *      bytes -> head (parse.h) -> on_head -> body (body.h) -> on_body -> answered -> on_end
 *                   \______________ refused: on_refusal ______________/
 *
 * One thread serves all connections with epoll and never waits for anything else.  Each
 * request gets exactly one answer, in the order of the requests.  A malformed request is
 * answered with the reason, and its connection is closed slowly enough for the client to
 * read that (RFC 9112, 9.6).
 *
 * Limits bound the connections, in all and per address, and every part of a request
 * (struct http_limits).  Deadlines bound idling, a head, a body and an answer; they count
 * from the start, not from the last byte.  While a request is handled no deadline of the
 * connection runs; the handler has its own.
 *
 * A client that closes only its sending half still gets its answer.  on_gone reports a
 * broken connection.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "http/parse.h"

struct http_tls;
struct http_server;

/* One request and its answer; owned by the server. */
struct http_exchange;

/* The texts are borrowed until on_end. */
struct http_answer {
    unsigned status;
    struct http_text fields; /* lines "NAME: VALUE\r\n"; the server itself adds Date,
                                Content-Length and Connection */
    struct http_text body;   /* omitted for HEAD, and with 204 and 304 */
    bool close;              /* close the connection after it */
};

/* Callbacks on the server's thread; they must not wait. */
struct http_handler {
    /* A head was received; it and its bytes are valid during the call.  May answer at
     * once: then a short body is read and discarded, and only on_end is called. */
    void (*on_head)(void *arg, struct http_exchange *x, const struct http_head *head);
    /* The whole body was received; valid until on_end, with a NUL behind it.  Answer now,
     * or later from any thread. */
    void (*on_body)(void *arg, struct http_exchange *x, char *body, size_t size);
    /* The server refuses the request: fill in *answer, with that status, or 503 when
     * memory is short.  head: what could be parsed (method and target may be empty), NULL
     * after on_head. */
    void (*on_refusal)(void *arg, struct http_exchange *x, const struct http_head *head,
                       enum http_reason reason, struct http_answer *answer);
    /* The connection broke while the request was handled.  An answer must still be given,
     * although no client reads it. */
    void (*on_gone)(void *arg, struct http_exchange *x);
    /* The answer has been sent, or never will be; the request's memory is freed next. */
    void (*on_end)(void *arg, struct http_exchange *x);
    /* A client was closed without an answer: HTTP_OVER_LIMIT_MAX clients already wait for
     * their 429, or memory is short. */
    void (*on_dropped)(void *arg);
};

struct http_server_config {
    const char *address; /* numeric, IPv4 or IPv6 */
    uint16_t port;       /* 0: a free one */
    unsigned
        connections_max; /* at the limit new clients queue in the kernel, and connections
                                   idle for HTTP_FULL_IDLE_MS are closed */
    unsigned per_address_max; /* above it, requests are answered 429; connections beyond
                                   HTTP_OVER_LIMIT_MAX of these are dropped */
    int64_t idle_timeout_ms;  /* from connecting, or an answer, to the next request */
    int64_t head_timeout_ms; /* from the first byte of a request to the end of its head */
    int64_t body_timeout_ms; /* from there to the end of the body */
    int64_t answer_timeout_ms; /* from the first byte of an answer to its last */
    struct http_limits limits;
    size_t arena_max; /* bytes of memory one request may take */
    /* A complete answer, borrowed, sent when memory is short: status 503, "Connection:
     * close", its length, a blank line and a body.  Without Date, as RFC 9110, 6.6.1
     * allows for 5xx. */
    struct http_text no_memory;
    struct http_tls *tls; /* borrowed; NULL: plain HTTP */
    const struct http_handler *handler;
    void *arg;
};

enum {
    HTTP_OVER_LIMIT_MAX = 64, /* connections, of all addresses, that wait for their 429 */
    HTTP_FULL_IDLE_MS = 2000,
    HTTP_DRAIN_IDLE_MS = 250, /* draining keeps a connection that long after it was opened
                                 or answered: the next request may be on its way */
};

/* Listens and serves.  UNAVAILABLE or INVALID_ARGUMENT say why not. */
struct err http_server_open(const struct http_server_config *config,
                            struct http_server **out) __attribute__((warn_unused_result));

/* The port listened on. */
uint16_t http_server_port(const struct http_server *server);

/*
 * Starts draining: every answer closes its connection, and only connections whose TCP
 * handshake has begun are still accepted, even above connections_max.  May be repeated.
 *
 * A request whose first byte arrives before its connection is closed is handled, even if
 * the connection was not accepted yet; but not one pipelined behind an answer with
 * Connection: close (RFC 9112, 9.6).
 */
void http_server_quiesce(struct http_server *server);

/* After http_server_quiesce: waits until every request that has begun is answered, its
 * answer is sent, and no connection was used for HTTP_DRAIN_IDLE_MS.  False after
 * `limit_ms`. */
bool http_server_wait_idle(struct http_server *server, int64_t limit_ms);

/* Closes all connections and ends the thread.  Requests received but not yet read still
 * go to the handler.  No request may be waiting for its answer.  NULL is allowed. */
void http_server_close(struct http_server *server);

/* ---- exchanges ---- */

/* A text as a C string in the arena; NULL when that is full. */
char *http_text_copy(struct arena *arena, struct http_text text)
    __attribute__((warn_unused_result));

/* The request's memory, freed after on_end; used only by the handler. */
struct arena *http_exchange_arena(struct http_exchange *x);

/* The handler's own data; NULL at first. */
void http_exchange_set(struct http_exchange *x, void *user);
void *http_exchange_get(const struct http_exchange *x);

/* Allocates what sending this answer needs, so that memory cannot run short later.  False
 * when memory is short; no_memory may be sent instead.  To be called before the answer is
 * logged or counted. */
bool http_exchange_reserve(struct http_exchange *x, const struct http_answer *answer)
    __attribute__((warn_unused_result));

/* Answers the request, once.  Any thread; never waits.  Status 0 closes the connection
 * without an answer, as if it was lost: for fault tests. */
void http_exchange_answer(struct http_exchange *x, const struct http_answer *answer);

/* The configured limits, for error messages. */
const struct http_limits *http_exchange_limits(const struct http_exchange *x);
