/*
 * call.c - one request, from its frame to its reply; see server.h.
 *
 *      frame --opened, new, in time, allowed, within limits--> handler ... --> reply
 *                 |
 *                 +--> rejected
 *
 * A call belongs to its handler, which gives it back with the reply.  Nothing touches a
 * call after it was passed on.  Below: rejections; how a call ends; how it gets to its
 * handler; what handlers ask of it.
 */
#include "rpc/server/server_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "rpc/common/timer.h"

/* ---------------------------------------------------------- rejections */

enum { LOG_EVERY_MS = 1000 };

static const char *const REJECTION_NAMES[REJECTIONS] = {
    "",          "not_opened",        "outside_time",  "repeated",
    "too_early", "too_many_sessions", "no_memory",     "malformed",
    "expired",   "forbidden",         "unimplemented", "limited",
};

void rejections_open(struct rejections *rejections, struct metrics *metrics)
{
    char label[METRIC_LABELS_SIZE];

    for (int r = 1; r < REJECTIONS; r++) {
        snprintf(label, sizeof label, "reason=%s", REJECTION_NAMES[r]);
        rejections->counts[r] = metrics_counter(metrics, "rpc_server_refusals", label);
    }
}

/* Counts each, and logs at most one a second: a flood of bad frames must not become a
 * flood of lines.  `caller`, and `request`, the call's id, are "-" when not known. */
static void count_rejection(struct rejections *rejections, int rejection,
                            const char *caller, const char *request)
{
    uint64_t total = atomic_fetch_add(&rejections->total, 1) + 1;

    counter_add(rejections->counts[rejection], 1);
    int_fast64_t last = atomic_load(&rejections->logged_ms);
    int_fast64_t now = clock_monotonic_ms();

    if ((last != 0 && now - last < LOG_EVERY_MS) ||
        !atomic_compare_exchange_strong(&rejections->logged_ms, &last, now))
        return;
    log_line(LOG_WARN, "rpc_rejected", "request=%s reason=%s caller=%s total=%" PRIu64,
             request, REJECTION_NAMES[rejection], caller, total);
}

/* ---------------------------------------------------------- replies */

/* Out of memory: there is no reply. */
static void end_cut(struct rpc_call *call)
{
    connection_cut(call->pipe);
    call_end(call, NULL);
}

/* Before the caller is authenticated, only a reason number can be sent. */
static void reject_unsealed(struct rpc_call *call, enum seal_refusal reason,
                            const char *caller)
{
    nng_msg *frame;

    count_rejection(&call->server->rejections, (int)reason, caller, "-");
    if (nng_msg_alloc(&frame, SEAL_REFUSAL_SIZE) != 0) {
        end_cut(call);
        return;
    }
    seal_refusal(nng_msg_body(frame), reason);
    call_end(call, frame);
}

/* Faults of test builds, after the handler: the reply is an error that leaves the outcome
 * unknown, is dropped, or comes late. */
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

/* A request is found by its id in the logs of all services that it went through. */
static void log_call(const struct rpc_call *call, const Rpc__V1__Response *response)
{
    const Rpc__V1__Request *request = call->request;

    if (call->stats == NULL || !call->server->access_log ||
        strncmp(request->method, "rpc.v1.", 7) == 0)
        return;
    struct log_record line;
    if (!log_begin(&line, LOG_INFO, "call"))
        return;
    log_subject(&line, request->id, call->order);
    log_pair(&line, "method", request->method);
    log_pair(&line, "caller", call->opened.caller->name);
    log_pair(&line, "result", response->status == 0 ? "ok" : response->reason);
    log_pair_number(&line, "replayed", call->replayed);
    log_pair_number(&line, "us", clock_monotonic_us() - call->begun_us);
    log_pair(&line, "trace", request->traceparent);
    log_end(&line);
}

/* The handler is done: it cannot be cancelled any more, and it is counted. */
static void end_work(struct rpc_call *call, unsigned status)
{
    cancel_end(&call->cancel);
    rate_limiter_leave(call->server->limiter, call->usage);
    call->usage = NULL;
    if (call->stats != NULL)
        stats_end(call->stats, call->begun_us, status);
    call->stats = NULL;
}

/* There is no reply; the caller waits until its own deadline. */
static void end_without_reply(struct rpc_call *call)
{
    end_work(call, ERR_CANCELLED);
    call_end(call, NULL);
}

/* Of test builds: goes on with the call after some time. */
static void later(int64_t ms, void (*fn)(void *call), struct rpc_call *call)
{
    struct err e = timer_after(ms, fn, call);

    assert(!failed(e));
}

static void send_late_reply(void *arg)
{
    struct rpc_call *call = arg;

    call_end(call, call->late_reply);
}

static void send_response(struct rpc_call *call, Rpc__V1__Response *response)
{
    struct fault fault = pass_answer(call, response);

    log_call(call, response);
    end_work(call, response->status);
    if (fault.kind == FAULT_DROP) {
        end_without_reply(call);
        return;
    }
    response->id = call->request->id;
    response->replayed = call->replayed;
    response->not_run = call->not_run;
    nng_msg *frame = envelope_pack(&response->base, SEAL_RESPONSE_OVERHEAD);
    if (frame == NULL) {
        end_cut(call);
        return;
    }
    seal_response(nng_msg_body(frame), nng_msg_len(frame), call->server->salt,
                  call->opened.nonce, call->opened.shared);
    if (fault.kind != FAULT_LATE) {
        call_end(call, frame);
        return;
    }
    call->late_reply = frame;
    later(fault.late_ms, send_late_reply, call);
}

static void log_failure(const struct rpc_call *call, const struct err *e)
{
    struct log_record line;

    if (!log_begin_limited(&line, LOG_ERROR, "call_failed"))
        return;
    log_subject(&line, call->request->id, call->order);
    log_pair(&line, "method", call->request->method);
    log_pair(&line, "caller", call->opened.caller->name);
    log_pair(&line, "reason", err_reason(e->code));
    log_pair(&line, "error", e->message);
    log_end(&line);
}

/* Details of an internal error go to our log; the caller gets the id to find them by. */
static void hide_internals(struct rpc_call *call, struct err *e)
{
    if (e->code != ERR_INTERNAL && e->code != ERR_UNKNOWN && e->code != ERR_DATA_LOSS)
        return;
    log_failure(call, e);
    struct err hidden =
        err_make(e->code, "internal error; see the log of call %s", call->request->id);
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

/* Fails the call before its handler; `why`: what it is counted as, 0: not counted. */
static void reject(struct rpc_call *call, int why, struct err e)
{
    const char *id = call->request->id;

    if (why != 0)
        count_rejection(&call->server->rejections, why, call->opened.caller->name,
                        visible_ascii(id, 1, ENVELOPE_ID_MAX) ? id : "-");
    call->not_run = true;
    rpc_call_fail(call, e);
}

/* The closure that handlers are given. */
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

/* ---------------------------------------------------------- to the handler */

/* The current list.  The call keeps its reference until the list is replaced:
 * handlers may use the list, and nothing is locked or counted while it is the same. */
static const struct principals *current_callers(struct rpc_call *call)
{
    struct rpc_server *server = call->server;

    if (call->callers == atomic_load(&server->callers))
        return call->callers;
    principals_free(call->callers);
    pthread_mutex_lock(&server->lock);
    call->callers = principals_share(atomic_load(&server->callers));
    pthread_mutex_unlock(&server->lock);
    return call->callers;
}

/* Only after the replay cache has admitted the frame: anybody can send a copy of one. */
static void trust(struct rpc_call *call)
{
    if (call->connection == NULL)
        return;
    pthread_mutex_lock(&call->server->lock);
    call->connection->trusted = true;
    pthread_mutex_unlock(&call->server->lock);
}

/* The time a request was on its way counts against its timeout.  So the clocks of the two
 * must differ by less than the timeout; if the caller's is ahead, the time counts
 * as 0. */
static struct err check_deadline(struct rpc_call *call, int64_t now_ms)
{
    int64_t under_way = now_ms - call->request->sent_at_ms;

    call->deadline_ms = clock_monotonic_ms() + call->request->timeout_ms;
    if (under_way > 0)
        call->deadline_ms -= under_way;
    if (under_way < call->request->timeout_ms)
        return ERR_NONE;
    return err_make(ERR_DEADLINE_EXCEEDED,
                    "came %lld ms after it was sent, with %u ms allowed: overloaded, or "
                    "clocks that differ",
                    (long long)under_way, call->request->timeout_ms);
}

/* Sets call->served and its method's index; false when there is no such method. */
static bool find_method(struct rpc_call *call, const char *name)
{
    const struct rpc_server *server = call->server;
    const char *slash = strchr(name, '/');
    size_t length = slash == NULL ? 0 : (size_t)(slash - name);

    for (size_t i = 0; slash != NULL && i < server->service_count; i++) {
        const ProtobufCServiceDescriptor *d = server->served[i].service->descriptor;
        if (strncmp(d->name, name, length) != 0 || d->name[length] != '\0')
            continue;
        const ProtobufCMethodDescriptor *m =
            protobuf_c_service_descriptor_get_method_by_name(d, slash + 1);
        if (m == NULL)
            return false;
        call->served = &server->served[i];
        call->index = (unsigned)(m - d->methods);
        return true;
    }
    return false;
}

/* Whether the call may run.  `why` is what it is counted as when it may not; 0: not
 * counted. */
static struct err check(struct rpc_call *call, int64_t now_ms, int *why)
{
    const Rpc__V1__Request *request = call->request;
    const struct principal *caller = call->opened.caller;
    const char *method = request->method;
    struct err e = envelope_check(request);

    *why = REJECTED_MALFORMED;
    if (failed(e))
        return e;
    *why = REJECTED_EXPIRED;
    e = check_deadline(call, now_ms);
    if (failed(e))
        return e;
    *why = 0;
    if (atomic_load(&call->server->stopping))
        return err_make(ERR_UNAVAILABLE, "the server is stopping");
    *why = REJECTED_FORBIDDEN;
    if (!builtin_is_open(method) && !principal_may_call(caller, method))
        return err_make(ERR_PERMISSION_DENIED, "%s may not call %s", caller->name,
                        method);
    *why = REJECTED_LIMITED;
    if (!builtin_is_free(method))
        e = rate_limiter_enter(call->server->limiter, caller->name, clock_monotonic_us(),
                               &call->usage);
    if (failed(e))
        return e;
    *why = REJECTED_UNIMPLEMENTED;
    if (!find_method(call, method))
        return err_make(ERR_UNIMPLEMENTED, "there is no method %s here", method);
    call->input = protobuf_c_message_unpack(
        call->served->service->descriptor->methods[call->index].input,
        arena_protobuf(call->arena), request->payload.len, request->payload.data);
    if (call->input != NULL)
        return ERR_NONE;
    bool memory = arena_memory_short(call->arena);
    *why = memory ? (int)SEAL_NO_MEMORY : (int)REJECTED_MALFORMED;
    return memory ? err_memory()
                  : err_make(ERR_INVALID_ARGUMENT,
                             "the payload does not unpack as the request of %s, or is "
                             "too large",
                             method);
}

/* Nothing may touch the call after the handler was given it. */
static void run(void *arg)
{
    struct rpc_call *call = arg;
    ProtobufCService *service = call->served->service;

    service->invoke(service, call->index, call->input, reply, call);
}

/* Faults of test builds, before the handler: rejected, never answered, or late. */
static void run_with_faults(struct rpc_call *call)
{
    struct fault fault = failpoint("serve", call->request->method, "before");

    switch (fault.kind) {
    case FAULT_ERROR:
        reject(call, 0, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
        break;
    case FAULT_DROP:
        end_without_reply(call);
        break;
    case FAULT_LATE:
        later(fault.late_ms, run, call);
        break;
    default:
        run(call);
    }
}

/* A keyed hash of the caller and its id of the call: outsiders cannot predict it. */
static uint64_t hash_owner(const struct rpc_server *server,
                           const struct principal *caller, const char *id)
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
    const ProtobufCServiceDescriptor *service = call->served->service->descriptor;

    call->stats = &call->served->stats[call->index];
    call->begun_us = stats_begin(call->stats);
    snprintf(call->id, sizeof call->id, "%s", call->request->id);
    call->service = service->name;
    call->method = service->methods[call->index].name;
    atomic_store(&call->owner,
                 hash_owner(call->server, call->opened.caller, call->request->id));
    atomic_store(&call->pipe_id, (unsigned)nng_pipe_id(call->pipe));
    cancel_begin(&call->cancel);
}

void call_serve(struct rpc_call *call, struct reply_slot *slot, uint8_t *frame,
                size_t size)
{
    int64_t now_ms = clock_wall_ms();
    int why;

    call->replayed = call->not_run = false;
    call->order[0] = '\0';
    atomic_store(&call->order_known, false);
    bool opened = seal_open_request(frame, size, current_callers(call), &call->opened);
    if (opened && call->arena == NULL)
        call->arena = arena_new(RPC_ARENA_MAX);
    if (opened && call->arena != NULL)
        call->request = rpc__v1__request__unpack(arena_protobuf(call->arena),
                                                 call->opened.size, call->opened.text);
    slot_frame_read(slot);
    if (call->request == NULL) {
        bool memory = opened && (call->arena == NULL || arena_memory_short(call->arena));
        reject_unsealed(call, memory ? SEAL_NO_MEMORY : SEAL_NOT_OPENED,
                        opened ? call->opened.caller->name : "-");
        return;
    }
    enum seal_refusal refusal = replay_cache_admit(
        call->server->replay_cache, &call->opened, call->request->sent_at_ms, now_ms);
    if (refusal != 0) {
        reject_unsealed(call, refusal, call->opened.caller->name);
        return;
    }
    trust(call); /* and from here on the replies are sealed */
    struct err e = check(call, now_ms, &why);
    if (failed(e)) {
        reject(call, why, e);
        return;
    }
    begin_work(call);
    run_with_faults(call);
}

/* ---------------------------------------------------------- cancelling */

unsigned call_cancel(struct rpc_call *by, const char *id)
{
    struct rpc_server *server = by->server;
    uint64_t owner =
        strlen(id) > ENVELOPE_ID_MAX ? 0 : hash_owner(server, by->opened.caller, id);
    unsigned count = 0;

    for (size_t i = 0; i < server->call_count; i++) {
        struct rpc_call *call = &server->calls[i];
        uint64_t token = cancel_token(&call->cancel);
        if (token != 0 && call != by && atomic_load(&call->owner) == owner)
            count += cancel_request(&call->cancel, token);
    }
    return count;
}

void call_cancel_pipe(struct rpc_server *server, uint32_t pipe)
{
    for (size_t i = 0; i < server->call_count; i++) {
        struct rpc_call *call = &server->calls[i];
        uint64_t token = cancel_token(&call->cancel);
        if (token != 0 && atomic_load(&call->pipe_id) == pipe)
            cancel_request(&call->cancel, token);
    }
}

/* ---------------------------------------------------------- what handlers ask and say */

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
    atomic_store(&call->order_known, false);
    snprintf(call->order, sizeof call->order, "%s", order_id);
    atomic_store(&call->order_known, true);
}

const char *rpc_call_order(const struct rpc_call *call)
{
    return call->order;
}

void rpc_call_replayed(struct rpc_call *call)
{
    call->replayed = true;
}
