/* server.c - see server.h: starting and stopping. */
#include "rpc/server/server_internal.h"

#include <nng/protocol/reqrep0/rep.h>
#include <nng/supplemental/util/platform.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    SLOTS_BESIDE_CALLS = 64, /* slots that may be held while all calls are served */
    DRAIN_STEP_MS = 10,      /* between looks whether all are served */
    LINGER_MS = 100,         /* between the last answer and the end of the connections */
};

void server_free(struct rpc_server *server)
{
    /* An abandoned server is freed inside the callback of its last aio, which therefore
     * cannot wait for itself. */
    for (size_t i = 0; i < server->slot_count; i++)
        (server->abandoned ? nng_aio_reap : nng_aio_free)(server->slots[i].aio);
    for (size_t i = 0; i < server->call_count; i++) {
        arena_free(server->calls[i].arena);
        principals_free(server->calls[i].callers);
    }
    free(server->slots);
    free(server->calls);
    for (size_t i = 0; i < server->service_count; i++)
        free(server->served[i].stats);
    builtin_free(server->builtin);
    metrics_free(server->own_metrics);
    replay_cache_free(server->replay_cache);
    rate_limiter_free(server->limiter);
    principals_free(atomic_load(&server->callers));
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* ---------------------------------------------------------- starting */

/* What is counted of each method of each service. */
static bool open_stats(struct rpc_server *server)
{
    char label[METRIC_LABELS_SIZE];

    for (size_t i = 0; i < server->service_count; i++) {
        struct served *served = &server->served[i];
        const ProtobufCServiceDescriptor *d = served->service->descriptor;
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

/* The config's services, then the builtin ones. */
static bool add_services(struct rpc_server *server,
                         const struct rpc_server_config *config)
{
    ProtobufCService *builtin[BUILTIN_SERVICES];
    const size_t own = config->service_count;

    server->builtin = builtin_new(server, builtin);
    if (server->builtin == NULL)
        return false;
    server->service_count = own + BUILTIN_SERVICES;
    for (size_t i = 0; i < server->service_count; i++) {
        ProtobufCService *service = i < own ? config->services[i] : builtin[i - own];
        server->served[i] = (struct served){service, NULL};
    }
    return open_stats(server);
}

static struct rpc_server *server_new(const struct rpc_server_config *config)
{
    struct rpc_server *server = calloc(1, sizeof *server);

    if (server == NULL)
        return NULL;
    pthread_mutex_init(&server->lock, NULL);
    server->access_log = config->access_log;
    server->health = config->health;
    server->health_parts = config->health_parts;
    server->health_arg = config->health_arg;
    atomic_init(&server->callers, principals_share(config->callers));
    server->limiter =
        rate_limiter_new(config->caller_in_flight_max, config->caller_per_second);
    randombytes_buf(server->salt, sizeof server->salt);
    crypto_shorthash_keygen(server->hash_key);
    server->metrics = config->metrics;
    if (server->metrics == NULL)
        server->metrics = server->own_metrics = metrics_new();
    rejections_open(&server->rejections, server->metrics);
    server->replay_cache = replay_cache_new(clock_wall_ms());
    server->slots =
        calloc(config->in_flight_max + SLOTS_BESIDE_CALLS, sizeof *server->slots);
    server->calls = calloc(config->in_flight_max, sizeof *server->calls);
    TAILQ_INIT(&server->arrived);
    TAILQ_INIT(&server->to_flush);
    if (server->replay_cache != NULL && server->slots != NULL && server->calls != NULL &&
        server->limiter != NULL && add_services(server, config))
        return server;
    server_free(server);
    return NULL;
}

static int make_slot(struct rpc_server *server)
{
    struct reply_slot *slot = &server->slots[server->slot_count];

    slot->server = server;
    atomic_init(&slot->state, IDLE);
    int rv = nng_ctx_open(&slot->context, server->socket);
    if (rv == 0)
        rv = nng_aio_alloc(&slot->aio, slot_on_aio, slot);
    if (rv == 0)
        server->slot_count++;
    return rv;
}

static void make_call(struct rpc_server *server)
{
    struct rpc_call *call = &server->calls[server->call_count++];

    call->server = server;
    call->next = server->free;
    server->free = call;
}

/* Makes the socket, the slots and the calls; each context ends with the socket. */
static int open_socket(struct rpc_server *server, size_t in_flight_max)
{
    int rv = nng_rep0_open(&server->socket);

    if (rv != 0)
        return rv;
    server->open = true;
    rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_ADD_PRE, connection_on_pipe,
                             server);
    if (rv == 0)
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, connection_on_pipe,
                             server);
    for (size_t i = 0; rv == 0 && i < in_flight_max + SLOTS_BESIDE_CALLS; i++)
        rv = make_slot(server);
    for (size_t i = 0; i < in_flight_max; i++)
        make_call(server);
    return rv;
}

struct err rpc_server_start(const struct rpc_server_config *config,
                            struct rpc_server **out)
{
    if (config->in_flight_max < 1 ||
        config->service_count > SERVICES_MAX - BUILTIN_SERVICES)
        return err_make(ERR_INVALID_ARGUMENT,
                        "a server needs a call in flight and has at most %d services",
                        SERVICES_MAX - BUILTIN_SERVICES);
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
    server->busy = server->slot_count;
    for (size_t i = 0; i < server->slot_count; i++)
        slot_receive(&server->slots[i]);
    *out = server;
    return ERR_NONE;
}

void rpc_server_set_callers(struct rpc_server *server, const struct principals *callers)
{
    struct principals *share = principals_share(callers);

    pthread_mutex_lock(&server->lock);
    struct principals *before = atomic_exchange(&server->callers, share);
    pthread_mutex_unlock(&server->lock);
    principals_free(before);
}

struct err rpc_server_set_tls(struct rpc_server *server, const struct tls_pem *pem)
{
    return watch_set_tls(server->watch, pem);
}

/* ---------------------------------------------------------- stopping */

static bool is_serving(struct rpc_server *server)
{
    pthread_mutex_lock(&server->lock);
    bool serving = server->calls_in_use > 0 || !TAILQ_EMPTY(&server->arrived) ||
                   connections_any_pending(server);
    pthread_mutex_unlock(&server->lock);
    for (size_t i = 0; !serving && i < server->slot_count; i++)
        serving = atomic_load(&server->slots[i].state) == SENDING;
    return serving;
}

/* Waits until every call has its reply.  The listener stays: closing it would end the
 * connections that the replies go to (nng_listener_close). */
static void drain(struct rpc_server *server, int64_t drain_ms)
{
    const int64_t deadline = clock_monotonic_ms() + drain_ms;

    while (is_serving(server) && clock_remaining_ms(deadline) > 0)
        nng_msleep(DRAIN_STEP_MS);
}

/* nng 1.5.2 drops what it has not read yet when the other side closes (ipc_cb looks for
 * HUP first), so the callers get some time to read the last replies. */
static void linger(int64_t drain_ms)
{
    nng_msleep((nng_duration)(drain_ms < LINGER_MS ? drain_ms : LINGER_MS));
}

static void log_cut_call(const struct rpc_call *call)
{
    struct log_record line;
    char method[256];

    if (!log_begin(&line, LOG_ERROR, "call_cut"))
        return;
    log_subject(&line, call->id, atomic_load(&call->order_known) ? call->order : NULL);
    snprintf(method, sizeof method, "%s/%s", call->service, call->method);
    log_pair(&line, "method", method);
    log_pair(&line, "caller", call->opened.caller->name);
    log_pair(&line, "note",
             "it was still being served at the end of the drain time; its outcome is "
             "unknown");
    log_end(&line);
}

/* Logs each call that is still being served; true when there is none. */
static bool log_cut_calls(const struct rpc_server *server)
{
    bool none = true;

    for (size_t i = 0; i < server->call_count; i++) {
        const struct rpc_call *call = &server->calls[i];
        if (cancel_token(&call->cancel) == 0)
            continue;
        log_cut_call(call);
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
    bool all_answered = log_cut_calls(server);
    linger(drain_ms);
    atomic_store(&server->closed, true);
    if (server->open)
        nng_close(server->socket);
    watch_free(server->watch);
    /* What nng still held has ended with the socket; what handlers hold, has not. */
    for (size_t i = 0; i < server->slot_count; i++)
        nng_aio_wait(server->slots[i].aio);
    pthread_mutex_lock(&server->lock);
    server->abandoned = server->busy > 0;
    bool abandoned = server->abandoned;
    pthread_mutex_unlock(&server->lock);
    if (!abandoned)
        server_free(server);
    return all_answered;
}
