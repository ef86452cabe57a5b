/*
 * loop.h - the server's own insides, shared by server.c (the loop) and connection.c.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "http/answer.h"
#include "http/connection.h"
#include "http/server.h"
#include "http/timers.h"

enum {
    LOOP_SCRATCH = 64 << 10, /* bytes read at once */
    LOOP_ARENAS = 64,        /* kept for the next requests */
};

/* What a connection may be waiting for; one duration each. */
enum wait_kind {
    WAIT_IDLE,
    WAIT_OVER_LIMIT, /* the same of one that will be refused */
    WAIT_HEAD,
    WAIT_BODY,
    WAIT_ANSWER,
    WAIT_LINGER,
    WAIT_KINDS
};

struct http_server {
    struct http_server_config config;
    pthread_t thread;
    int epoll_fd;
    int wake_fd; /* an eventfd, rung only for a loop that is asleep */
    uint16_t port;

    /* set by any thread */
    atomic_bool asleep; /* about to wait, or waiting */
    atomic_bool woken;  /* there is something to look at */
    atomic_bool draining;
    atomic_bool closing;
    _Atomic(struct http_exchange *) answered; /* by other threads, newest first */
    pthread_mutex_t mutex;
    pthread_cond_t drained;

    /* set by the loop, read by any thread */
    atomic_bool is_drained; /* as http_server_wait_idle says */

    /* the loop's alone */
    int64_t now_ms;
    unsigned unseen; /* rounds in a row that left events in the kernel */
    size_t running;  /* requests whose head has come and whose answer has not left */
    int listen_fd;   /* -1 once quiesced */
    int64_t listen_until_ms; /* quiesced, but for handshakes of TCP; 0: not yet */
    bool accept_pending;     /* clients may be waiting to be accepted */
    int64_t accept_after_ms; /* no descriptors were left: not before then */
    unsigned connections,
        over_limit_count; /* open; and of these past their address's limit */
    struct addresses *addresses;
    struct timers timers;
    uint64_t dropped;            /* closed without a byte */
    int64_t dropped_log_ms;      /* not logged again before */
    struct connection *first;    /* of all */
    struct connection *deferred; /* not done yet: to be looked at in the next round */
    struct connection *to_free;  /* to be freed at the end of the round */
    struct arena *arenas[LOOP_ARENAS];
    size_t arenas_kept;
    int64_t date_looked_ms; /* now_ms when the clock was last asked */
    time_t date_of;
    char date[HTTP_DATE_LINE + 1];
    struct http_head head; /* the one being looked at */
    char scratch[LOOP_SCRATCH];
};

/* An empty arena; NULL when memory is short. */
struct arena *loop_arena_take(struct http_server *server);
void loop_arena_give(struct http_server *server, struct arena *arena);

/* Closes a client that was accepted without a byte; told to the handler and the log. */
void loop_drop(struct http_server *server, int fd, const char *reason);

/* The Date line, made anew once a second (RFC 9110, 6.6.1). */
const char *loop_date(struct http_server *server);
