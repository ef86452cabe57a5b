/*
 * server.c - see server.h.
 *
 * There are in_flight_max calls, made once, each with its own nng context and aio:
 *
 *      RECEIVING --frame--> SERVING --reply--> SENDING --sent--> RECEIVING ...
 *          |                                      |
 *          +------------- stopping ---------------+--> IDLE
 *
 * While SERVING a call belongs to its handler, which gives it back with the reply;
 * otherwise it belongs to nng.  Nothing touches a call after it passed it on.
 *
 * Every call that is not IDLE holds the server, and so does its owner until
 * rpc_server_stop: a handler may answer even after a stop that would not wait for it.
 */
#include "rpc/server.h"

#include <assert.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "rpc/envelope.h"
#include "rpc/limits.h"
#include "rpc/refusals.h"
#include "rpc/seal.h"
#include "rpc/standard.h"
#include "rpc/stats.h"
#include "rpc/timer.h"
#include "rpc/watch.h"
#include "rpc/window.h"

enum {
    SERVICES_MAX = 16,
    SEND_WAIT_MS = 2000, /* a caller that does not read its answers is cut off */
};

enum call_state { IDLE, RECEIVING, SERVING, SENDING };

struct rpc_call {
    struct rpc_server *server;
    nng_ctx context;
    nng_aio *aio;
    _Atomic enum call_state state;
    nng_pipe pipe;
    struct arena *arena; /* kept from request to request, emptied between */
    struct seal_opened opened;
    Rpc__V1__Request *request;
    int64_t deadline_ms;
    bool replayed;
    bool not_run; /* refused before its handler */
    /* Who asked for what is being served, for whoever wants to cancel it; written before
     * `cancel` begins, so that who sees its token sees these. */
    atomic_uint_fast64_t owner; /* hash_owner */
    atomic_uint pipe_id;
    struct cancel cancel;
    struct peers *callers;     /* the list the latest frame was opened with; a share */
    struct limited *limited;   /* what the caller is counted in, while it is served */
    const struct stats *stats; /* of the method, once its handler runs */
    int64_t begun_us;
};

/* A service and the counts of its methods. */
struct served {
    const ProtobufCServiceDescriptor *descriptor;
    ProtobufCService *service;
    struct stats *stats; /* one a method */
};

struct rpc_server {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    size_t busy;    /* calls that are not IDLE; under the lock */
    bool abandoned; /* stopped while calls were being served: the last one frees */
    atomic_bool stopping;
    nng_socket socket;
    bool open;
    const struct key *key;
    struct peers *_Atomic callers; /* a share; replaced under the lock */
    struct limits *limits;
    uint8_t salt[SEAL_SALT_SIZE];
    struct window *window;
    struct watch *watch;
    struct refusals refusals;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct metrics *metrics, *own_metrics; /* the latter when nobody gave us any */
    struct standard *standard;
    ProtobufCService *services[SERVICES_MAX];
    struct served served[SERVICES_MAX];
    size_t service_count;
    struct rpc_call *calls;
    size_t call_count;
};

static void on_aio(void *arg);
static void receive(struct rpc_call *call);

/* ---------------------------------------------------------- replying */

static void server_free(struct rpc_server *server)
{
    /* An abandoned server is freed inside the callback of its last aio, which therefore
     * cannot wait for itself. */
    for (size_t i = 0; i < server->call_count; i++) {
        (server->abandoned ? nng_aio_reap : nng_aio_free)(server->calls[i].aio);
        arena_free(server->calls[i].arena);
        peers_free(server->calls[i].callers);
    }
    free(server->calls);
    for (size_t i = 0; i < server->service_count; i++)
        free(server->served[i].stats);
    standard_free(server->standard);
    metrics_free(server->own_metrics);
    window_free(server->window);
    limits_free(server->limits);
    peers_free(atomic_load(&server->callers));
    pthread_cond_destroy(&server->idle);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

/* The call is over and no other begins; the last call out frees an abandoned server. */
static void rest(struct rpc_call *call)
{
    struct rpc_server *server = call->server;

    atomic_store(&call->state, IDLE);
    pthread_mutex_lock(&server->lock);
    server->busy--;
    bool last = server->busy == 0 && server->abandoned;
    pthread_cond_broadcast(&server->idle);
    pthread_mutex_unlock(&server->lock);
    if (last)
        server_free(server);
}

/* Takes the frame.  The request's memory ends here. */
static void send_frame(struct rpc_call *call, nng_msg *frame)
{
    if (call->arena != NULL)
        arena_reset(call->arena);
    call->request = NULL;
    enum call_state before = atomic_exchange(&call->state, SENDING);
    assert(before == SERVING); /* a handler replies exactly once */
    (void)before;
    nng_aio_set_msg(call->aio, frame);
    nng_aio_set_timeout(call->aio, SEND_WAIT_MS);
    nng_ctx_send(call->context, call->aio);
}

/* Cannot answer: the caller learns it by its connection's end, and may ask again. */
static void cut_off(struct rpc_call *call)
{
    nng_pipe pipe = call->pipe;

    if (call->arena != NULL)
        arena_reset(call->arena);
    call->request = NULL;
    log_error("no_memory_to_answer", "%s", "");
    nng_pipe_close(pipe);
    enum call_state before = atomic_exchange(&call->state, RECEIVING);
    assert(before == SERVING);
    (void)before;
    receive(call);
}

static void refuse_unsealed(struct rpc_call *call, enum seal_refusal reason,
                            const char *caller)
{
    nng_msg *frame;

    refusals_count(&call->server->refusals, (int)reason, caller);
    if (nng_msg_alloc(&frame, SEAL_REFUSAL_SIZE) != 0) {
        cut_off(call);
        return;
    }
    seal_refusal(nng_msg_body(frame), reason);
    send_frame(call, frame);
}

/*
 * Faults of test builds, after the handler: the answer is an error that tells of no
 * outcome, is dropped, or comes late.
 */
static struct fault pass_answer(struct rpc_call *call, Rpc__V1__Response *response)
{
    struct fault fault = failpoint("serve", call->request->method, "after");

    if (fault.kind == FAULT_ERROR) {
        struct err e = err_unknown(ERR_UNAVAILABLE, "a fault was armed here");
        rpc__v1__response__init(response);
        envelope_put_err(&e, response);
    }
    return fault;
}

/* The handler is done: nobody can cancel it any more, and it counts. */
static void end_work(struct rpc_call *call, unsigned status)
{
    cancel_end(&call->cancel);
    limits_leave(call->server->limits, call->limited);
    call->limited = NULL;
    if (call->stats != NULL)
        stats_end(call->stats, call->begun_us, status);
    call->stats = NULL;
}

/* No answer is given; the caller is left to its own clock. */
static void forget(struct rpc_call *call)
{
    end_work(call, ERR_CANCELLED);
    arena_reset(call->arena);
    call->request = NULL;
    atomic_store(&call->state, RECEIVING);
    receive(call);
}

struct late_frame {
    struct rpc_call *call;
    nng_msg *frame;
};

static void on_late_frame(void *arg)
{
    struct late_frame *late = arg;

    send_frame(late->call, late->frame);
    free(late);
}

static void send_late(struct rpc_call *call, nng_msg *frame, int64_t ms)
{
    struct late_frame *late = malloc(sizeof *late);

    assert(late != NULL);
    *late = (struct late_frame){call, frame};
    struct err e = timer_after(ms, on_late_frame, late);
    assert(!failed(e));
}

static void send_response(struct rpc_call *call, Rpc__V1__Response *response)
{
    struct fault fault = pass_answer(call, response);

    end_work(call, response->status);
    if (fault.kind == FAULT_DROP) {
        forget(call);
        return;
    }
    response->id = call->request->id;
    response->replayed = call->replayed;
    response->not_run = call->not_run;
    nng_msg *frame = envelope_pack(&response->base, SEAL_RESPONSE_OVERHEAD);
    if (frame == NULL) {
        cut_off(call);
        return;
    }
    seal_response(nng_msg_body(frame), nng_msg_len(frame), call->server->salt,
                  call->opened.nonce, call->opened.caller->shared);
    if (fault.kind == FAULT_LATE)
        send_late(call, frame, fault.late_ms);
    else
        send_frame(call, frame);
}

/* What went wrong inside is for our log; the caller gets the name of it to ask about. */
static void hide_internals(struct rpc_call *call, struct err *e)
{
    if (e->code != ERR_INTERNAL && e->code != ERR_UNKNOWN && e->code != ERR_DATA_LOSS)
        return;
    log_error("call_failed", "method=%s id=%s caller=%s reason=%s error=\"%s\"",
              call->request->method, call->request->id, call->opened.caller->name,
              err_reason(e->code), e->message);
    struct err hidden =
        e->effect == EFFECT_NONE
            ? err_make(e->code, "internal error; see the log of call %s",
                       call->request->id)
            : err_unknown(e->code, "internal error; see the log of call %s",
                          call->request->id);
    hidden.effect = e->effect;
    *e = hidden;
}

void rpc_call_fail(struct rpc_call *call, struct err error)
{
    Rpc__V1__Response response = RPC__V1__RESPONSE__INIT;

    assert(failed(error));
    hide_internals(call, &error);
    if (error.subject != NULL && strlen(error.subject) > RPC_MESSAGE_MAX / 2)
        error.subject = NULL;
    envelope_put_err(&error, &response);
    send_response(call, &response);
}

/* The closure handlers are given. */
static void reply(const ProtobufCMessage *message, void *closure_data)
{
    struct rpc_call *call = closure_data;
    Rpc__V1__Response response = RPC__V1__RESPONSE__INIT;
    struct err e = ERR_NONE;

    assert(message != NULL); /* an error is given with rpc_call_fail */
    size_t size = protobuf_c_message_get_packed_size(message);
    if (size > RPC_MESSAGE_MAX - 1024)
        e = err_make(ERR_OUT_OF_RANGE,
                     "the answer would be %zu bytes, more than a message holds", size);
    else if ((response.payload.data = arena_alloc(call->arena, size)) == NULL)
        e = err_memory();
    if (failed(e)) {
        e.effect = EFFECT_APPLIED; /* the handler did its work */
        rpc_call_fail(call, e);
        return;
    }
    response.payload.len = protobuf_c_message_pack(message, response.payload.data);
    send_response(call, &response);
}

/* ---------------------------------------------------------- serving */

static void refuse(struct rpc_call *call, enum refusal refusal, struct err e)
{
    refusals_count(&call->server->refusals, (int)refusal, call->opened.caller->name);
    call->not_run = true;
    rpc_call_fail(call, e);
}

/* The service and its method's index; false when there is none. */
static bool find_method(const struct rpc_server *server, const char *name,
                        const struct served **service, unsigned *index)
{
    const char *slash = strchr(name, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - name);

    for (size_t i = 0; slash != NULL && i < server->service_count; i++) {
        const ProtobufCServiceDescriptor *d = server->served[i].descriptor;
        if (strncmp(d->name, name, length) != 0 || d->name[length] != '\0')
            continue;
        const ProtobufCMethodDescriptor *m =
            protobuf_c_service_descriptor_get_method_by_name(d, slash + 1);
        if (m == NULL)
            return false;
        *service = &server->served[i];
        *index = (unsigned)(m - d->methods);
        return true;
    }
    return false;
}

struct invocation {
    ProtobufCService *service;
    unsigned index;
    const ProtobufCMessage *input;
    struct rpc_call *call;
};

static void run(const struct invocation *i)
{
    i->service->invoke(i->service, i->index, i->input, reply, i->call);
}

static void on_late_request(void *arg)
{
    run(arg);
    free(arg);
}

/* Faults of test builds, before the handler: refused, never answered, or late. */
static bool pass_request(const struct invocation *i)
{
    struct fault fault = failpoint("serve", i->call->request->method, "before");
    struct invocation *late;
    struct err e;

    switch (fault.kind) {
    case FAULT_ERROR:
        i->call->not_run = true;
        rpc_call_fail(i->call, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
        return false;
    case FAULT_DROP:
        forget(i->call);
        return false;
    case FAULT_LATE:
        late = malloc(sizeof *late);
        assert(late != NULL);
        *late = *i;
        e = timer_after(fault.late_ms, on_late_request, late);
        assert(!failed(e));
        return false;
    default:
        return true;
    }
}

/* One number for who calls and how it names the call, which nobody outside can foresee.
 */
static uint64_t hash_owner(const struct rpc_server *server, const struct peer *caller,
                           const char *id)
{
    char text[KEY_NAME_MAX + 1 + ENVELOPE_ID_MAX + 1];
    uint64_t hash;

    int length = snprintf(text, sizeof text, "%s %s", caller->name, id);
    crypto_shorthash((uint8_t *)&hash, (const uint8_t *)text, (unsigned long long)length,
                     server->hash_key);
    return hash;
}

/* From here on the call can be cancelled. */
static void begin_work(struct rpc_call *call)
{
    atomic_store(&call->owner,
                 hash_owner(call->server, call->opened.caller, call->request->id));
    atomic_store(&call->pipe_id, (unsigned)nng_pipe_id(call->pipe));
    cancel_begin(&call->cancel);
}

/* Cancels the caller's calls under way of that id; how many. */
static unsigned cancel_of_caller(struct rpc_call *by, const char *id)
{
    struct rpc_server *server = by->server;
    uint64_t owner =
        strlen(id) > ENVELOPE_ID_MAX ? 0 : hash_owner(server, by->opened.caller, id);
    unsigned count = 0;

    for (size_t i = 0; i < server->call_count; i++) {
        struct rpc_call *call = &server->calls[i];
        uint64_t token = cancel_token(&call->cancel);
        if (token != 0 && call != by && atomic_load(&call->owner) == owner)
            count += cancel_ask(&call->cancel, token);
    }
    return count;
}

/* Nobody can be answered through a connection that is gone. */
static void on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *arg)
{
    struct rpc_server *server = arg;
    unsigned gone = (unsigned)nng_pipe_id(pipe);

    (void)event;
    for (size_t i = 0; i < server->call_count; i++) {
        struct rpc_call *call = &server->calls[i];
        uint64_t token = cancel_token(&call->cancel);
        if (token != 0 && atomic_load(&call->pipe_id) == gone)
            cancel_ask(&call->cancel, token);
    }
}

/* The last step: nothing may touch the call after the handler was given it. */
static void invoke(struct rpc_call *call)
{
    const Rpc__V1__Request *request = call->request;
    const struct served *served;
    unsigned index;

    if (!find_method(call->server, request->method, &served, &index)) {
        refuse(
            call, REFUSED_UNIMPLEMENTED,
            err_make(ERR_UNIMPLEMENTED, "there is no method %s here", request->method));
        return;
    }
    ProtobufCMessage *input = protobuf_c_message_unpack(
        served->descriptor->methods[index].input, arena_protobuf(call->arena),
        request->payload.len, request->payload.data);
    if (input == NULL && arena_memory_short(call->arena)) {
        refuse(call, (enum refusal)SEAL_NO_MEMORY, err_memory());
        return;
    }
    if (input == NULL) {
        refuse(
            call, REFUSED_MALFORMED,
            err_make(ERR_INVALID_ARGUMENT,
                     "the payload does not unpack as the request of %s, or is too large",
                     request->method));
        return;
    }
    const struct invocation invocation = {served->service, index, input, call};
    call->stats = &served->stats[index];
    call->begun_us = stats_begin(call->stats);
    begin_work(call);
    if (pass_request(&invocation))
        run(&invocation);
}

/*
 * How long the request was on its way counts against its time; the clocks of the two must
 * agree better than its timeout for that, and a caller's that is ahead counts as no time.
 */
static bool in_time(struct rpc_call *call, int64_t now_ms)
{
    int64_t under_way = now_ms - call->request->sent_at_ms;

    call->deadline_ms = clock_monotonic_ms() + call->request->timeout_ms;
    if (under_way > 0)
        call->deadline_ms -= under_way;
    if (under_way < call->request->timeout_ms)
        return true;
    refuse(call, REFUSED_EXPIRED,
           err_make(ERR_DEADLINE_EXCEEDED,
                    "came %lld ms after it was sent, with %u ms allowed: overloaded, or "
                    "clocks that differ",
                    (long long)under_way, call->request->timeout_ms));
    return false;
}

/* The frame was admitted: from here on the answers are sealed. */
static void serve(struct rpc_call *call, int64_t now_ms)
{
    struct err e = envelope_check(call->request);

    if (failed(e)) {
        refuse(call, REFUSED_MALFORMED, e);
        return;
    }
    if (!in_time(call, now_ms))
        return;
    const char *method = call->request->method;
    if (!standard_is_open(method) && !peer_may_call(call->opened.caller, method)) {
        refuse(call, REFUSED_FORBIDDEN,
               err_make(ERR_PERMISSION_DENIED, "%s may not call %s",
                        call->opened.caller->name, method));
        return;
    }
    if (!standard_is_free(method)) {
        e = limits_enter(call->server->limits, call->opened.caller->name,
                         clock_monotonic_us(), &call->limited);
        if (failed(e)) {
            refuse(call, REFUSED_LIMITED, e);
            return;
        }
    }
    invoke(call);
}

/* The list in force now.  The call keeps its share of it until it needs another, so what
 * handlers use of it stays, and nothing is locked or counted while the list is the same.
 */
static const struct peers *current_callers(struct rpc_call *call)
{
    struct rpc_server *server = call->server;

    if (call->callers == atomic_load(&server->callers))
        return call->callers;
    peers_free(call->callers);
    pthread_mutex_lock(&server->lock);
    call->callers = peers_share(atomic_load(&server->callers));
    pthread_mutex_unlock(&server->lock);
    return call->callers;
}

static void take_frame(struct rpc_call *call, nng_msg *frame)
{
    struct rpc_server *server = call->server;
    int64_t now_ms = clock_wall_ms();

    call->pipe = nng_msg_get_pipe(frame);
    call->replayed = call->not_run = false;
    atomic_store(&call->state, SERVING);
    bool opened =
        seal_open_request(nng_msg_body(frame), nng_msg_len(frame), current_callers(call),
                          key_public(server->key), &call->opened);
    if (opened && call->arena == NULL)
        call->arena = arena_new(RPC_ARENA_MAX);
    if (opened && call->arena != NULL)
        call->request = rpc__v1__request__unpack(arena_protobuf(call->arena),
                                                 call->opened.size, call->opened.text);
    nng_msg_free(frame);
    if (call->request == NULL) {
        bool memory = opened && (call->arena == NULL || arena_memory_short(call->arena));
        refuse_unsealed(call, memory ? SEAL_NO_MEMORY : SEAL_NOT_OPENED,
                        opened ? call->opened.caller->name : "-");
        return;
    }
    enum seal_refusal refusal =
        window_admit(server->window, &call->opened, call->request->sent_at_ms, now_ms);
    if (refusal != 0)
        refuse_unsealed(call, refusal, call->opened.caller->name);
    else
        serve(call, now_ms);
}

/* ---------------------------------------------------------- nng's side */

static void receive(struct rpc_call *call)
{
    if (atomic_load(&call->server->stopping)) {
        rest(call);
        return;
    }
    atomic_store(&call->state, RECEIVING);
    nng_aio_set_timeout(call->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(call->context, call->aio);
}

static void on_sent(struct rpc_call *call, int result)
{
    if (result != 0) {
        nng_msg_free(nng_aio_get_msg(call->aio));
        nng_aio_set_msg(call->aio, NULL);
        if (result == NNG_ETIMEDOUT)
            nng_pipe_close(call->pipe);
    }
    receive(call);
}

static void on_aio(void *arg)
{
    struct rpc_call *call = arg;
    int result = nng_aio_result(call->aio);

    if (atomic_load(&call->state) == SENDING) {
        on_sent(call, result);
    } else if (result == 0) {
        nng_msg *frame = nng_aio_get_msg(call->aio);
        nng_aio_set_msg(call->aio, NULL);
        take_frame(call, frame);
    } else if (result == NNG_ECLOSED) {
        rest(call);
    } else {
        receive(call);
    }
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
        .health_arg = config->health_arg,
        .metrics = server->metrics,
        .services = server->services,
        .service_count = &server->service_count,
        .cancel = cancel_of_caller,
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
    clock_cond_init(&server->idle);
    server->key = config->key;
    atomic_init(&server->callers, peers_share(config->callers));
    server->limits = limits_new(config->caller_in_flight_max, config->caller_per_second);
    randombytes_buf(server->salt, sizeof server->salt);
    crypto_shorthash_keygen(server->hash_key);
    server->metrics = config->metrics;
    if (server->metrics == NULL)
        server->metrics = server->own_metrics = metrics_new();
    refusals_open(&server->refusals, server->metrics);
    server->window = window_new(clock_wall_ms());
    server->calls = calloc(config->in_flight_max, sizeof *server->calls);
    if (server->window != NULL && server->calls != NULL && server->limits != NULL &&
        add_services(server, config) && open_stats(server))
        return server;
    server_free(server);
    return NULL;
}

/* Makes the socket and the calls; each call's context ends with the socket. */
static int open_socket(struct rpc_server *server, size_t in_flight_max)
{
    int rv = nng_rep0_open(&server->socket);

    if (rv != 0)
        return rv;
    server->open = true;
    rv = nng_socket_set_size(server->socket, NNG_OPT_RECVMAXSZ, ENVELOPE_RECEIVE_MAX);
    if (rv == 0)
        rv = nng_pipe_notify(server->socket, NNG_PIPE_EV_REM_POST, on_pipe_gone, server);
    for (size_t i = 0; rv == 0 && i < in_flight_max; i++) {
        struct rpc_call *call = &server->calls[i];
        call->server = server;
        atomic_init(&call->state, IDLE);
        rv = nng_ctx_open(&call->context, server->socket);
        if (rv == 0)
            rv = nng_aio_alloc(&call->aio, on_aio, call);
        if (rv == 0)
            server->call_count++;
    }
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
    server->busy = server->call_count;
    for (size_t i = 0; i < server->call_count; i++)
        receive(&server->calls[i]);
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

/* Ends the receives that wait.  One just beginning is missed, so this is repeated. */
static void stop_receiving(struct rpc_server *server)
{
    for (size_t i = 0; i < server->call_count; i++)
        if (atomic_load(&server->calls[i].state) == RECEIVING)
            nng_aio_cancel(server->calls[i].aio);
}

static void drain(struct rpc_server *server, int64_t drain_ms)
{
    const int64_t step_ms = 20, deadline = clock_monotonic_ms() + drain_ms;

    pthread_mutex_lock(&server->lock);
    while (server->busy > 0 && clock_remaining_ms(deadline) > 0) {
        int64_t step = clock_monotonic_ms() + step_ms;
        pthread_mutex_unlock(&server->lock);
        stop_receiving(server);
        pthread_mutex_lock(&server->lock);
        if (server->busy > 0)
            clock_cond_wait(&server->idle, &server->lock,
                            step < deadline ? step : deadline);
    }
    pthread_mutex_unlock(&server->lock);
}

void rpc_server_stop(struct rpc_server *server, int64_t drain_ms)
{
    if (server == NULL)
        return;
    atomic_store(&server->stopping, true);
    watch_stop(server->watch);
    drain(server, drain_ms);
    if (server->open)
        nng_close(server->socket);
    watch_free(server->watch);
    /* What nng still held has ended with the socket; what handlers hold, has not. */
    for (size_t i = 0; i < server->call_count; i++)
        if (atomic_load(&server->calls[i].state) != SERVING)
            nng_aio_wait(server->calls[i].aio);
    pthread_mutex_lock(&server->lock);
    server->abandoned = server->busy > 0;
    bool abandoned = server->abandoned;
    pthread_mutex_unlock(&server->lock);
    if (abandoned)
        log_warn("stopped_while_serving", "%s", "");
    else
        server_free(server);
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

const char *rpc_call_traceparent(const struct rpc_call *call)
{
    return call->request->traceparent;
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key)
{
    for (size_t i = 0; i < call->request->n_metadata; i++)
        if (strcmp(call->request->metadata[i]->key, key) == 0)
            return call->request->metadata[i]->value;
    return NULL;
}

void rpc_call_replayed(struct rpc_call *call)
{
    call->replayed = true;
}
