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
 * outcome.c is how an attempt ends, answer.c what came back of it, attempt_faults.c what
 * test builds break.
 *
 * A hung server must not eat the time of a call that a replica could answer: with another
 * address connected an attempt gets half of what remains, at least 250 ms; alone, all of
 * it.  A method that takes longer than half its deadline is then asked twice, which its
 * id makes safe.
 */
#include "rpc/client/call.h"

#include "base/clock.h"
#include "base/cork.h"

enum {
    ATTEMPT_LEAST_MS = 250, /* given to an attempt when another address is connected */
};

/* ---------------------------------------------------------- how it leaves its lane */

/* The call was cancelled in the middle of an attempt, which says nothing of its address.
 */
static void end_cancelled(struct call *call, bool sent)
{
    struct err e = call_called_off();

    if (sent) {
        atomic_store(&call->channel->stragglers, true);
        call_tell_callee(call);
        e.effect = EFFECT_UNKNOWN;
    }
    call_leave(call, ENDPOINT_NOT_SAID);
    call_finish(call, e, NULL, false);
}

static void end_closed(struct call *call)
{
    call_leave(call, ENDPOINT_NOT_SAID);
    call_finish(call, call_cancelled_error(), NULL, false);
}

void call_unsent(struct call *call, int result)
{
    if (cancel_requested(&call->cancel)) {
        end_cancelled(call, false);
    } else if (atomic_load(&call->channel->closing)) {
        end_closed(call);
    } else if (result == NNG_ECANCELED) { /* another call of the message was cancelled */
        call_leave(call, ENDPOINT_NOT_SAID);
        call_attempt(call);
    } else {
        call_attempt_failed(
            call,
            err_make(ERR_UNAVAILABLE, "%s cannot be reached: %s", call->endpoint->url,
                     result == NNG_ETIMEDOUT ? "no connection" : nng_strerror(result)));
    }
}

void call_lost(struct call *call, int result)
{
    if (cancel_requested(&call->cancel)) {
        end_cancelled(call, true);
    } else if (atomic_load(&call->channel->closing)) {
        end_closed(call);
    } else if (result == NNG_ETIMEDOUT) {
        atomic_store(&call->channel->stragglers, true);
        call_attempt_failed(call, err_unknown(ERR_DEADLINE_EXCEEDED,
                                              "%s did not answer in time",
                                              call->endpoint->url));
    } else {
        call_attempt_failed(call, err_unknown(ERR_UNAVAILABLE,
                                              "the connection to %s was lost: %s",
                                              call->endpoint->url, nng_strerror(result)));
    }
}

void call_answered(struct call *call, uint8_t *body, size_t size)
{
    if (!call_answer_faulted(call, body, size))
        call_take_answer(call, body, size);
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
    const char *own = call->channel->own_name;
    Rpc__V1__Request request = RPC__V1__REQUEST__INIT;

    request.method = call->method;
    request.id = call->id;
    request.timeout_ms = (uint32_t)left_ms;
    request.traceparent = call->traceparent;
    if (call->tracestate != NULL)
        request.tracestate = call->tracestate;
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

/*
 * The best address.  Calls of one moment (cork.h) go to the same, while it does well: divided,
 * they would be as many messages, and as many smaller batches, as there are replicas.
 */
static struct endpoint *pick(struct channel *channel)
{
    uint64_t moment = cork_id();
    struct endpoint *e = channel->latest;

    if (moment != 0 && moment == channel->moment && atomic_load(&e->connected) != 0 &&
        !endpoint_rests(e, clock_monotonic_ms()))
        return e;
    e = endpoint_pick(channel->endpoints, channel->endpoint_count, channel->turn++);
    channel->moment = moment;
    channel->latest = e;
    return e;
}

/* Takes the best address.  The lock is held. */
void call_enter(struct call *call)
{
    struct channel *channel = call->channel;

    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_keep_dialling(&channel->endpoints[i]);
    struct endpoint *e = call->pin != NULL ? call->pin : pick(channel);

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

void call_attempt(struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (atomic_load(&call->channel->closing)) {
        call_finish(call, call_cancelled_error(), NULL, false);
        return;
    }
    if (cancel_requested(&call->cancel)) {
        call_finish(call, call_called_off(), NULL, false);
        return;
    }
    if (left == 0) {
        call_give_up(call);
        return;
    }
    enter(call);
    if (call_attempt_faulted(call))
        return;
    nng_msg *frame = seal_attempt(call, left);
    if (frame == NULL) {
        call_leave(call, ENDPOINT_NOT_SAID);
        call_finish(call, err_memory(), NULL, false);
        return;
    }
    struct channel *channel = call->channel;
    struct lane *lane = call->endpoint->lane;
    call->answer_by_ms = clock_monotonic_ms() + answer_wait_ms(call, left);
    atomic_fetch_add(&channel->inside, 1); /* once in its lane the call may end */
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_requested(&call->cancel);
    if (!cancelled_meanwhile) {
        call->frame = frame;
        lane_add(lane, call);
    }
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile) {
        nng_msg_free(frame);
        end_cancelled(call, false);
    } else {
        lane_send(lane);
    }
    atomic_fetch_sub(&channel->inside, 1);
}
