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

struct conn {
    struct conn *prev, *next; /* of those in use; of those that are free, next alone */
    struct conns *conns;
    int fd;
    _Atomic int64_t deadline_ms;
    _Atomic int64_t waits_since_ms; /* for a request; INT64_MAX: it does not */
    struct channel *channel;        /* of the call that runs for it; NULL: none */
    channel_ticket ticket;
    bool seen; /* an earlier sweep has seen the call */
};

struct conns {
    pthread_mutex_t mutex; /* guards what follows, and the calls of every conn */
    pthread_cond_t wake;
    pthread_t thread;
    bool closing;
    bool calls_left; /* see conns_leave_calls */
    struct conn *first, *free;
    int64_t look_every_ms;
    struct traffic *traffic;
    struct conn room[];
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

/* Whether its place is needed more than it needs it. */
static bool in_the_way(const struct conns *conns, struct conn *c, int64_t now_ms)
{
    int64_t since_ms = atomic_load(&c->waits_since_ms);

    return conns->free == NULL && since_ms != INT64_MAX &&
           now_ms - since_ms >= CONNS_FULL_LOOKS * conns->look_every_ms;
}

/* Under the mutex, so that no socket here has been closed and its number used again. */
static void sweep(struct conns *conns, int64_t now_ms)
{
    for (struct conn *c = conns->first; c != NULL; c = c->next) {
        look_after_call(conns, c);
        if (atomic_load(&c->deadline_ms) > now_ms && !in_the_way(conns, c, now_ms))
            continue;
        atomic_store(&c->deadline_ms, INT64_MAX);
        atomic_store(&c->waits_since_ms, INT64_MAX);
        shutdown(c->fd, SHUT_RDWR);
    }
}

static void *run(void *arg)
{
    struct conns *conns = arg;

    pthread_mutex_lock(&conns->mutex);
    while (!conns->closing) {
        (void)clock_cond_wait(&conns->wake, &conns->mutex,
                              clock_monotonic_ms() + conns->look_every_ms);
        sweep(conns, clock_monotonic_ms());
    }
    pthread_mutex_unlock(&conns->mutex);
    return NULL;
}

struct err conns_open(const struct conns_config *config, struct conns **out)
{
    struct conns *conns = calloc(1, sizeof *conns + config->max * sizeof conns->room[0]);

    *out = NULL;
    if (conns == NULL)
        return err_memory();
    for (unsigned i = 0; i < config->max; i++)
        conns->room[i].next = i + 1 < config->max ? &conns->room[i + 1] : NULL;
    conns->free = config->max > 0 ? conns->room : NULL;
    conns->look_every_ms =
        config->look_every_ms > 0 ? config->look_every_ms : CONNS_LOOK_MS;
    conns->traffic = config->traffic;
    pthread_mutex_init(&conns->mutex, NULL);
    clock_cond_init(&conns->wake);
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
    pthread_mutex_lock(&conns->mutex);
    struct conn *c = conns->free;
    assert(c != NULL);
    conns->free = c->next;
    *c = (struct conn){.next = conns->first, .conns = conns, .fd = fd};
    conn_waits(c, deadline_ms);
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
    c->next = conns->free;
    conns->free = c;
    pthread_mutex_unlock(&conns->mutex);
}

void conn_waits(struct conn *conn, int64_t deadline_ms)
{
    atomic_store(&conn->waits_since_ms, clock_monotonic_ms());
    atomic_store(&conn->deadline_ms, deadline_ms);
}

void conn_deadline(struct conn *conn, int64_t deadline_ms)
{
    atomic_store(&conn->waits_since_ms, INT64_MAX);
    atomic_store(&conn->deadline_ms, deadline_ms);
}

static void set_call(struct conn *conn, struct channel *channel, channel_ticket ticket)
{
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
