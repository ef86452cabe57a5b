/*
 * outcome.c - how an attempt ends, and with the last one the call; see attempt.c.
 *
 * What is known of the call's effect.  Nothing was sent: none.  Sent, and no answer came:
 * unknown, and it stays so until an attempt is answered for good.  An answer that only
 * tells of this attempt (marked as not run; overloaded, internal, ...) settles nothing
 * about an earlier one.
 */
#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rpc/client/call.h"

enum {
    PAUSE_MOST_MS = 500,
    KEPT_PAYLOAD_MAX = 64 << 10, /* a larger buffer is freed with its call */
};

/* ---------------------------------------------------------- the end */

struct err call_cancelled_error(void)
{
    return err_unknown(ERR_CANCELLED, "the channel was closed before the answer came");
}

struct err call_called_off(void)
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

void call_leave(struct call *call, enum endpoint_report report)
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
    free(call->tracestate);
    call->tracestate = NULL;
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
void call_give_up(struct call *call)
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
void call_retry(struct call *call)
{
    int64_t most = call->pause_ms;
    int64_t pause =
        1 + (int64_t)randombytes_uniform((uint32_t)most) + call->error.retry_after_ms;

    call->pause_ms = most * 2 < PAUSE_MOST_MS ? most * 2 : PAUSE_MOST_MS;
    if (pause >= clock_remaining_ms(call->deadline_ms)) {
        call_give_up(call);
        return;
    }
    if (atomic_load(&call->channel->closing)) {
        call_finish(call, call_cancelled_error(), NULL, false);
        return;
    }
    counter_add(call->channel->retries, 1);
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_requested(&call->cancel);
    if (!cancelled_meanwhile)
        nng_sleep_aio((nng_duration)pause, call->pause);
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile)
        call_finish(call, call_called_off(), NULL, false);
}

/* Our own finding about an attempt that got no answer. */
void call_attempt_failed(struct call *call, struct err e)
{
    call_leave(call, ENDPOINT_FAILED);
    call->error = e;
    call->answered = call->not_run = false;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    call_retry(call);
}

void call_on_paused(void *arg)
{
    call_attempt(arg);
}
