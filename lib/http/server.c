/*
 * server.c - see server.h.  The event loop; connection.c handles one connection, loop.c
 * holds what connections share.
 *
 *      wait -> answers from other threads -> events -> deferred connections -> deadlines
 *        ^                                                                        |
 *        +------------ free closed connections <- drain <- accept <---------------+
 */
#include "http/server.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/log.h"
#include "http/connection.h"

enum {
    UNSEEN_MAX = 64, /* rounds that left events in the kernel, before deadlines apply */
    EVENTS = 256,    /* per round */
    ACCEPT_RETRY_MS = 100, /* after descriptors ran out */
    HANDSHAKE_MS = 10,     /* for TCP handshakes that have begun, when draining */
    DRAIN_LOOK_MS = 10,    /* between two checks whether the server is drained */
    LINGER_MS = 5000,      /* for a client to read an answer and close */
    CLOSE_WAIT_MS = 1000,  /* for lingering connections when the server ends */
    OVER_LIMIT_MS = 2000,  /* for the request of a connection above its address's limit */
};

static _Thread_local struct http_server *this_loop; /* the server whose loop runs here */

/* ---- waking the loop ---- */

static void wake_now(void *arg)
{
    struct http_server *s = arg;
    const uint64_t one = 1;

    atomic_store(&s->woken, true);
    if (atomic_exchange(&s->asleep, false))
        (void)!write(s->wake_fd, &one, sizeof one);
}

/* One wake-up for many answers given under one cork. */
static void wake_corked(struct http_server *s)
{
    if (cork_hold(wake_now, s) == CORK_NONE)
        wake_now(s);
}

void http_exchange_answer(struct http_exchange *x, const struct http_answer *answer)
{
    struct connection *c = x->connection;
    struct http_server *s = c->server;

    x->answer = *answer;
    if (this_loop == s && c->in_handler) {
        x->answered = true;
        return;
    }
    /* Once x is on the list, the loop may send it and free it at any time. */
    x->next = atomic_load(&s->answered);
    while (!atomic_compare_exchange_weak(&s->answered, &x->next, x))
        ;
    wake_corked(s);
}

/* Sends answers of other threads, in the order in which they were given. */
static void take_answers(struct http_server *s)
{
    struct http_exchange *x = atomic_exchange(&s->answered, NULL), *ordered = NULL;

    while (x != NULL) {
        struct http_exchange *next = x->next;
        x->next = ordered;
        ordered = x;
        x = next;
    }
    while (ordered != NULL) {
        struct http_exchange *next = ordered->next;
        connection_answered(ordered->connection);
        ordered = next;
    }
}

/* ---- accepting ---- */

static void take_client(struct http_server *s, int fd,
                        const struct sockaddr_storage *from)
{
    struct address *address = addresses_enter(s->addresses, from);

    if (address == NULL) {
        loop_drop(s, fd, "memory");
        return;
    }
    bool over_limit = address_count(address) > s->config.per_address_max;
    if (over_limit && s->over_limit_count == HTTP_OVER_LIMIT_MAX) {
        addresses_leave(s->addresses, address);
        loop_drop(s, fd, "per_address_max");
        return;
    }
    connection_open(s, fd, address, over_limit);
}

/* Accepts until there are `most` connections.  The listening socket is edge-triggered:
 * `accept_pending` stays set until accept4 finds it empty. */
static void accept_all(struct http_server *s, unsigned most)
{
    while (s->accept_pending && s->listen_fd >= 0 && s->connections < most &&
           s->now_ms >= s->accept_after_ms) {
        struct sockaddr_storage from;
        socklen_t size = sizeof from;
        int fd = accept4(s->listen_fd, (struct sockaddr *)(void *)&from, &size,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_client(s, fd, &from);
        } else if (errno == EAGAIN) {
            s->accept_pending = false;
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            log_warn("accept_failed", "reason=%s connections=%u", strerror(errno),
                     s->connections);
            s->accept_after_ms = s->now_ms + ACCEPT_RETRY_MS;
        } /* else the client has gone */
    }
}

static bool client_waits(const struct http_server *s)
{
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

/*
 * At the limit, while a client waits: closes the connection that is idle longest, if that
 * is HTTP_FULL_IDLE_MS or more.  Returns how long the loop may sleep, at most `wait_ms`
 * (-1: no limit).
 */
static int evict_idle(struct http_server *s, int wait_ms)
{
    int64_t more = ACCEPT_RETRY_MS;

    if (!s->accept_pending || s->listen_fd < 0)
        return wait_ms;
    if (s->now_ms < s->accept_after_ms) {
        more = s->accept_after_ms - s->now_ms;
    } else {
        if (!client_waits(s)) {
            s->accept_pending = false;
            return wait_ms;
        }
        struct timer *idle = timers_first(&s->timers, WAIT_IDLE);
        if (idle != NULL) {
            int64_t since = idle->deadline_ms - s->config.idle_timeout_ms;
            more = since + HTTP_FULL_IDLE_MS - s->now_ms;
            if (more <= 0) {
                connection_retire((struct connection *)(void *)idle);
                return 0;
            }
        }
    }
    return wait_ms < 0 || more < wait_ms ? (int)more : wait_ms;
}

static void close_listener(struct http_server *s)
{
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    s->listen_fd = -1;
}

/* Closing the socket resets connections not yet accepted, so handshakes that have begun
 * are waited for and accepted first. */
static void stop_listening(struct http_server *s)
{
    if (s->listen_fd < 0)
        return;
    if (s->listen_until_ms == 0) {
        listen_end(s->listen_fd);
        s->listen_until_ms = s->now_ms + HANDSHAKE_MS;
    }
    s->accept_pending = true;
    accept_all(s, UINT_MAX);
    if (!s->accept_pending && s->now_ms >= s->listen_until_ms)
        close_listener(s);
}

/* ---- draining ---- */

/* When the last idle connection will have been idle for HTTP_DRAIN_IDLE_MS. */
static int64_t idle_until_ms(struct http_server *s)
{
    const struct timer *last = timers_last(&s->timers, WAIT_IDLE);

    return last == NULL
               ? 0
               : last->deadline_ms - s->config.idle_timeout_ms + HTTP_DRAIN_IDLE_MS;
}

/* seen_all: this round took all events from the kernel. */
static void drain(struct http_server *s, bool seen_all)
{
    stop_listening(s);
    bool drained = seen_all && s->listen_fd < 0 && s->running == 0 &&
                   s->deferred == NULL && timers_first(&s->timers, WAIT_HEAD) == NULL &&
                   s->now_ms >= idle_until_ms(s);
    if (drained == atomic_load(&s->is_drained))
        return;
    pthread_mutex_lock(&s->mutex);
    atomic_store(&s->is_drained, drained);
    pthread_cond_broadcast(&s->drained);
    pthread_mutex_unlock(&s->mutex);
}

/* ---- a round of the loop ---- */

/* No wake-up is lost: either this sees `woken`, or wake_now sees `asleep`, as each side
 * writes its own flag before it reads the other's. */
static int wait_for_events(struct http_server *s, struct epoll_event *events, int wait_ms)
{
    int count;

    atomic_store(&s->asleep, true);
    if (atomic_load(&s->woken))
        wait_ms = 0;
    count = epoll_wait(s->epoll_fd, events, EVENTS, wait_ms);
    atomic_store(&s->asleep, false);
    atomic_store(&s->woken, false);
    s->now_ms = clock_monotonic_ms();
    return count;
}

static void dispatch_event(struct http_server *s, const struct epoll_event *event)
{
    uint64_t count;

    if (event->data.ptr == &s->wake_fd)
        (void)!read(s->wake_fd, &count, sizeof count);
    else if (event->data.ptr == &s->listen_fd)
        s->accept_pending = true;
    else
        connection_event(event->data.ptr, event->events);
}

static void run_deferred(struct http_server *s)
{
    struct connection *c = s->deferred;

    s->deferred = NULL;
    while (c != NULL) {
        struct connection *next = c->deferred_next;
        c->deferred = false;
        if (c->state != CONNECTION_DEAD)
            connection_event(c, 0);
        c = next;
    }
}

static void expire(struct http_server *s)
{
    struct timer *timer;

    while ((timer = timers_expired(&s->timers, s->now_ms)) != NULL)
        connection_timeout((struct connection *)(void *)timer, timer->kind);
}

/* A deferred connection is freed one round later. */
static void free_closed(struct http_server *s)
{
    struct connection **at = &s->to_free;

    while (*at != NULL) {
        struct connection *c = *at;
        if (c->deferred) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        free(c);
    }
}

static void run_once(struct http_server *s, int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = wait_for_events(s, events, wait_ms);
    const bool seen_all = count >= 0 && count < EVENTS;

    cork_begin(); /* calls made for all these requests are sent together */
    take_answers(s);
    for (int i = 0; i < count; i++)
        dispatch_event(s, &events[i]);
    run_deferred(s);
    /* After the process was stopped, bytes that arrived in time are still unread:
     * deadlines apply once they are read.  UNSEEN_MAX bounds the delay under a flood. */
    s->unseen = seen_all ? 0 : s->unseen + 1;
    if (seen_all || s->unseen >= UNSEEN_MAX)
        expire(s);
    accept_all(s, s->config.connections_max);
    if (atomic_load(&s->draining))
        drain(s, seen_all);
    cork_end();
    free_closed(s);
}

static int sleep_ms(struct http_server *s)
{
    int wait_ms = timers_wait_ms(&s->timers, s->now_ms);

    if (s->deferred != NULL)
        return 0;
    if (atomic_load(&s->draining) && !atomic_load(&s->is_drained) &&
        (wait_ms < 0 || wait_ms > DRAIN_LOOK_MS))
        wait_ms = DRAIN_LOOK_MS;
    return evict_idle(s, wait_ms);
}

/* ---- the end ---- */

/* Requests already received are still answered; idle connections are closed. */
static void close_quiet(struct http_server *s)
{
    for (struct connection *c = s->first, *next; c != NULL; c = next) {
        next = c->next;
        if (c->state == CONNECTION_HEAD)
            connection_retire(c);
        if (c->state == CONNECTION_HEAD || c->state == CONNECTION_HANDSHAKE)
            connection_close(c);
    }
}

static void close_all(struct http_server *s)
{
    int64_t until = clock_monotonic_ms() + CLOSE_WAIT_MS;

    s->accept_pending = true;
    accept_all(s, UINT_MAX);
    close_listener(s);
    close_quiet(s);
    free_closed(s);
    while (s->connections > 0 && s->now_ms < until)
        run_once(s, 10);
    for (struct connection *c = s->first, *next; c != NULL; c = next) {
        next = c->next;
        connection_close(c);
    }
    take_answers(s);
    run_deferred(s);
    free_closed(s);
}

static void *run(void *arg)
{
    struct http_server *s = arg;

    this_loop = s;
    s->now_ms = clock_monotonic_ms();
    while (!atomic_load(&s->closing))
        run_once(s, sleep_ms(s));
    close_all(s);
    return NULL;
}

/* ---- opening and closing ---- */

static bool watch(struct http_server *s, int fd, uint32_t events, void *as)
{
    struct epoll_event event = {.events = events, .data.ptr = as};

    return epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static void start_timers(struct http_server *s)
{
    const int64_t after_ms[WAIT_KINDS] = {
        [WAIT_IDLE] = s->config.idle_timeout_ms,
        [WAIT_HEAD] = s->config.head_timeout_ms,
        [WAIT_BODY] = s->config.body_timeout_ms,
        [WAIT_ANSWER] = s->config.answer_timeout_ms,
        [WAIT_LINGER] = LINGER_MS,
        [WAIT_OVER_LIMIT] = OVER_LIMIT_MS,
    };

    timers_init(&s->timers, after_ms, WAIT_KINDS);
}

static void destroy(struct http_server *s)
{
    while (s->arenas_kept > 0)
        arena_free(s->arenas[--s->arenas_kept]);
    close_listener(s);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    if (s->epoll_fd >= 0)
        close(s->epoll_fd);
    addresses_free(s->addresses);
    pthread_cond_destroy(&s->drained);
    pthread_mutex_destroy(&s->mutex);
    free(s);
}

static struct err start(struct http_server *s)
{
    struct err e = listen_tcp(s->config.address, s->config.port, &s->listen_fd, &s->port);

    if (failed(e))
        return e;
    s->addresses = addresses_new(s->config.connections_max);
    if (s->addresses == NULL)
        return err_memory();
    s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->epoll_fd < 0 || s->wake_fd < 0 ||
        !watch(s, s->wake_fd, EPOLLIN, &s->wake_fd) ||
        !watch(s, s->listen_fd, EPOLLIN | EPOLLET, &s->listen_fd))
        return err_make(ERR_UNAVAILABLE, "cannot watch the sockets of HTTP: %s",
                        strerror(errno));
    int status = pthread_create(&s->thread, NULL, run, s);
    if (status != 0)
        return err_make(ERR_RESOURCE_EXHAUSTED,
                        "cannot start the thread that serves HTTP: %s", strerror(status));
    return ERR_NONE;
}

struct err http_server_open(const struct http_server_config *config,
                            struct http_server **out)
{
    struct http_server *s = calloc(1, sizeof *s);

    assert(config->limits.head <= LOOP_SCRATCH); /* a head fits into the scratch */
    assert(config->no_memory.size > 0);
    *out = NULL;
    if (s == NULL)
        return err_memory();
    s->config = *config;
    s->listen_fd = s->epoll_fd = s->wake_fd = -1;
    pthread_mutex_init(&s->mutex, NULL);
    clock_cond_init(&s->drained);
    start_timers(s);
    struct err e = start(s);
    if (failed(e))
        destroy(s);
    else
        *out = s;
    return e;
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}

void http_server_quiesce(struct http_server *s)
{
    atomic_store(&s->draining, true);
    wake_now(s);
}

bool http_server_wait_idle(struct http_server *s, int64_t limit_ms)
{
    int64_t until = clock_monotonic_ms() + limit_ms;

    pthread_mutex_lock(&s->mutex);
    while (!atomic_load(&s->is_drained) && clock_cond_wait(&s->drained, &s->mutex, until))
        ;
    pthread_mutex_unlock(&s->mutex);
    return atomic_load(&s->is_drained);
}

void http_server_close(struct http_server *s)
{
    if (s == NULL)
        return;
    atomic_store(&s->closing, true);
    wake_now(s);
    pthread_join(s->thread, NULL);
    destroy(s);
}

/* ---- exchanges ---- */

char *http_text_copy(struct arena *arena, struct http_text text)
{
    char *made = arena_alloc(arena, text.size + 1); /* zeroed */

    if (made != NULL)
        memcpy(made, text.at, text.size);
    return made;
}

struct arena *http_exchange_arena(struct http_exchange *x)
{
    return x->arena;
}

void http_exchange_set(struct http_exchange *x, void *user)
{
    x->user = user;
}

void *http_exchange_get(const struct http_exchange *x)
{
    return x->user;
}

bool http_exchange_reserve(struct http_exchange *x, const struct http_answer *answer)
{
    x->room = http_answer_room(x->arena, answer);
    return x->room != NULL;
}

const struct http_limits *http_exchange_limits(const struct http_exchange *x)
{
    return &x->connection->server->config.limits;
}
