/* server.c - see server.h: starting and stopping.  serving.h is one request. */
#include "rpc/server/serving.h"

#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    HELD_BESIDE = 64,   /* exchanges that may be held while all calls are served */
    DRAIN_STEP_MS = 10, /* between looks whether all are served */
    LINGER_MS = 100,    /* between the last answer and the end of the connections */
};

void server_free(struct rpc_server *server)
{
    /* An abandoned server is freed inside the callback of its last aio, which therefore
     * cannot wait for itself. */
    for (size_t i = 0; i < server->count; i++)
        (server->abandoned ? nng_aio_reap : nng_aio_free)(server->exchanges[i].aio);
    for (size_t i = 0; i < server->call_count; i++) {
        arena_free(server->calls[i].arena);
        peers_free(server->calls[i].callers);
    }
    free(server->exchanges);
    free(server->calls);
    for (size_t i = 0; i < server->service_count; i++)
        free(server->served[i].stats);
    standard_free(server->standard);
    metrics_free(server->own_metrics);
    replay_cache_free(server->replay_cache);
    limits_free(server->limits);
    peers_free(atomic_load(&server->callers));
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* ---------------------------------------------------------- lifecycle */

static const struct peer *caller_of(const struct rpc_call *call)
{
    return call->opened.caller;
}

/* Makes the standard services and puts them behind the config's. */
static bool add_services(struct rpc_server *server,
                         const struct rpc_server_config *config)
{
    const struct standard_config standard = {
        .health = config->health,
        .health_parts = config->health_parts,
        .health_arg = config->health_arg,
        .metrics = server->metrics,
        .services = server->services,
        .service_count = &server->service_count,
        .cancel = serving_cancel,
        .caller = caller_of,
    };

    for (size_t i = 0; i < config->service_count; i++)
        server->services[i] = config->services[i];
    server->standard = standard_new(&standard, &server->services[config->service_count]);
    if (server->standard == NULL)
        return false;
    server->service_count = config->service_count + STANDARD_SERVICES;
    return true;
}

/* What is counted of each method of each service. */
static bool open_stats(struct rpc_server *server)
{
    char label[METRIC_LABELS_SIZE];

    for (size_t i = 0; i < server->service_count; i++) {
        struct served *served = &server->served[i];
        const ProtobufCServiceDescriptor *d = server->services[i]->descriptor;
        served->service = server->services[i];
        served->descriptor = d;
        served->stats = calloc(d->n_methods, sizeof *served->stats);
        if (served->stats == NULL)
            return false;
        for (unsigned m = 0; m < d->n_methods; m++) {
            snprintf(label, sizeof label, "method=%s/%s", d->name, d->methods[m].name);
            stats_open(&served->stats[m], server->metrics, "rpc_server", label);
        }
    }
    return true;
}

static struct rpc_server *server_new(const struct rpc_server_config *config)
{
    struct rpc_server *server = calloc(1, sizeof *server);

    if (server == NULL)
        return NULL;
    pthread_mutex_init(&server->lock, NULL);
    server->access_log = config->access_log;
    atomic_init(&server->callers, peers_share(config->callers));
    server->limits = limits_new(config->caller_in_flight_max, config->caller_per_second);
    randombytes_buf(server->salt, sizeof server->salt);
    crypto_shorthash_keygen(server->hash_key);
    server->metrics = config->metrics;
    if (server->metrics == NULL)
        server->metrics = server->own_metrics = metrics_new();
    refusals_open(&server->refusals, server->metrics);
    server->replay_cache = replay_cache_new(clock_wall_ms());
    server->exchanges =
        calloc(config->in_flight_max + HELD_BESIDE, sizeof *server->exchanges);
    server->calls = calloc(config->in_flight_max, sizeof *server->calls);
    TAILQ_INIT(&server->arrived);
    TAILQ_INIT(&server->stirred);
    if (server->replay_cache != NULL && server->exchanges != NULL &&
        server->calls != NULL && server->limits != NULL && add_services(server, config) &&
        open_stats(server))
        return server;
    server_free(server);
    return NULL;
}

static int make_exchange(struct rpc_server *server)
{
    struct exchange *exchange = &server->exchanges[server->count];

    exchange->server = server;
    atomic_init(&exchange->state, IDLE);
    int rv = nng_ctx_open(&exchange->context, server->socket);
    if (rv == 0)
        rv = nng_aio_alloc(&exchange->aio, serving_on_aio, exchange);
    if (rv == 0)
        server->count++;
    return rv;
}

static void make_call(struct rpc_server *server)
{
    struct rpc_call *call = &server->calls[server->call_count++];

    call->server = server;
    call->next = server->free;
    server->free = call;
}

/* Makes the socket, the exchanges and the calls; each context ends with the socket. */
static int open_socket(struct rpc_server *server, size_t in_flight_max)
{
    int rv = nng_rep0_open(&server->socket);

    if (rv != 0)
        return rv;
    server->open = true;
    rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv =
            nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, mailbox_on_pipe, server);
    if (rv == 0)
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, mailbox_on_pipe,
                             server);
    for (size_t i = 0; rv == 0 && i < in_flight_max + HELD_BESIDE; i++)
        rv = make_exchange(server);
    for (size_t i = 0; i < in_flight_max; i++)
        make_call(server);
    return rv;
}

struct err rpc_server_start(const struct rpc_server_config *config,
                            struct rpc_server **out)
{
    if (config->in_flight_max < 1 ||
        config->service_count > SERVICES_MAX - STANDARD_SERVICES)
        return err_make(ERR_INVALID_ARGUMENT,
                        "a server needs a call in flight and has at most %d services",
                        SERVICES_MAX - STANDARD_SERVICES);
    struct rpc_server *server = server_new(config);
    if (server == NULL)
        return err_memory();
    int rv = open_socket(server, config->in_flight_max);
    struct err e =
        rv == 0 ? watch_start(server->socket, config->url, &config->tls, &server->watch)
                : err_make(ERR_UNAVAILABLE, "no socket: %s", nng_strerror(rv));
    if (failed(e)) {
        rpc_server_stop(server, 0);
        return e;
    }
    server->busy = server->count;
    for (size_t i = 0; i < server->count; i++)
        serving_receive(&server->exchanges[i]);
    *out = server;
    return ERR_NONE;
}

void rpc_server_set_callers(struct rpc_server *server, const struct peers *callers)
{
    struct peers *share = peers_share(callers);

    pthread_mutex_lock(&server->lock);
    struct peers *before = atomic_exchange(&server->callers, share);
    pthread_mutex_unlock(&server->lock);
    peers_free(before);
}

struct err rpc_server_set_tls(struct rpc_server *server, const struct tls_pem *pem)
{
    return watch_set_tls(server->watch, pem);
}

static bool is_serving(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool serving = server->calls_in_use > 0 || !TAILQ_EMPTY(&server->arrived) ||
                   mailbox_any_ready(server);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; !serving && i < server->count; i++)
        serving = atomic_load(&server->exchanges[i].state) == SENDING;
    return serving;
}

/* Until every call served has its answer.  The listener stays: closing it would end the
 * connections that the answers go to (nng_listener_close). */
static void drain(struct rpc_server *server, int64_t drain_ms)
{
    const int64_t deadline = clock_monotonic_ms() + drain_ms;

    while (is_serving(server) && clock_remaining_ms(deadline) > 0)
        nng_msleep(DRAIN_STEP_MS);
}

/* nng 1.5.2 throws away what its side has not read yet when the other hangs up (ipc_cb looks
 * for HUP first), so the last answers are given a moment to be read. */
static void linger(int64_t drain_ms)
{
    nng_msleep((nng_duration)(drain_ms < LINGER_MS ? drain_ms : LINGER_MS));
}

static void tell_one_cut(const struct rpc_call *call)
{
    struct log_record line;
    char method[256];

    if (!log_begin(&line, LOG_ERROR, "call_cut"))
        return;
    log_subject(&line, call->id, atomic_load(&call->named) ? call->order : NULL);
    snprintf(method, sizeof method, "%s/%s", call->service, call->method);
    log_pair(&line, "method", method);
    log_pair(&line, "caller", call->opened.caller->name);
    log_pair(&line, "note",
             "it was still being served when the time to stop was over; its outcome is "
             "not told");
    log_end(&line);
}

/* Tells of each call that is still being served; true when there is none. */
static bool tell_cut(const struct rpc_server *server)
{
    bool none = true;

    for (size_t i = 0; i < server->call_count; i++) {
        const struct rpc_call *call = &server->calls[i];
        if (cancel_token(&call->cancel) == 0)
            continue;
        tell_one_cut(call);
        none = false;
    }
    return none;
}

bool rpc_server_stop(struct rpc_server *server, int64_t drain_ms)
{
    if (server == NULL)
        return true;
    atomic_store(&server->stopping, true);
    watch_stop(server->watch);
    drain(server, drain_ms);
    bool all_answered = tell_cut(server);
    linger(drain_ms);
    atomic_store(&server->closed, true);
    if (server->open)
        nng_close(server->socket);
    watch_free(server->watch);
    /* What nng still held has ended with the socket; what handlers hold, has not. */
    for (size_t i = 0; i < server->count; i++)
        nng_aio_wait(server->exchanges[i].aio);
    pthread_mutex_lock(&server->lock);
    server->abandoned = server->busy > 0;
    bool abandoned = server->abandoned;
    pthread_mutex_unlock(&server->lock);
    if (!abandoned)
        server_free(server);
    return all_answered;
}

/* ---------------------------------------------------------- the call */

struct arena *rpc_call_arena(struct rpc_call *call)
{
    return call->arena;
}

int64_t rpc_call_deadline(const struct rpc_call *call)
{
    return call->deadline_ms;
}

const char *rpc_call_id(const struct rpc_call *call)
{
    return call->request->id;
}

const char *rpc_call_caller(const struct rpc_call *call)
{
    return call->opened.caller->name;
}

const struct cancel *rpc_call_cancel(const struct rpc_call *call)
{
    return &call->cancel;
}

void rpc_call_trace(const struct rpc_call *call, struct trace *out)
{
    struct trace_fields fields = {0};

    if (call->request->traceparent[0] != '\0')
        trace_add_parent(&fields, call->request->traceparent);
    trace_add_state(&fields, call->request->tracestate);
    trace_begin(&fields, out);
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key)
{
    for (size_t i = 0; i < call->request->n_metadata; i++)
        if (strcmp(call->request->metadata[i]->key, key) == 0)
            return call->request->metadata[i]->value;
    return NULL;
}

void rpc_call_set_order(struct rpc_call *call, const char *order_id)
{
    if (order_id == NULL || strcmp(call->order, order_id) == 0)
        return;
    atomic_store(&call->named, false);
    snprintf(call->order, sizeof call->order, "%s", order_id);
    atomic_store(&call->named, true);
}

const char *rpc_call_order(const struct rpc_call *call)
{
    return call->order;
}

void rpc_call_replayed(struct rpc_call *call)
{
    call->replayed = true;
}
