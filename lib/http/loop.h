/*
 * loop.h - state that the connections of one server share: deadlines, recycled arenas,
 * the Date line.
 *
 * All of it belongs to the loop's thread (server.c), except where said otherwise.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "http/answer.h"
#include "http/listen.h"
#include "http/server.h"

/*
 * ---- timers: one deadline for each of many connections, from a handful of durations
 * ----
 *
 * Each kind of wait has one duration, so deadlines of one kind expire in the order in
 * which they were set: a list per kind, appended to at its end, is enough.  Every
 * operation takes constant time.
 */

enum { TIMERS_KINDS_MAX = 8 };

/* Embedded in the waiting object; zeroed at first. */
struct timer {
    struct timer *prev, *next; /* list of its kind; NULL: not set */
    int64_t deadline_ms;
    unsigned kind;
};

struct timers {
    struct timer lists[TIMERS_KINDS_MAX]; /* heads of the lists */
    int64_t after_ms[TIMERS_KINDS_MAX];
    unsigned kinds;
};

/* after_ms: the duration of each kind, copied. */
void timers_init(struct timers *timers, const int64_t *after_ms, unsigned kinds);

/* Sets a deadline of that kind, counted from now; replaces any earlier one. */
void timers_set(struct timers *timers, struct timer *timer, unsigned kind,
                int64_t now_ms);

/* Allowed when it is not set. */
void timers_clear(struct timer *timer);

/* Whether a deadline of that kind is set. */
bool timers_is(const struct timer *timer, unsigned kind);

/* The timer of that kind that was set first, or last; NULL: none. */
struct timer *timers_first(struct timers *timers, unsigned kind);
struct timer *timers_last(struct timers *timers, unsigned kind);

/* Removes and returns one whose deadline has passed; NULL: none. */
struct timer *timers_expired(struct timers *timers, int64_t now_ms);

/* Milliseconds to the next deadline, 0 when it has passed; -1: none is set. */
int timers_wait_ms(const struct timers *timers, int64_t now_ms);

/* ---- the server ---- */

enum {
    LOOP_SCRATCH = 64 << 10, /* bytes read at once */
    LOOP_ARENAS = 64,        /* kept for reuse */
};

/* What a connection waits for; one duration each. */
enum wait_kind {
    WAIT_IDLE,
    WAIT_OVER_LIMIT, /* WAIT_IDLE of one that will be refused */
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
    int wake_fd; /* an eventfd, written only when the loop is asleep */
    uint16_t port;

    /* set by any thread */
    atomic_bool asleep; /* about to wait, or waiting */
    atomic_bool woken;  /* there is work */
    atomic_bool draining;
    atomic_bool closing;
    _Atomic(struct http_exchange *) answered; /* by other threads, newest first */
    pthread_mutex_t mutex;
    pthread_cond_t drained;

    /* set by the loop, read by any thread */
    atomic_bool is_drained; /* see http_server_wait_idle */

    /* used by the loop only */
    int64_t now_ms;
    unsigned unseen;         /* rounds in a row that left events in the kernel */
    size_t running;          /* requests between their head and the end of their answer */
    int listen_fd;           /* -1: closed */
    int64_t listen_until_ms; /* draining: wait for TCP handshakes until then; else 0 */
    bool accept_pending;     /* clients may be waiting */
    int64_t accept_after_ms; /* no accept before then: descriptors ran out */
    unsigned connections;    /* open */
    unsigned over_limit_count; /* of these above their address's limit */
    struct addresses *addresses;
    struct timers timers;
    uint64_t dropped;            /* closed without an answer */
    int64_t dropped_log_ms;      /* next log line about it */
    struct connection *first;    /* of all */
    struct connection *deferred; /* to be continued in the next round */
    struct connection *to_free;  /* to be freed at the end of the round */
    struct arena *arenas[LOOP_ARENAS];
    size_t arenas_kept;
    int64_t date_looked_ms; /* now_ms when the clock was last read */
    time_t date_of;
    char date[HTTP_DATE_LINE + 1];
    struct http_head head; /* the one being parsed */
    char scratch[LOOP_SCRATCH];
};

/* An empty arena; NULL when memory is short. */
struct arena *loop_arena_take(struct http_server *server);
void loop_arena_give(struct http_server *server, struct arena *arena);

/* Closes an accepted client without an answer; reports it to the handler and the log. */
void loop_drop(struct http_server *server, int fd, const char *reason);

/* The Date line, renewed once a second (RFC 9110, 6.6.1). */
const char *loop_date(struct http_server *server);
