/* reply.c - the answers of a server, and its refusals; see server.h and serving.h. */
#include "rpc/server/serving.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "rpc/common/timer.h"

/* Cannot answer: the caller learns it by its connection's end, and may ask again. */
static void cut_off(nng_pipe pipe)
{
    log_error("no_memory_to_answer", "%s", "");
    nng_pipe_close(pipe);
}

/* Takes the frame, NULL: there is none.  The call and the request's memory end here. */
static void give(struct rpc_call *call, nng_msg *frame)
{
    struct exchange *exchange = call->exchange;
    nng_pipe pipe = call->pipe;
    bool kept = true;

    if (call->mailbox != NULL)
        kept = mailbox_deliver(call, frame);
    else if (exchange == NULL) /* the connection was gone when the call came */
        nng_msg_free(frame);
    serving_free_call(call);
    if (!kept)
        cut_off(pipe);
    if (exchange == NULL)
        return;
    if (frame != NULL)
        serving_send(exchange, frame);
    else
        serving_receive(exchange);
}

void serving_refuse_unsealed(struct rpc_call *call, enum seal_refusal reason,
                             const char *caller)
{
    nng_msg *frame;

    refusals_count(&call->server->refusals, (int)reason, caller, "-");
    if (nng_msg_alloc(&frame, SEAL_REFUSAL_SIZE) != 0) {
        cut_off(call->pipe);
        give(call, NULL);
        return;
    }
    seal_refusal(nng_msg_body(frame), reason);
    give(call, frame);
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

/* By the call's id, a request is found in the logs of all services that it went through. */
static void log_call(const struct rpc_call *call, const Rpc__V1__Response *response)
{
    const Rpc__V1__Request *request = call->request;

    if (call->stats == NULL || !call->server->access_log ||
        strncmp(request->method, "rpc.v1.", 7) == 0)
        return;
    struct log_record line;
    if (!log_begin(&line, LOG_INFO, "call"))
        return;
    log_subject(&line, call->request->id, call->order);
    log_pair(&line, "method", request->method);
    log_pair(&line, "caller", call->opened.caller->name);
    log_pair(&line, "result", response->status == 0 ? "ok" : response->reason);
    log_pair_number(&line, "replayed", call->replayed);
    log_pair_number(&line, "us", clock_monotonic_us() - call->begun_us);
    log_pair(&line, "trace", request->traceparent);
    log_end(&line);
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
void serving_forget(struct rpc_call *call)
{
    end_work(call, ERR_CANCELLED);
    give(call, NULL);
}

struct late_frame {
    struct rpc_call *call;
    nng_msg *frame;
};

static void on_late_frame(void *arg)
{
    struct late_frame *late = arg;

    give(late->call, late->frame);
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

    log_call(call, response);
    end_work(call, response->status);
    if (fault.kind == FAULT_DROP) {
        serving_forget(call);
        return;
    }
    response->id = call->request->id;
    response->replayed = call->replayed;
    response->not_run = call->not_run;
    nng_msg *frame = envelope_pack(&response->base, SEAL_RESPONSE_OVERHEAD);
    if (frame == NULL) {
        cut_off(call->pipe);
        give(call, NULL);
        return;
    }
    seal_response(nng_msg_body(frame), nng_msg_len(frame), call->server->salt,
                  call->opened.nonce, call->opened.shared);
    if (fault.kind == FAULT_LATE)
        send_late(call, frame, fault.late_ms);
    else
        give(call, frame);
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

/* What went wrong inside is for our log; the caller gets the name of it to ask about. */
static void hide_internals(struct rpc_call *call, struct err *e)
{
    if (e->code != ERR_INTERNAL && e->code != ERR_UNKNOWN && e->code != ERR_DATA_LOSS)
        return;
    log_failure(call, e);
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
void serving_reply(const ProtobufCMessage *message, void *closure_data)
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
