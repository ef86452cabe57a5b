/* conns.c - see conns.h. */
#include "gateway/conns.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "gateway/traffic.h"

enum { SWEEP_MS = 250 };

struct conn {
    struct conn *prev, *next;
    struct conns *conns;
    int fd;
    _Atomic int64_t deadline_ms;
    struct channel *channel; /* of the call that runs for it; NULL: none */
    channel_ticket ticket;
    bool seen; /* an earlier sweep has seen the call */
};

struct conns {
    pthread_mutex_t mutex; /* guards what follows, and the calls of every conn */
    pthread_cond_t wake;
    pthread_t thread;
    bool closing;
    bool calls_left; /* see conns_leave_calls */
    struct conn *first;
    struct traffic *traffic;
};

/* Whether the other side will send nothing more: it was closed, or its half of it was. */
static bool has_left(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) > 0;
}

/* Cancelling waits for nothing, and of a call that has just ended it does nothing. */
static void look_after_call(struct conns *conns, struct conn *c)
{
    if (c->channel == NULL || conns->calls_left)
        return;
    if (c->seen && has_left(c->fd)) {
        channel_cancel(c->channel, c->ticket);
        traffic_left(conns->traffic);
        c->channel = NULL;
    }
    c->seen = true;
}

/* Under the mutex, so that no socket here has been closed and its number used again. */
static void sweep(struct conns *conns, int64_t now_ms)
{
    for (struct conn *c = conns->first; c != NULL; c = c->next) {
        look_after_call(conns, c);
        if (atomic_load(&c->deadline_ms) > now_ms)
            continue;
        atomic_store(&c->deadline_ms, INT64_MAX);
        shutdown(c->fd, SHUT_RDWR);
    }
}

static void *run(void *arg)
{
    struct conns *conns = arg;

    pthread_mutex_lock(&conns->mutex);
    while (!conns->closing) {
        (void)clock_cond_wait(&conns->wake, &conns->mutex,
                              clock_monotonic_ms() + SWEEP_MS);
        sweep(conns, clock_monotonic_ms());
    }
    pthread_mutex_unlock(&conns->mutex);
    return NULL;
}

struct err conns_open(struct traffic *traffic, struct conns **out)
{
    struct conns *conns = calloc(1, sizeof *conns);

    *out = NULL;
    if (conns == NULL)
        return err_memory();
    pthread_mutex_init(&conns->mutex, NULL);
    clock_cond_init(&conns->wake);
    conns->traffic = traffic;
    if (pthread_create(&conns->thread, NULL, run, conns) != 0) {
        pthread_cond_destroy(&conns->wake);
        pthread_mutex_destroy(&conns->mutex);
        free(conns);
        return err_make(ERR_RESOURCE_EXHAUSTED,
                        "cannot start a thread for the deadlines");
    }
    *out = conns;
    return ERR_NONE;
}

void conns_close(struct conns *conns)
{
    if (conns == NULL)
        return;
    pthread_mutex_lock(&conns->mutex);
    conns->closing = true;
    pthread_cond_signal(&conns->wake);
    pthread_mutex_unlock(&conns->mutex);
    pthread_join(conns->thread, NULL);
    assert(conns->first == NULL);
    pthread_cond_destroy(&conns->wake);
    pthread_mutex_destroy(&conns->mutex);
    free(conns);
}

struct conn *conns_add(struct conns *conns, int fd, int64_t deadline_ms)
{
    struct conn *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    c->conns = conns;
    c->fd = fd;
    atomic_store(&c->deadline_ms, deadline_ms);
    pthread_mutex_lock(&conns->mutex);
    c->next = conns->first;
    if (c->next != NULL)
        c->next->prev = c;
    conns->first = c;
    pthread_mutex_unlock(&conns->mutex);
    return c;
}

void conns_remove(struct conns *conns, struct conn *c)
{
    pthread_mutex_lock(&conns->mutex);
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        conns->first = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&conns->mutex);
    free(c);
}

void conn_deadline(struct conn *conn, int64_t deadline_ms)
{
    if (conn != NULL)
        atomic_store(&conn->deadline_ms, deadline_ms);
}

static void set_call(struct conn *conn, struct channel *channel, channel_ticket ticket)
{
    if (conn == NULL)
        return;
    pthread_mutex_lock(&conn->conns->mutex);
    conn->channel = channel;
    conn->ticket = ticket;
    conn->seen = false;
    pthread_mutex_unlock(&conn->conns->mutex);
}

void conn_call(struct conn *conn, struct channel *channel, channel_ticket ticket)
{
    set_call(conn, channel, ticket);
}

void conn_answered(struct conn *conn)
{
    set_call(conn, NULL, 0);
}

void conns_leave_calls(struct conns *conns)
{
    pthread_mutex_lock(&conns->mutex);
    conns->calls_left = true;
    pthread_mutex_unlock(&conns->mutex);
}
