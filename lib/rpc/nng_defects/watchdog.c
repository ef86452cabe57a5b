/*
 * watchdog.c - see nng_defects.h.
 *
 *      listening -> waiting --something was counted--> probe --connected--> waiting
 *                                                        |
 *                               not connected: close listener -> listen, until it works
 *
 * Each watchdog has a lock, never held while nng is called to dial, listen or close.
 */
#include "rpc/nng_defects/nng_defects.h"

#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    LOOK_LEAST_MS = 500, /* between two looks at what nng has counted; doubles ... */
    LOOK_MOST_MS = 8000, /* ... up to this, while nothing changes */
    SETTLE_MS = 100,     /* after a probe, until its own connection has ended */
    PROBE_AT_LEAST_MS = 300000, /* whether or not something was counted */
    PROBE_WAIT_MS = 500,
    URL_MAX_SIZE = 256,
    SUB_PROTOCOL = 0x21, /* NNG_OPT_PEER of a PUB socket; no header names it */
};

struct tls_pair {
    nng_tls_config *serve, *probe;
};

struct watch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;
    unsigned arrivals; /* connections the server's socket was given */
    bool dialled;      /* the probe's side is connected */
    bool probing;      /* there may be a probe's connection: nothing is sent to all */
    unsigned sending;  /* threads in watch_send_begin to _end */
    bool threaded;
    pthread_t thread;
    nng_socket socket;
    nng_listener listener;
    struct tls_pair tls;  /* the listener's and its probes'; NULL: none */
    struct tls_pair past; /* see take_certificates */
    struct tls_pair next; /* to be taken by the thread; under the lock */
    bool listening;
    char url[URL_MAX_SIZE];
    char probe_url[URL_MAX_SIZE];
};

/* Waits for a change until the deadline; the lock is held.  False when time is up. */
static bool wait_until(struct watch *watch, int64_t deadline_ms)
{
    return clock_cond_wait(&watch->changed, &watch->lock, deadline_ms);
}

static void on_arrival(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct watch *watch = arg;

    (void)pipe, (void)event;
    pthread_mutex_lock(&watch->lock);
    watch->arrivals++;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

static void on_dialled(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct watch *watch = arg;

    (void)pipe, (void)event;
    pthread_mutex_lock(&watch->lock);
    watch->dialled = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

/* Dials and waits until a connection, ours or another's, was accepted; and then for our
 * own side, because to leave earlier would be an aborted handshake (defect 1).  For
 * defect 3 it is not left when the server stops, either. */
static bool connect_to_ourselves(struct watch *watch, nng_socket socket)
{
    int64_t deadline = clock_monotonic_ms() + PROBE_WAIT_MS;

    pthread_mutex_lock(&watch->lock);
    unsigned before = watch->arrivals;
    watch->dialled = false;
    pthread_mutex_unlock(&watch->lock);
    nng_dialer dialer;
    if (nng_pipe_notify(socket, NNG_PIPE_EV_ADD_POST, on_dialled, watch) != 0 ||
        tls_dial(socket, watch->probe_url, watch->tls.probe, &dialer) != 0)
        return true;
    pthread_mutex_lock(&watch->lock);
    while ((watch->arrivals == before || !watch->dialled) && wait_until(watch, deadline))
        ;
    bool well = watch->arrivals != before || watch->stopping;
    pthread_mutex_unlock(&watch->lock);
    return well;
}

/* Of the kind that the watched socket talks to; it rejects others. */
static int open_probe(const struct watch *watch, nng_socket *out)
{
    int peer = 0;

    nng_socket_get_int(watch->socket, NNG_OPT_PEER, &peer);
    return peer == SUB_PROTOCOL ? nng_sub0_open(out) : nng_req0_open(out);
}

static void set_probing(struct watch *watch, bool probing)
{
    pthread_mutex_lock(&watch->lock);
    while (watch->sending > 0)
        (void)wait_until(watch, clock_monotonic_ms() + PROBE_WAIT_MS);
    watch->probing = probing;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

/* Whether new clients are accepted.  Also true if the probe could not be made: that is no
 * reason to act. */
static bool probe(struct watch *watch)
{
    nng_socket socket;

    if (open_probe(watch, &socket) != 0)
        return true;
    set_probing(watch, true);
    bool well = connect_to_ourselves(watch, socket);
    close_in_time(socket);
    set_probing(watch, false);
    return well;
}

bool watch_send_begin(struct watch *watch, int64_t deadline_ms)
{
    pthread_mutex_lock(&watch->lock);
    while (watch->probing && wait_until(watch, deadline_ms))
        ;
    bool quiet = !watch->probing;
    watch->sending += quiet;
    pthread_mutex_unlock(&watch->lock);
    return quiet;
}

void watch_send_end(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch->sending--;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
}

/* ---------------------------------------------------------- when to probe */

/* The one of that name below `scope`; NULL: there is none. */
static nng_stat *find_stat(nng_stat *scope, const char *name)
{
    nng_stat *stat = nng_stat_child(scope);

    while (stat != NULL && strcmp(nng_stat_name(stat), name) != 0)
        stat = nng_stat_next(stat);
    return stat;
}

/* What nng has counted for our listener: connections, and errors of them. */
static uint64_t add_up(nng_stat *all, int listener)
{
    uint64_t sum = 0;

    for (nng_stat *scope = nng_stat_child(all); scope != NULL;
         scope = nng_stat_next(scope)) {
        nng_stat *id = find_stat(scope, "id");
        if (strcmp(nng_stat_name(scope), "listener") != 0 || id == NULL ||
            nng_stat_value(id) != (uint64_t)listener)
            continue;
        for (nng_stat *s = nng_stat_child(scope); s != NULL; s = nng_stat_next(s))
            if (nng_stat_type(s) == NNG_STAT_COUNTER)
                sum += nng_stat_value(s);
    }
    return sum;
}

/* Changes with every connection that comes to our listener or fails there, and with every
 * one of the process that ends.  Not with those that come to another listener: two
 * watchdogs would keep each other awake. */
static uint64_t count_events(const struct watch *watch)
{
    uint64_t sum = connections_ended();
    nng_stat *stats;

    if (nng_stats_get(&stats) != 0)
        return sum;
    sum += add_up(stats, nng_listener_id(watch->listener));
    nng_stats_free(stats);
    return sum;
}

/* When to look and to probe; only the thread uses it. */
struct look {
    uint64_t counted;
    int64_t pause_ms;
    int64_t probe_by_ms; /* clock_monotonic_ms */
    bool settling;  /* a probe was just made: what is counted now is mostly its own */
    int probes_due; /* two for a change, to see what came while the first settled */
};

/* Whether there is reason to probe, and in pause_ms when to look again. */
static bool suspicious(const struct watch *watch, struct look *look)
{
    uint64_t counted = count_events(watch);
    bool changed = counted != look->counted;

    look->counted = counted;
    if (look->settling) {
        look->settling = false;
        look->pause_ms = LOOK_LEAST_MS;
        return false;
    }
    if (changed)
        look->probes_due = 2;
    else if (look->probes_due == 0 && clock_remaining_ms(look->probe_by_ms) == 0)
        look->probes_due = 1;
    if (look->probes_due > 0)
        return true;
    look->pause_ms =
        2 * look->pause_ms < LOOK_MOST_MS ? 2 * look->pause_ms : LOOK_MOST_MS;
    return false;
}

static void look_after_probe(struct look *look)
{
    look->settling = true;
    look->probes_due -= look->probes_due > 0;
    look->pause_ms = SETTLE_MS;
    look->probe_by_ms = clock_monotonic_ms() + PROBE_AT_LEAST_MS;
}

/* ---------------------------------------------------------- listening */

static int listen_again(struct watch *watch)
{
    if (watch->listening)
        nng_listener_close(watch->listener);
    int rv = tls_listen(watch->socket, watch->url, watch->tls.serve, &watch->listener);
    watch->listening = rv == 0;
    return rv;
}

/* ---------------------------------------------------------- certificates */

static void pair_free(struct tls_pair *pair)
{
    if (pair->serve != NULL)
        nng_tls_config_free(pair->serve);
    if (pair->probe != NULL)
        nng_tls_config_free(pair->probe);
    *pair = (struct tls_pair){NULL, NULL};
}

static struct err pair_make(struct tls_pair *pair, const struct watch *watch,
                            const struct tls_pem *pem)
{
    struct err e = tls_config_of(pem, TLS_SERVE, watch->url, &pair->serve);

    if (!failed(e))
        e = tls_config_of(pem, TLS_PROBE, watch->url, &pair->probe);
    return e;
}

/*
 * A listener takes another configuration while it listens, in every nng from 1.5.2 to
 * 1.12, for the connections that it accepts from then on (tls_common.c).  So no
 * connection ends.  The one it already waits for has the old configuration (defect 4): we
 * make that connection, and others then get the new one.  nng takes no reference to a
 * configuration before it reads it, so the old one is kept until there is a newer one.
 */
static void take_certificates(struct watch *watch, const struct tls_pair *next)
{
    int rv = watch->listening
                 ? nng_listener_set_ptr(watch->listener, NNG_OPT_TLS_CONFIG, next->serve)
                 : 0;

    pair_free(&watch->past);
    watch->past = watch->tls;
    watch->tls.serve = next->serve;
    if (rv == 0 && watch->listening)
        (void)probe(watch);
    watch->tls.probe = next->probe;
    if (rv == 0)
        return;
    log_warn("listener_restarted",
             "url=%s reason=\"nng rejects the new certificate: %s\"", watch->url,
             nng_strerror(rv));
    rv = listen_again(watch);
    if (rv != 0)
        log_error("listen_failed", "url=%s error=%s", watch->url, nng_strerror(rv));
}

struct err watch_set_tls(struct watch *watch, const struct tls_pem *pem)
{
    struct tls_pair next = {NULL, NULL};

    if (!tls_wanted(watch->url))
        return ERR_NONE;
    struct err e = pair_make(&next, watch, pem);
    if (failed(e)) {
        pair_free(&next);
        return e;
    }
    if (!watch->threaded) {
        take_certificates(watch, &next);
        return e;
    }
    pthread_mutex_lock(&watch->lock);
    pair_free(&watch->next); /* one that was not taken yet */
    watch->next = next;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    return e;
}

/* On the thread, which then goes on waiting.  The lock is held, but not while it
 * works. */
static void take_next(struct watch *watch)
{
    struct tls_pair next = watch->next;

    watch->next = (struct tls_pair){NULL, NULL};
    pthread_mutex_unlock(&watch->lock);
    take_certificates(watch, &next);
    pthread_mutex_lock(&watch->lock);
}

/* ---------------------------------------------------------- the thread */

/* True when the watch is to end. */
static bool pause_for(struct watch *watch, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;

    pthread_mutex_lock(&watch->lock);
    do {
        if (!watch->stopping && watch->next.serve != NULL)
            take_next(watch);
    } while (!watch->stopping && wait_until(watch, until));
    bool stopping = watch->stopping;
    pthread_mutex_unlock(&watch->lock);
    return stopping;
}

static void *watch_run(void *arg)
{
    struct watch *watch = arg;
    struct look look = {.pause_ms = LOOK_LEAST_MS};
    bool logged = false;

    while (!pause_for(watch, look.pause_ms)) {
        if (watch->listening && !suspicious(watch, &look))
            continue;
        bool well = watch->listening && probe(watch);
        look_after_probe(&look);
        if (well)
            continue;
        look.pause_ms = LOOK_LEAST_MS;
        int rv = listen_again(watch);
        if (rv == 0)
            log_warn("listener_restarted", "url=%s reason=\"new clients cannot connect\"",
                     watch->url);
        else if (!logged)
            log_error("listen_failed", "url=%s error=%s", watch->url, nng_strerror(rv));
        logged = rv != 0;
    }
    return NULL;
}

/* The URL that a probe dials: a wildcard address becomes the loopback one. */
static void make_probe_url(const char *url, char out[URL_MAX_SIZE])
{
    const char *port = strrchr(url, ':'), *host = strstr(url, "://");

    host = host == NULL ? url : host + 3;
    if (strncmp(url, "ipc", 3) != 0 && (strncmp(host, "*:", 2) == 0 || *host == ':'))
        snprintf(out, URL_MAX_SIZE, "%.*s127.0.0.1%s", (int)(host - url), url, port);
    else
        snprintf(out, URL_MAX_SIZE, "%s", url);
}

static struct err start_thread(struct watch *watch)
{
    int rv = pthread_create(&watch->thread, NULL, watch_run, watch);
    if (rv != 0)
        return err_make(ERR_UNAVAILABLE, "the listener's watch thread cannot start: %s",
                        strerror(rv));
    pthread_setname_np(watch->thread, "watch");
    watch->threaded = true;
    return ERR_NONE;
}

static struct err listen_first(struct watch *watch)
{
    int rv = nng_pipe_notify(watch->socket, NNG_PIPE_EV_ADD_POST, on_arrival, watch);

    if (rv == 0)
        rv = listen_again(watch);
    bool wrong = rv == NNG_EADDRINVAL || rv == NNG_EINVAL || rv == NNG_ENOTSUP;
    return rv == 0 ? start_thread(watch)
                   : err_make(wrong ? ERR_INVALID_ARGUMENT : ERR_UNAVAILABLE,
                              "cannot listen on %s: %s", watch->url, nng_strerror(rv));
}

struct err watch_start(nng_socket socket, const char *url, const struct tls_files *tls,
                       struct watch **out)
{
    if (strlen(url) >= URL_MAX_SIZE - 16)
        return err_make(ERR_INVALID_ARGUMENT, "the address is longer than %d bytes",
                        URL_MAX_SIZE - 17);
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL)
        return err_memory();
    pthread_mutex_init(&watch->lock, NULL);
    clock_cond_init(&watch->changed);
    watch->socket = socket;
    snprintf(watch->url, sizeof watch->url, "%s", url);
    make_probe_url(url, watch->probe_url);
    struct err e = tls_config(tls, TLS_SERVE, url, &watch->tls.serve);
    if (!failed(e))
        e = tls_config(tls, TLS_PROBE, url, &watch->tls.probe);
    if (!failed(e))
        e = listen_first(watch);
    *out = watch; /* also when it failed: nng has pointers to it now */
    return e;
}

void watch_stop(struct watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->stopping = true;
    pthread_cond_broadcast(&watch->changed);
    pthread_mutex_unlock(&watch->lock);
    if (watch->threaded)
        pthread_join(watch->thread, NULL);
    watch->threaded = false;
}

void watch_free(struct watch *watch)
{
    if (watch == NULL)
        return;
    pair_free(&watch->tls);
    pair_free(&watch->past);
    pair_free(&watch->next);
    pthread_cond_destroy(&watch->changed);
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

/* ---------------------------------------------------------- a program that only calls */

struct self_watch {
    nng_socket socket;
    struct watch *watch;
};

struct err self_watch_start(struct self_watch **out)
{
    static const char url[] = "inproc://self_watch"; /* no other process can reach it */
    struct self_watch *self = calloc(1, sizeof *self);

    if (self == NULL)
        return err_memory();
    int rv = nng_rep0_open(&self->socket);
    if (rv != 0) {
        free(self);
        return err_make(ERR_UNAVAILABLE, "no socket to watch nng by: %s",
                        nng_strerror(rv));
    }
    struct err e = watch_start(self->socket, url, &(struct tls_files){0}, &self->watch);
    if (failed(e))
        self_watch_stop(self);
    else
        *out = self;
    return e;
}

void self_watch_stop(struct self_watch *self)
{
    if (self == NULL)
        return;
    watch_stop(self->watch);
    nng_close(self->socket);
    watch_free(self->watch);
    free(self);
}
