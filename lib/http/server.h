/*
 * server.h - a small, strict HTTP/1.1 server for one process.
 *
 *      bytes -> head (parse.h) -> on_head -> body (body.h) -> on_body -> answered -> on_end
 *                   \______________ refused: on_refusal ______________/
 *
 * One thread serves every connection by epoll and never waits for anything else.  Each
 * request gets exactly one answer with one head, in the order in which the requests came;
 * a request that is not understood is told why, and then its connection is closed slowly
 * enough for the client to read that (RFC 9112, 9.6).
 *
 * Bounded: connections, in all and per address; every part of a request (struct
 * http_limits); and, by deadlines that count from the start and not from the last byte,
 * idleness, a head, a body, an answer.  While a request is being handled no deadline of
 * the connection runs: the handler has its own.
 *
 * A client that closes only its sending half still gets its answer.  One whose connection
 * breaks is told of by on_gone.
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

/* One request and its answer; the server's. */
struct http_exchange;

/* What is answered.  The texts are borrowed until on_end. */
struct http_answer {
    unsigned status;
    struct http_text fields; /* lines "NAME: VALUE\r\n"; not Date, Content-Length or
                                Connection, which are the server's */
    struct http_text body;   /* left out for HEAD, and with 204 and 304 */
    bool close;              /* the connection ends after it */
};

/* All are called by the server's thread, and must not wait. */
struct http_handler {
    /* A head has come.  It and the bytes it points to are gone after the call.  May answer
     * at once: then the body is read off, if it is short, and nothing else is called but
     * on_end. */
    void (*on_head)(void *arg, struct http_exchange *x, const struct http_head *head);
    /* The whole body has come; it lives until on_end, and a NUL follows it.  Answers now,
     * or later from any thread. */
    void (*on_body)(void *arg, struct http_exchange *x, char *body, size_t size);
    /* It is refused: must answer at once, with that status, or 503 when memory is short.  head: what could
     * be read of it (method and target may be empty), or NULL after on_head. */
    void (*on_refusal)(void *arg, struct http_exchange *x, const struct http_head *head,
                       enum http_reason reason, struct http_answer *answer);
    /* The connection broke while it was being handled: nobody will read the answer, which
     * must still be given. */
    void (*on_gone)(void *arg, struct http_exchange *x);
    /* Its answer has been sent, or never will be: its memory ends after the call. */
    void (*on_end)(void *arg, struct http_exchange *x);
    /* A client is closed without a byte: HTTP_OVER_LIMIT_MAX past per_address_max wait to be
     * told so already, or memory is short. */
    void (*on_dropped)(void *arg);
};

struct http_server_config {
    const char *address;      /* numeric, IPv4 or IPv6 */
    uint16_t port;            /* 0: a free one */
    unsigned connections_max; /* at it new clients queue in the kernel, and connections
                                   that idle for HTTP_FULL_IDLE_MS are closed for them */
    unsigned per_address_max; /* past it a connection's request is answered 429; more than
                                   HTTP_OVER_LIMIT_MAX such are dropped */
    int64_t idle_timeout_ms;  /* from connecting, or an answer, to the next request */
    int64_t head_timeout_ms;  /* from a request's first byte to its head's last */
    int64_t body_timeout_ms;  /* from there to the body's last byte */
    int64_t answer_timeout_ms; /* from an answer's first byte to its last */
    struct http_limits limits;
    size_t arena_max; /* bytes of memory one request may take */
    /* A whole answer, borrowed: status 503, "Connection: close", its length, a blank line
     * and a body.  It is sent when there is no memory to write another.  Without Date,
     * as RFC 9110, 6.6.1 allows for 5xx. */
    struct http_text no_memory;
    struct http_tls *tls; /* borrowed; NULL: plain HTTP */
    const struct http_handler *handler;
    void *arg;
};

enum {
    HTTP_OVER_LIMIT_MAX = 64, /* connections, of all addresses, that wait for their 429 */
    HTTP_FULL_IDLE_MS = 2000,
    HTTP_DRAIN_IDLE_MS = 250, /* a draining server closes no connection that was opened or
                                 answered within it: the client may be about to ask */
};

/* Listens and serves; UNAVAILABLE or INVALID_ARGUMENT say why not. */
struct err http_server_open(const struct http_server_config *config,
                            struct http_server **out) __attribute__((warn_unused_result));

/* The port listened on. */
uint16_t http_server_port(const struct http_server *server);

/*
 * From here on every answer ends its connection, and none is accepted but those whose
 * handshake has begun, past connections_max too.  May be repeated.
 *
 * A request whose first byte comes before its connection was closed is handled, whether
 * or not the connection had been accepted when this was called; but none that is
 * pipelined behind an answer that said Connection: close (RFC 9112, 9.6).
 */
void http_server_quiesce(struct http_server *server);

/* After http_server_quiesce: waits until every request that has begun to come is
 * answered and its answer sent, and no connection has been in use for
 * HTTP_DRAIN_IDLE_MS; false when that takes longer than `limit_ms`. */
bool http_server_wait_idle(struct http_server *server, int64_t limit_ms);

/* Ends every connection and the thread.  Requests that have come unread are still given
 * to the handler.  No request may be waiting for its answer any more.  NULL is allowed. */
void http_server_close(struct http_server *server);

/* ---- exchanges ---- */

/* A text as a C string in the arena; NULL when that is full. */
char *http_text_copy(struct arena *arena, struct http_text text)
    __attribute__((warn_unused_result));

/* The request's memory: freed after on_end.  Whoever handles the request has it alone. */
struct arena *http_exchange_arena(struct http_exchange *x);

/* What the handler keeps with it; NULL at first. */
void http_exchange_set(struct http_exchange *x, void *user);
void *http_exchange_get(const struct http_exchange *x);

/* Takes the memory that sending this very answer needs, so that it is sent for certain.
 * False: there is none, and no_memory may be sent in its place.  To be called before such an
 * answer is logged or counted, by whoever handles the request. */
bool http_exchange_reserve(struct http_exchange *x, const struct http_answer *answer)
    __attribute__((warn_unused_result));

/* Answers it, once.  Any thread; never waits.  Status 0 closes the connection without an
 * answer, as if it had been lost: for tests of faults. */
void http_exchange_answer(struct http_exchange *x, const struct http_answer *answer);

/* Bytes of the request's limits as configured, for sentences. */
const struct http_limits *http_exchange_limits(const struct http_exchange *x);
