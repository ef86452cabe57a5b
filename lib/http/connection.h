/*
 * connection.h - one client's connection, from accept to close.
 *
 *  HANDSHAKE -> HEAD -> BODY -> HANDLING -> ANSWERING -> HEAD ...
 *    (TLS)        \       \         \            \-> LINGERING -> closed
 *                  \_______\_ refused \_ broken: BROKEN until it is answered, then freed
 *                            ANSWERING
 *
 * Requests are handled one at a time, so pipelined ones are answered in order; what comes
 * behind the one being handled stays in the kernel, which slows its sender down.  An idle
 * connection has no buffer: bytes are read into the loop's own, and only a part of a
 * request that is left over is kept.
 *
 * Readiness is edge-triggered and registered once: a request costs one recv and one
 * sendmsg.
 */
#pragma once

#include <openssl/types.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "http/body.h"
#include "http/listen.h"
#include "http/loop.h"

enum connection_state {
    CONNECTION_HANDSHAKE,
    CONNECTION_HEAD,      /* waits for a request, or has a part of its head */
    CONNECTION_BODY,      /* reads a body, or reads it off when it is refused */
    CONNECTION_HANDLING,  /* the handler has it; nothing is read */
    CONNECTION_ANSWERING, /* an answer is being sent */
    CONNECTION_LINGERING, /* the last answer is sent; discards until the client closes */
    CONNECTION_BROKEN,    /* the socket is closed, the handler not done */
    CONNECTION_DEAD,      /* freed at the end of the loop's round */
};

struct http_exchange {
    struct connection *connection;
    struct arena *arena; /* NULL: there is no request */
    void *user;
    struct http_answer answer;
    char *room; /* for the answer's wire (answer.h), once it was reserved */
    struct http_exchange *next; /* of those answered by other threads */
    bool answered;
    bool head_only; /* the method was HEAD */
};

/* Bytes received and not used: [at, size) of `bytes`. */
struct buffer {
    char *bytes; /* NULL: none; else the loop's scratch, or our own */
    size_t at, size, room;
    bool borrowed; /* the loop's */
};

struct connection {
    struct timer timer; /* first, so that an expired one is its connection */
    struct http_exchange exchange;
    struct http_server *server;
    struct connection *prev, *next; /* of all; of the dead, next alone */
    struct connection *deferred_next;
    struct address *address;
    SSL *tls; /* NULL: plain */
    int fd;   /* -1: closed */
    enum connection_state state;
    bool readable; /* as far as we know there is more to read */
    bool fin;      /* the client's end was seen by epoll; read on until it is reached */
    bool eof;      /* and was reached: nothing more will come */
    bool broken;   /* the client has reset it */
    bool close_after; /* ends after this answer */
    bool over_limit;  /* its address has too many */
    bool spoken;      /* a client of TLS: its first byte was looked at */
    bool in_handler;  /* a handler of this connection is on the loop's stack */
    bool deferred;    /* is in the server's list of that name */
    struct buffer input;
    size_t scanned; /* bytes of an incomplete head that were looked at */
    struct http_body body;
    char *bytes; /* of the body so far; the arena's */
    size_t bytes_size, bytes_room, discarded;
    int64_t length; /* by Content-Length; -1: not told */
    struct iovec out[2];
    size_t out_at, out_count;
};

/* Takes an accepted, non-blocking socket over; it is dropped when memory is short. */
void connection_open(struct http_server *server, int fd, struct address *address,
                     bool over_limit);

/* epoll's events for it; or 0: look again. */
void connection_event(struct connection *connection, uint32_t events);

/* Its deadline, of that kind, has passed. */
void connection_timeout(struct connection *connection, unsigned kind);

/* Its request was answered by another thread. */
void connection_answered(struct connection *connection);

/* Closes one that idles, which a client of TLS is told; but not when a request has begun to
 * come that was not yet read, or a whole one has, which is answered: the client may ask again
 * at once. */
void connection_retire(struct connection *connection);

/* Closes it at once, whatever it was doing. */
void connection_close(struct connection *connection);
