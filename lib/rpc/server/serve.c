/*
 * serve.c - one frame, from its opening to the handler of its method; see server.h.
 *
 *      frame --opened, admitted, allowed, in time--> handler ... --> its reply (reply.c)
 *                 |
 *                 +--> refused
 *
 * A call belongs to its handler, which gives it back with the reply.  Nothing touches a call
 * after it passed it on.
 */
#include "rpc/server/serving.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/cork.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "rpc/common/timer.h"

/* ---------------------------------------------------------- serving */

static void refuse(struct rpc_call *call, enum refusal refusal, struct err e)
{
    const char *id = call->request->id;

    refusals_count(&call->server->refusals, (int)refusal, call->opened.caller->name,
                   visible_ascii(id, 1, ENVELOPE_ID_MAX) ? id : "-");
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
    i->service->invoke(i->service, i->index, i->input, serving_reply, i->call);
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
        serving_forget(i->call);
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
static void begin_work(struct rpc_call *call, const struct served *served,
                       unsigned method)
{
    snprintf(call->id, sizeof call->id, "%s", call->request->id);
    call->service = served->descriptor->name;
    call->method = served->descriptor->methods[method].name;
    atomic_store(&call->owner,
                 hash_owner(call->server, call->opened.caller, call->request->id));
    atomic_store(&call->pipe_id, (unsigned)nng_pipe_id(call->pipe));
    cancel_begin(&call->cancel);
}

/* Cancels the caller's calls under way of that id; how many. */
unsigned serving_cancel(struct rpc_call *by, const char *id)
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

/* Nobody can be answered through a connection that is gone. */
void serving_cancel_pipe(struct rpc_server *server, uint32_t pipe)
{
    for (size_t i = 0; i < server->call_count; i++) {
        struct rpc_call *call = &server->calls[i];
        uint64_t token = cancel_token(&call->cancel);
        if (token != 0 && atomic_load(&call->pipe_id) == pipe)
            cancel_request(&call->cancel, token);
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
    begin_work(call, served, index);
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
    if (atomic_load(&call->server->stopping)) {
        call->not_run = true;
        rpc_call_fail(call, err_make(ERR_UNAVAILABLE, "the server is stopping"));
        return;
    }
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

/* ---------------------------------------------------------- a frame */

/* Not for a frame alone that opens: whoever listened may have sent it again. */
static void trust(struct rpc_call *call)
{
    if (call->mailbox == NULL)
        return;
    pthread_mutex_lock(&call->server->lock);
    call->mailbox->trusted = true;
    pthread_mutex_unlock(&call->server->lock);
}

void serving_take_frame(struct rpc_call *call, struct exchange *exchange, uint8_t *frame,
                        size_t size)
{
    struct rpc_server *server = call->server;
    int64_t now_ms = clock_wall_ms();

    call->replayed = call->not_run = false;
    call->order[0] = '\0';
    atomic_store(&call->named, false);
    bool opened = seal_open_request(frame, size, current_callers(call), &call->opened);
    if (opened && call->arena == NULL)
        call->arena = arena_new(RPC_ARENA_MAX);
    if (opened && call->arena != NULL)
        call->request = rpc__v1__request__unpack(arena_protobuf(call->arena),
                                                 call->opened.size, call->opened.text);
    exchange_read(exchange);
    if (call->request == NULL) {
        bool memory = opened && (call->arena == NULL || arena_memory_short(call->arena));
        serving_refuse_unsealed(call, memory ? SEAL_NO_MEMORY : SEAL_NOT_OPENED,
                                opened ? call->opened.caller->name : "-");
        return;
    }
    enum seal_refusal refusal =
        window_admit(server->window, &call->opened, call->request->sent_at_ms, now_ms);
    if (refusal != 0) {
        serving_refuse_unsealed(call, refusal, call->opened.caller->name);
        return;
    }
    trust(call);
    serve(call, now_ms);
}
