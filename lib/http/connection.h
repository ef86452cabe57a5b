/*
 * connection.h - one client's connection, from accept to close.
 *
 * HANDSHAKE -> HEAD -> BODY -> HANDLING -> ANSWERING -> HEAD ...
 *    (TLS)        \       \         \            \-> LINGERING -> closed
 *                  \_______\_ refused \_ broken: BROKEN until answered, then freed
 *                            ANSWERING
 *
 * Requests are handled one at a time, so pipelined ones are answered in order; later
 * bytes stay in the kernel, which throttles the sender.  An idle connection has no
 * buffer: bytes are read into the loop's scratch, and only an incomplete request is
 * copied.
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
    CONNECTION_HEAD,      /* idle, or part of a head was received */
    CONNECTION_BODY,      /* reads a body, or discards one that is refused */
    CONNECTION_HANDLING,  /* the handler has the request; nothing is read */
    CONNECTION_ANSWERING, /* an answer is being sent */
    CONNECTION_LINGERING, /* after the last answer; discards until the client closes */
    CONNECTION_BROKEN,    /* the socket is closed, the handler not finished */
    CONNECTION_DEAD,      /* freed at the end of the round */
};

struct http_exchange {
    struct connection *connection;
    struct arena *arena; /* NULL: no request */
    void *user;
    struct http_answer answer;
    char *room;                 /* for the encoded answer (answer.h), once reserved */
    struct http_exchange *next; /* in the list of those answered by other threads */
    bool answered;
    bool head_only; /* the method was HEAD */
};

/* Bytes received and not consumed: [at, size) of `bytes`. */
struct buffer {
    char *bytes; /* NULL, the loop's scratch, or allocated */
    size_t at, size, room;
    bool borrowed; /* the loop's scratch */
};

struct connection {
    struct timer timer; /* first, so that a timer is also its connection */
    struct http_exchange exchange;
    struct http_server *server;
    struct connection *prev,
        *next; /* all connections; next only in the list of dead ones */
    struct connection *deferred_next;
    struct address *address;
    SSL *tls; /* NULL: plain */
    int fd;   /* -1: closed */
    enum connection_state state;
    bool readable;    /* there may be more to read */
    bool fin;         /* epoll reported the end of input; read until eof */
    bool eof;         /* the end of input was read */
    bool broken;      /* reset by the client */
    bool close_after; /* ends after this answer */
    bool over_limit;  /* its address has too many connections */
    bool spoken;      /* TLS: the first byte was checked */
    bool in_handler;  /* a callback for it is running */
    bool deferred;    /* in the server's list of that name */
    struct buffer input;
    size_t scanned; /* bytes of an incomplete head already searched for a line end */
    struct http_body body;
    char *bytes; /* of the body so far; in the arena */
    size_t bytes_size, bytes_room, discarded;
    int64_t length; /* by Content-Length; -1: absent */
    struct iovec out[2];
    size_t out_at, out_count;
};

/* Takes over an accepted, non-blocking socket; drops it when memory is short. */
void connection_open(struct http_server *server, int fd, struct address *address,
                     bool over_limit);

/* Handles epoll's events; 0 continues a deferred connection. */
void connection_event(struct connection *connection, uint32_t events);

/* Its deadline of that kind has passed. */
void connection_timeout(struct connection *connection, unsigned kind);

/* Another thread answered its request. */
void connection_answered(struct connection *connection);

/* Closes an idle connection, with a TLS close_notify.  First reads what has arrived: a
 * request that has begun keeps the connection. */
void connection_retire(struct connection *connection);

/* Closes it at once, in any state. */
void connection_close(struct connection *connection);
