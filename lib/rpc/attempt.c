/*
 * attempt.c - a call, from its first attempt to its end; see channel.h.
 *
 * A call goes through these states:
 *
 *      attempt -> IN ITS LANE -----------answer------------> done
 *         ^          |      |
 *         |     not sent   lost, too late, or told to come back
 *         |          |      |
 *         +--------- PAUSING       while there is time
 *
 * Each begins under the call's lock, if the call was not cancelled; whoever cancels does so
 * and ends it under it.  So no cancellation falls between two.
 *
 * What is known of the call's effect.  Nothing was sent: none.  Sent, and no answer came:
 * unknown, and it stays so until an attempt is answered for good.  An answer that only
 * tells of this attempt (marked as not run; overloaded, internal, ...) settles nothing
 * about an earlier one.
 *
 * A server that will not have us (an old list of callers, or no such method yet) need not
 * speak for its replicas: its address is rested, and its refusal is final when every
 * one that is connected, or was a moment ago, has refused the call.
 *
 * A hung server must not eat the time of a call that a replica could answer: with another
 * address connected an attempt gets half of what remains, at least 250 ms; alone, all of
 * it.  A method that takes longer than half its deadline is then asked twice, which its
 * id makes safe.
 */
#include "rpc/call.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "rpc/server.h"
#include "rpc/timer.h"

enum {
    ATTEMPT_LEAST_MS = 250, /* given to an attempt when another address is connected */
    PAUSE_MOST_MS = 500,
    KEPT_PAYLOAD_MAX = 64 << 10, /* a larger buffer is freed with its call */
};

/* ---------------------------------------------------------- the end */

static struct err cancelled(void)
{
    return err_unknown(ERR_CANCELLED, "the channel was closed before the answer came");
}

static struct err called_off(void)
{
    return err_make(ERR_CANCELLED, "the caller no longer waits for the answer");
}

/* Whether an error that a handler gave, or we, only tells of its own attempt. */
static bool settles_nothing(enum err_code code)
{
    switch (code) {
    case ERR_CANCELLED:
    case ERR_UNKNOWN:
    case ERR_DEADLINE_EXCEEDED:
    case ERR_PERMISSION_DENIED:
    case ERR_RESOURCE_EXHAUSTED:
    case ERR_INTERNAL:
    case ERR_UNAVAILABLE:
    case ERR_UNAUTHENTICATED:
        return true;
    default:
        return false;
    }
}

/* The lock is held. */
void callee_leave(struct callee *callee)
{
    if (callee == NULL || --callee->users > 0)
        return;
    peers_free(callee->list);
    free(callee);
}

/* The attempt is over; says how its address did.  The lock is held. */
static void leave_locked(struct call *call, enum endpoint_report report)
{
    if (report == ENDPOINT_FAILED)
        counter_add(call->channel->rested, 1);
    endpoint_report(call->endpoint, report);
    endpoint_leave(call->endpoint);
    call->endpoint = NULL;
    callee_leave(call->callee);
    call->callee = NULL;
}

static void leave(struct call *call, enum endpoint_report report)
{
    pthread_mutex_lock(&call->channel->lock);
    leave_locked(call, report);
    pthread_mutex_unlock(&call->channel->lock);
}

/*
 * Gives back the call's memory, and its address after an answer, in one locking; then
 * gives the answer: whoever is told may call again.
 */
void call_finish(struct call *call, struct err e, const ProtobufCMessage *reply,
                 bool replayed)
{
    struct channel *channel = call->channel;
    channel_done *done = call->done;
    void *arg = call->arg;

    if (failed(e) && call->unknown && (call->not_run || settles_nothing(e.code)))
        e.effect = EFFECT_UNKNOWN;
    if (call->payload_room > KEPT_PAYLOAD_MAX) {
        free(call->payload);
        call->payload = NULL;
        call->payload_room = 0;
    }
    free(call->metadata);
    call->metadata = NULL;
    cancel_end(&call->cancel);
    stats_end(&channel->stats, call->begun_us, err_grpc_status(e.code));
    pthread_mutex_lock(&channel->lock);
    if (call->endpoint != NULL)
        leave_locked(call, failed(e) ? ENDPOINT_FAILED : ENDPOINT_WELL);
    call->next = channel->free;
    channel->free = call;
    channel->in_flight--;
    channel->cancels -= call->pin != NULL;
    if (atomic_load(&channel->closing))
        pthread_cond_broadcast(&channel->idle);
    pthread_mutex_unlock(&channel->lock);
    done(arg, e, reply, replayed);
}

/* No attempt is left: what do we know? */
static void give_up(struct call *call)
{
    struct err e = call->error;

    if (!call->answered && call->unknown)
        e = err_unknown(ERR_DEADLINE_EXCEEDED, "no answer from %s in time%s%s",
                        call->channel->service, failed(e) ? "; last: " : "",
                        call->error.message);
    else if (!failed(e))
        e = err_make(ERR_DEADLINE_EXCEEDED, "no time was left to call %s",
                     call->channel->service);
    call_finish(call, e, NULL, false);
}

/* ---------------------------------------------------------- retrying */

/* Capped exponential backoff with full jitter: clients that failed together come back
 * apart. */
static void pause_then_retry(struct call *call)
{
    int64_t most = call->pause_ms;
    int64_t pause =
        1 + (int64_t)randombytes_uniform((uint32_t)most) + call->error.retry_after_ms;

    call->pause_ms = most * 2 < PAUSE_MOST_MS ? most * 2 : PAUSE_MOST_MS;
    if (pause >= clock_remaining_ms(call->deadline_ms)) {
        give_up(call);
        return;
    }
    if (atomic_load(&call->channel->closing)) {
        call_finish(call, cancelled(), NULL, false);
        return;
    }
    counter_add(call->channel->retries, 1);
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_asked(&call->cancel);
    if (!cancelled_meanwhile)
        nng_sleep_aio((nng_duration)pause, call->pause);
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile)
        call_finish(call, called_off(), NULL, false);
}

/* Our own finding about an attempt that got no answer. */
static void attempt_failed(struct call *call, struct err e)
{
    leave(call, ENDPOINT_FAILED);
    call->error = e;
    call->answered = call->not_run = false;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    pause_then_retry(call);
}

/* Notes that the attempt's address refused us; whether one is left that may not. */
static bool ask_elsewhere(struct call *call)
{
    struct channel *channel = call->channel;

    call->refused |= UINT32_C(1) << (call->endpoint - channel->endpoints);
    for (size_t i = 0; i < channel->endpoint_count; i++)
        if ((call->refused >> i & 1) == 0 && endpoint_may_answer(&channel->endpoints[i]))
            return true;
    return false;
}

/* Whether a replica may see the caller, or the method, otherwise. */
static bool may_differ(enum err_code code)
{
    return code == ERR_UNAUTHENTICATED || code == ERR_PERMISSION_DENIED ||
           code == ERR_UNIMPLEMENTED;
}

/* The callee's error: final, unless it asks us to come back, or another may answer. */
static void answered_error(struct call *call, struct err e,
                           const Rpc__V1__Response *response)
{
    bool elsewhere = response->not_run && may_differ(e.code) && ask_elsewhere(call);
    bool again = e.code == ERR_UNAVAILABLE || elsewhere;

    leave(call, again ? ENDPOINT_FAILED : ENDPOINT_WELL);
    call->error = e;
    call->answered = true;
    call->not_run = response->not_run;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    if (again || e.effect == EFFECT_UNKNOWN)
        pause_then_retry(call);
    else
        call_finish(call, e, NULL, response->replayed);
}

/* ---------------------------------------------------------- the answer */

/* Ends the call with what is not worth a retry: the next attempt would see the same. */
static void fail_for_good(struct call *call, struct err e)
{
    leave(call, ENDPOINT_FAILED);
    call_finish(call, e, NULL, false);
}

static void take_response(struct call *call, const Rpc__V1__Response *response)
{
    struct err e = envelope_get_err(response);

    if (strcmp(response->id, call->id) != 0) {
        fail_for_good(call,
                      err_unknown(ERR_DATA_LOSS, "the answer of %s is to another call",
                                  call->endpoint->url));
        return;
    }
    if (failed(e)) {
        answered_error(call, e, response);
        return;
    }
    ProtobufCMessage *reply =
        protobuf_c_message_unpack(call->reply_type, arena_protobuf(call->arena),
                                  response->payload.len, response->payload.data);
    if (reply == NULL && arena_memory_short(call->arena)) {
        e = err_memory();
        e.effect = EFFECT_UNKNOWN; /* it was done; asked again, it says so again */
    } else if (reply == NULL) {
        e = err_make(ERR_DATA_LOSS,
                     "the answer of %s does not unpack as %s, or is too large",
                     call->method, call->reply_type->name);
        e.effect = EFFECT_APPLIED;
    }
    call_finish(call, e, reply, response->replayed);
}

static void take_answer(struct call *call, uint8_t *body, size_t size)
{
    uint8_t *text = NULL;
    size_t text_size = 0;
    struct err refused;
    Rpc__V1__Response *response = NULL;

    if (seal_is_refusal(body, size, &refused)) {
        if (refused.code == ERR_UNAVAILABLE || ask_elsewhere(call))
            attempt_failed(call, refused);
        else
            fail_for_good(call, refused);
        return;
    }
    bool opened = seal_open_response(body, size, call->nonce, call->callee->peer->shared,
                                     &text, &text_size);
    if (opened)
        response =
            rpc__v1__response__unpack(arena_protobuf(call->arena), text_size, text);
    if (response != NULL)
        take_response(call, response);
    else if (opened && arena_memory_short(call->arena))
        fail_for_good(call, err_unknown(ERR_UNAVAILABLE, "no memory for the answer of %s",
                                        call->method));
    else if (opened)
        fail_for_good(call, err_unknown(ERR_DATA_LOSS, "the answer of %s does not unpack",
                                        call->method));
    else
        fail_for_good(call, err_unknown(ERR_UNAUTHENTICATED,
                                        "the answer from %s is not sealed with %s's key",
                                        call->endpoint->url, call->channel->service));
}

/* ---------------------------------------------------------- how an attempt ends */

/* The call was cancelled in the middle of an attempt, which says nothing of its address. */
static void end_cancelled(struct call *call, bool sent)
{
    struct err e = called_off();

    if (sent) {
        atomic_store(&call->channel->stragglers, true);
        call_tell_callee(call);
        e.effect = EFFECT_UNKNOWN;
    }
    leave(call, ENDPOINT_NOT_SAID);
    call_finish(call, e, NULL, false);
}

static void end_closed(struct call *call)
{
    leave(call, ENDPOINT_NOT_SAID);
    call_finish(call, cancelled(), NULL, false);
}

void call_unsent(struct call *call, int result)
{
    if (cancel_asked(&call->cancel)) {
        end_cancelled(call, false);
    } else if (atomic_load(&call->channel->closing)) {
        end_closed(call);
    } else if (result == NNG_ECANCELED) { /* another call of the message was cancelled */
        leave(call, ENDPOINT_NOT_SAID);
        call_attempt(call);
    } else {
        attempt_failed(
            call,
            err_make(ERR_UNAVAILABLE, "%s cannot be reached: %s", call->endpoint->url,
                     result == NNG_ETIMEDOUT ? "no connection" : nng_strerror(result)));
    }
}

void call_lost(struct call *call, int result)
{
    if (cancel_asked(&call->cancel)) {
        end_cancelled(call, true);
    } else if (atomic_load(&call->channel->closing)) {
        end_closed(call);
    } else if (result == NNG_ETIMEDOUT) {
        atomic_store(&call->channel->stragglers, true);
        attempt_failed(call,
                       err_unknown(ERR_DEADLINE_EXCEEDED, "%s did not answer in time",
                                   call->endpoint->url));
    } else {
        attempt_failed(call,
                       err_unknown(ERR_UNAVAILABLE, "the connection to %s was lost: %s",
                                   call->endpoint->url, nng_strerror(result)));
    }
}

struct late_answer {
    struct call *call;
    size_t size;
    uint8_t body[];
};

static void on_late_answer(void *arg)
{
    struct late_answer *late = arg;

    take_answer(late->call, late->body, late->size);
    free(late);
}

/*
 * Faults of test builds, after receiving: the answer is lost, the request is sent again
 * behind it, or it is late.  True: the answer was dealt with.
 */
static bool answer_faulted(struct call *call, const uint8_t *body, size_t size)
{
    struct fault fault = failpoint("call", call->method, "after");
    struct late_answer *late;
    struct err e;

    switch (fault.kind) {
    case FAULT_NONE:
        return false;
    case FAULT_REPEAT:
        call_stray(call, 0);
        return false;
    case FAULT_LATE:
        late = malloc(sizeof *late + size);
        assert(late != NULL);
        late->call = call;
        late->size = size;
        memcpy(late->body, body, size);
        e = timer_after(fault.late_ms, on_late_answer, late);
        assert(!failed(e));
        return true;
    case FAULT_ERROR:
    case FAULT_DROP:
        break;
    }
    attempt_failed(call, err_unknown(ERR_UNAVAILABLE, "a fault was armed here"));
    return true;
}

void call_answered(struct call *call, uint8_t *body, size_t size)
{
    if (!answer_faulted(call, body, size))
        take_answer(call, body, size);
}

void call_on_paused(void *arg)
{
    call_attempt(arg);
}

/* ---------------------------------------------------------- attempting */

static bool another_connected(const struct channel *channel, const struct endpoint *than)
{
    for (size_t i = 0; i < channel->endpoint_count; i++)
        if (&channel->endpoints[i] != than &&
            atomic_load(&channel->endpoints[i].connected) > 0)
            return true;
    return false;
}

static int64_t answer_wait_ms(const struct call *call, int64_t left)
{
    int64_t share = left / 2 > ATTEMPT_LEAST_MS ? left / 2 : ATTEMPT_LEAST_MS;

    return share < left && another_connected(call->channel, call->endpoint) ? share
                                                                            : left;
}

static nng_msg *seal_attempt(struct call *call, int64_t left_ms)
{
    const char *own = key_name(call->channel->key);
    Rpc__V1__Request request = RPC__V1__REQUEST__INIT;

    request.method = call->method;
    request.id = call->id;
    request.timeout_ms = (uint32_t)left_ms;
    request.traceparent = call->traceparent;
    request.sent_at_ms = clock_wall_ms();
    request.payload.data = call->payload;
    request.payload.len = call->payload_size;
    if (call->metadata != NULL) {
        request.metadata = call->metadata->list;
        request.n_metadata = call->metadata->count;
    }
    nng_msg *frame = envelope_pack(&request.base, seal_request_overhead(own));
    if (frame == NULL)
        return NULL;
    seal_session_next(&call->callee->session, call->nonce);
    seal_request(nng_msg_body(frame), nng_msg_len(frame), own, call->nonce,
                 call->callee->peer->shared);
    return frame;
}

/* Takes the best address.  The lock is held. */
void call_enter(struct call *call)
{
    struct channel *channel = call->channel;

    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_keep_dialling(&channel->endpoints[i]);
    struct endpoint *e =
        call->pin != NULL
            ? call->pin
            : endpoint_pick(channel->endpoints, channel->endpoint_count, channel->turn++);

    endpoint_enter(e);
    call->endpoint = e;
    call->callee = channel->callee;
    call->callee->users++;
}

/* The first attempt's address was taken with the call. */
static void enter(struct call *call)
{
    if (call->endpoint != NULL)
        return;
    pthread_mutex_lock(&call->channel->lock);
    call_enter(call);
    pthread_mutex_unlock(&call->channel->lock);
}

/*
 * Faults of test builds, before sending: nobody is there; the message is lost; it is sent
 * twice; or it is taken for lost and arrives late.  True: the attempt has failed.
 */
static bool attempt_faulted(struct call *call)
{
    struct fault fault = failpoint("call", call->method, "before");

    if (fault.kind == FAULT_REPEAT || fault.kind == FAULT_LATE)
        call_stray(call, fault.late_ms);
    if (fault.kind == FAULT_ERROR)
        attempt_failed(call, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
    else if (fault.kind == FAULT_DROP || fault.kind == FAULT_LATE)
        attempt_failed(call,
                       err_unknown(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    return fault.kind != FAULT_NONE && fault.kind != FAULT_REPEAT;
}

void call_attempt(struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (atomic_load(&call->channel->closing)) {
        call_finish(call, cancelled(), NULL, false);
        return;
    }
    if (cancel_asked(&call->cancel)) {
        call_finish(call, called_off(), NULL, false);
        return;
    }
    if (left == 0) {
        give_up(call);
        return;
    }
    enter(call);
    if (attempt_faulted(call))
        return;
    nng_msg *frame = seal_attempt(call, left);
    if (frame == NULL) {
        leave(call, ENDPOINT_NOT_SAID);
        call_finish(call, err_memory(), NULL, false);
        return;
    }
    struct lane *lane = call->endpoint->lane;
    call->answer_by_ms = clock_monotonic_ms() + answer_wait_ms(call, left);
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_asked(&call->cancel);
    if (!cancelled_meanwhile) {
        call->frame = frame;
        lane_add(lane, call);
    }
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile) {
        nng_msg_free(frame);
        end_cancelled(call, false);
        return;
    }
    lane_send(lane); /* the call may have ended by now */
}
