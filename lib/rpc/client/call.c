/*
 * call.c - a call, from its beginning to its end; see channel.h.
 *
 *      attempt -> IN ITS SUBCHANNEL ---------answer----------> done
 *         ^           |      |
 *         |      not sent   lost, too late, or the server asks for a retry
 *         |           |      |
 *         +---------- PAUSING       while there is time
 *
 * A call enters each of the two states under its lock, if it was not cancelled.  Cancelling
 * marks it and ends the state it is in under the same lock.  So no cancellation is missed
 * between two states.
 *
 * A hung server must not use up the time of a call that a replica could answer.  If another
 * address is connected, an attempt gets half of the remaining time, at least 250 ms;
 * otherwise it gets all of it.  A method that takes longer than half its deadline is then
 * called twice; its id makes that safe.
 *
 * The effect of a call: none if nothing was sent.  Unknown if a request was sent and not
 * answered, until a later attempt gets a final answer.  An answer that concerns only its
 * own attempt (marked as not run; overloaded, internal, ...) says nothing about earlier ones.
 *
 * A replica may reject us while others do not (it has an old list of callers, or not yet the
 * method).  Then its address is rested.  The rejection is final when every address that is
 * connected, or was a moment ago, has rejected the call.
 */
#include "rpc/client/call.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/cork.h"
#include "base/failpoint.h"
#include "rpc/common/timer.h"

enum {
    ATTEMPT_LEAST_MS = 250, /* given to an attempt when another address is connected */
    PAUSE_LEAST_MS = 5,
    PAUSE_MOST_MS = 500,
    KEPT_PAYLOAD_MAX = 64 << 10, /* a larger buffer is freed with its call */
    CANCEL_WAIT_MS = 1000,
    CANCEL_ARENA_MAX = 64 << 10,
    STRAY_MS = 2000,
    TICKET_INDEX_BITS = 20, /* a ticket: cancel token, then the call's index + 1 */
};

static void attempt(struct call *call);
static void attempt_failed(struct call *call, struct err e);
static void leave(struct call *call, enum balancer_report report);
static void retry(struct call *call);
static void give_up(struct call *call);
static void finish(struct call *call, struct err e, const ProtobufCMessage *reply,
                   bool replayed);
static bool fault_before(struct call *call);
static bool fault_after(struct call *call, const uint8_t *body, size_t size);

static struct call *call_of(struct request *request)
{
    return (struct call *)request;
}

/* ---------------------------------------------------------- a call's memory */

static void on_paused(void *call)
{
    attempt(call);
}

void client_call_free(struct call *call)
{
    if (call == NULL)
        return;
    nng_aio_free(call->pause); /* waits until its callback is over */
    pthread_mutex_destroy(&call->lock);
    free(call->payload);
    free(call);
}

static struct call *call_new(struct channel *channel)
{
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL)
        return NULL;
    pthread_mutex_init(&call->lock, NULL);
    if (nng_aio_alloc(&call->pause, on_paused, call) != 0) {
        client_call_free(call);
        return NULL;
    }
    call->channel = channel;
    call->index = channel->call_count;
    channel->calls[channel->call_count++] = call;
    return call;
}

/* The best address.  Calls in one cork (cork.h) go to the same one while it does well:
 * divided among the replicas they would be more messages and smaller batches. */
static struct subchannel *pick(struct channel *channel)
{
    uint64_t cork = cork_id();
    struct subchannel *s = channel->picked;

    if (cork != 0 && cork == channel->cork && subchannel_connected(s) &&
        !balancer_rests(s, clock_monotonic_ms()))
        return s;
    s = balancer_pick(channel->subchannels, channel->subchannel_count, channel->turn++);
    channel->cork = cork;
    channel->picked = s;
    return s;
}

/* Takes the address for an attempt.  The channel's lock is held. */
static void enter(struct call *call)
{
    struct channel *channel = call->channel;

    for (size_t i = 0; i < channel->subchannel_count; i++)
        subchannel_keep_dialling(channel->subchannels[i]);
    call->subchannel = call->pin != NULL ? call->pin : pick(channel);
    balancer_enter(call->subchannel);
    call->callee = channel->callee;
    call->callee->users++;
}

/* A call's memory, counted as in flight, and the address of its first attempt: `pin`, or
 * when that is NULL the best. */
static struct err call_take(struct channel *channel, struct subchannel *pin,
                            struct call **out)
{
    struct err e = ERR_NONE;

    pthread_mutex_lock(&channel->lock);
    if (atomic_load(&channel->closing)) {
        e = err_make(ERR_CANCELLED, "the channel to %s is closed", channel->service);
    } else if (pin != NULL
                   ? channel->cancels == CANCELS_MAX
                   : channel->in_flight - channel->cancels == channel->in_flight_max) {
        e = err_make(ERR_RESOURCE_EXHAUSTED, "%zu calls to %s are in flight already",
                     channel->in_flight, channel->service);
    } else {
        *out = channel->free;
        if (*out != NULL)
            channel->free = (*out)->next;
        else if ((*out = call_new(channel)) == NULL)
            e = err_memory();
        if (*out != NULL) {
            channel->in_flight++;
            channel->cancels += pin != NULL;
            (*out)->pin = pin;
            enter(*out);
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return e;
}

/* ---------------------------------------------------------- beginning */

static const char *text_or(const char *text, const char *other)
{
    return text == NULL ? other : text;
}

static struct err check_call(const struct channel_call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);
    struct err e = envelope_check_fields(
        call->method, text_or(call->id, "-"), text_or(call->traceparent, ""),
        text_or(call->tracestate, ""), call->metadata, call->metadata_count);

    if (failed(e))
        return e;
    if (left == 0)
        return err_make(ERR_DEADLINE_EXCEEDED,
                        "the deadline was over before the call to %s", call->method);
    if (left > RPC_TIMEOUT_MAX_MS)
        return err_make(ERR_INVALID_ARGUMENT, "a deadline is at most %d ms ahead",
                        RPC_TIMEOUT_MAX_MS);
    if (protobuf_c_message_get_packed_size(call->request) > RPC_MESSAGE_MAX - 1024)
        return err_make(ERR_INVALID_ARGUMENT,
                        "the request of %s is larger than a message holds", call->method);
    return ERR_NONE;
}

static bool keep_payload(struct call *call, const ProtobufCMessage *request)
{
    size_t size = protobuf_c_message_get_packed_size(request);

    if (size > call->payload_room) {
        uint8_t *larger = realloc(call->payload, size);
        if (larger == NULL)
            return false;
        call->payload = larger;
        call->payload_room = size;
    }
    call->envelope.payload.data = call->payload;
    call->envelope.payload.len =
        size == 0 ? 0 : protobuf_c_message_pack(request, call->payload);
    return true;
}

static bool keep_texts(struct call *call, const struct channel_call *from)
{
    const char *tracestate = text_or(from->tracestate, "");
    size_t count = from->metadata_count, size = strlen(tracestate) + 1;

    if (size == 1 && count == 0)
        return true;
    for (size_t i = 0; i < count; i++)
        size += strlen(from->metadata[i].key) + strlen(from->metadata[i].value) + 2;
    struct call_texts *texts = call->texts = malloc(sizeof *texts + size);
    if (texts == NULL)
        return false;
    char *at = stpcpy(texts->bytes, tracestate) + 1;
    for (size_t i = 0; i < count; i++) {
        rpc__v1__metadata__init(&texts->entries[i]);
        texts->list[i] = &texts->entries[i];
        texts->entries[i].key = at;
        at = stpcpy(at, from->metadata[i].key) + 1;
        texts->entries[i].value = at;
        at = stpcpy(at, from->metadata[i].value) + 1;
    }
    call->envelope.tracestate = texts->bytes;
    call->envelope.metadata = texts->list;
    call->envelope.n_metadata = count;
    return true;
}

static void fill(struct call *call, const struct channel_call *from, channel_done *done,
                 void *arg)
{
    snprintf(call->method, sizeof call->method, "%s", from->method);
    if (from->id != NULL)
        snprintf(call->id, sizeof call->id, "%s", from->id);
    else
        ulid_make(call->id);
    snprintf(call->traceparent, sizeof call->traceparent, "%s",
             text_or(from->traceparent, ""));
    rpc__v1__request__init(&call->envelope);
    call->envelope.method = call->method;
    call->envelope.id = call->id;
    call->envelope.traceparent = call->traceparent;
    call->reply_type = from->reply_type;
    call->arena = from->arena;
    call->deadline_ms = from->deadline_ms;
    call->done = done;
    call->arg = arg;
    call->pause_ms = PAUSE_LEAST_MS;
    call->unknown = call->answered = call->not_run = false;
    call->refused_by = 0;
    call->error = ERR_NONE;
    call->begun_us = stats_begin(&call->channel->stats);
}

/* Begins the call that was taken; the ticket is valid until its end. */
static channel_ticket begin(struct call *call, const struct channel_call *from,
                            channel_done *done, void *arg)
{
    struct cancel *cancel = &call->request.cancel;

    fill(call, from, done, arg);
    cancel_begin(cancel);
    channel_ticket ticket = cancel_token(cancel) << TICKET_INDEX_BITS | (call->index + 1);
    if (keep_payload(call, from->request) && keep_texts(call, from))
        attempt(call);
    else
        finish(call, err_memory(), NULL, false);
    return ticket;
}

channel_ticket channel_call(struct channel *channel, const struct channel_call *from,
                            channel_done *done, void *arg)
{
    struct call *call = NULL;
    channel_ticket ticket = 0;

    atomic_fetch_add(&channel->inside, 1);
    struct err e = check_call(from);
    if (!failed(e))
        e = call_take(channel, NULL, &call);
    if (failed(e))
        done(arg, e, NULL, false);
    else
        ticket = begin(call, from, done, arg);
    atomic_fetch_sub(&channel->inside, 1);
    return ticket;
}

/* ---------------------------------------------------------- attempting */

static int64_t answer_wait_ms(const struct call *call, int64_t left)
{
    int64_t half = left / 2 > ATTEMPT_LEAST_MS ? left / 2 : ATTEMPT_LEAST_MS;

    return half < left && channel_connected_besides(call->channel, call->subchannel)
               ? half
               : left;
}

static nng_msg *seal_attempt(struct call *call, int64_t left_ms)
{
    const char *own = call->channel->own_name;

    call->envelope.timeout_ms = (uint32_t)left_ms;
    call->envelope.sent_at_ms = clock_wall_ms();
    nng_msg *frame = envelope_pack(&call->envelope.base, seal_request_overhead(own));
    if (frame == NULL)
        return NULL;
    seal_session_next(&call->callee->session, call->nonce);
    seal_request(nng_msg_body(frame), nng_msg_len(frame), own, call->nonce,
                 call->callee->peer->shared);
    return frame;
}

/* Ends the call together with its attempt. */
static void end(struct call *call, enum balancer_report report, struct err e)
{
    leave(call, report);
    finish(call, e, NULL, false);
}

static struct err closed_error(void)
{
    return err_unknown(ERR_CANCELLED, "the channel was closed before the answer came");
}

static struct err cancelled_error(void)
{
    return err_make(ERR_CANCELLED, "the caller no longer waits for the answer");
}

/* Hands the frame to the subchannel, unless the call was cancelled meanwhile. */
static void submit(struct call *call, nng_msg *frame)
{
    struct channel *channel = call->channel;
    struct subchannel *subchannel = call->subchannel;

    atomic_fetch_add(&channel->inside, 1); /* once in its subchannel the call may end */
    pthread_mutex_lock(&call->lock);
    bool cancelled = cancel_requested(&call->request.cancel);
    if (!cancelled) {
        call->request.frame = frame;
        subchannel_add(subchannel, &call->request);
    }
    pthread_mutex_unlock(&call->lock);
    if (cancelled) {
        nng_msg_free(frame);
        end(call, ADDRESS_UNKNOWN, cancelled_error());
    } else {
        subchannel_send(subchannel);
    }
    atomic_fetch_sub(&channel->inside, 1);
}

/* Begins the next attempt, or ends the call. */
static void attempt(struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (atomic_load(&call->channel->closing)) {
        finish(call, closed_error(), NULL, false);
        return;
    }
    if (cancel_requested(&call->request.cancel)) {
        finish(call, cancelled_error(), NULL, false);
        return;
    }
    if (left == 0) {
        give_up(call);
        return;
    }
    if (call->subchannel == NULL) { /* the first attempt's was taken with the call */
        pthread_mutex_lock(&call->channel->lock);
        enter(call);
        pthread_mutex_unlock(&call->channel->lock);
    }
    if (fault_before(call))
        return;
    nng_msg *frame = seal_attempt(call, left);
    if (frame == NULL) {
        end(call, ADDRESS_UNKNOWN, err_memory());
        return;
    }
    call->request.answer_by_ms = clock_monotonic_ms() + answer_wait_ms(call, left);
    submit(call, frame);
}

/* ---------------------------------------------------------- cancelling */

void channel_cancel(struct channel *channel, channel_ticket ticket)
{
    size_t index = ticket & ((1U << TICKET_INDEX_BITS) - 1);

    if (index == 0)
        return;
    atomic_fetch_add(&channel->inside, 1);
    pthread_mutex_lock(&channel->lock);
    struct call *call = index <= channel->call_count ? channel->calls[index - 1] : NULL;
    pthread_mutex_unlock(&channel->lock);
    if (call != NULL) { /* else it is no ticket of this channel */
        pthread_mutex_lock(&call->lock);
        if (cancel_request(&call->request.cancel, ticket >> TICKET_INDEX_BITS)) {
            subchannel_cancel(&call->request);
            nng_aio_cancel(call->pause);
        }
        pthread_mutex_unlock(&call->lock);
    }
    atomic_fetch_sub(&channel->inside, 1);
}

/* For calls whose result does not matter. */
static void free_arena(void *arena, struct err error, const ProtobufCMessage *reply,
                       bool replayed)
{
    (void)error;
    (void)reply;
    (void)replayed;
    arena_free(arena);
}

/* Tells the server that the answer to the call's request is no longer wanted. */
static void send_cancel(const struct call *of)
{
    Rpc__V1__CancelRequest request = RPC__V1__CANCEL_REQUEST__INIT;
    struct call *call = NULL;
    const struct channel_call from = {
        .method = "rpc.v1.Calls/Cancel",
        .request = &request.base,
        .reply_type = &rpc__v1__cancel_reply__descriptor,
        .arena = arena_new(CANCEL_ARENA_MAX),
        .deadline_ms = clock_monotonic_ms() + CANCEL_WAIT_MS,
    };

    request.id = (char *)of->id;
    if (from.arena == NULL || failed(call_take(of->channel, of->subchannel, &call)))
        arena_free(from.arena);
    else
        begin(call, &from, free_arena, from.arena);
}

/* ---------------------------------------------------------- without an answer */

/* Whether the call was cancelled or its channel is closed: then it ends here, and that says
 * nothing of its address. */
static bool ended_early(struct call *call, bool sent)
{
    if (cancel_requested(&call->request.cancel)) {
        struct err e = cancelled_error();
        if (sent) {
            atomic_store(&call->channel->stragglers, true);
            send_cancel(call);
            e.effect = EFFECT_UNKNOWN;
        }
        end(call, ADDRESS_UNKNOWN, e);
        return true;
    }
    if (atomic_load(&call->channel->closing)) {
        end(call, ADDRESS_UNKNOWN, closed_error());
        return true;
    }
    return false;
}

void client_call_unsent(struct request *request, int result)
{
    struct call *call = call_of(request);

    if (ended_early(call, false))
        return;
    if (result == NNG_ECANCELED) { /* another call of the batch was cancelled */
        leave(call, ADDRESS_UNKNOWN);
        attempt(call);
    } else {
        attempt_failed(
            call,
            err_make(ERR_UNAVAILABLE, "%s cannot be reached: %s", call->subchannel->url,
                     result == NNG_ETIMEDOUT ? "no connection" : nng_strerror(result)));
    }
}

void client_call_lost(struct request *request, int result)
{
    struct call *call = call_of(request);

    if (ended_early(call, true))
        return;
    if (result == NNG_ETIMEDOUT) {
        atomic_store(&call->channel->stragglers, true);
        attempt_failed(call,
                       err_unknown(ERR_DEADLINE_EXCEEDED, "%s did not answer in time",
                                   call->subchannel->url));
    } else {
        attempt_failed(call,
                       err_unknown(ERR_UNAVAILABLE, "the connection to %s was lost: %s",
                                   call->subchannel->url, nng_strerror(result)));
    }
}

/* ---------------------------------------------------------- answered */

/* Notes that the attempt's address rejected the call; true: another may accept it. */
static bool ask_elsewhere(struct call *call)
{
    struct channel *channel = call->channel;
    bool elsewhere = false;

    for (size_t i = 0; i < channel->subchannel_count; i++) {
        if (channel->subchannels[i] == call->subchannel)
            call->refused_by |= UINT32_C(1) << i;
        if ((call->refused_by >> i & 1) == 0 &&
            subchannel_may_answer(channel->subchannels[i]))
            elsewhere = true;
    }
    return elsewhere;
}

/* Whether another replica may decide otherwise about the caller, or the method. */
static bool may_differ(enum err_code code)
{
    return code == ERR_UNAUTHENTICATED || code == ERR_PERMISSION_DENIED ||
           code == ERR_UNIMPLEMENTED;
}

/*
 * The callee's error: final unless it asks for a retry or another may accept.  DATA_LOSS
 * is never retried: the row is gone, so a repeat would count as the first request and do the
 * work twice.
 */
static void take_error(struct call *call, struct err e, const Rpc__V1__Response *response)
{
    bool elsewhere = response->not_run && may_differ(e.code) && ask_elsewhere(call);
    bool again = e.code == ERR_UNAVAILABLE || elsewhere;

    leave(call, again ? ADDRESS_FAILED : ADDRESS_WELL);
    call->error = e;
    call->answered = true;
    call->not_run = response->not_run;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    if (again || (e.effect == EFFECT_UNKNOWN && e.code != ERR_DATA_LOSS))
        retry(call);
    else
        finish(call, e, NULL, response->replayed);
}

static void take_response(struct call *call, const Rpc__V1__Response *response)
{
    struct err e = envelope_get_err(response);

    if (strcmp(response->id, call->id) != 0) {
        end(call, ADDRESS_FAILED,
            err_unknown(ERR_DATA_LOSS, "the answer of %s belongs to another call",
                        call->subchannel->url));
        return;
    }
    if (failed(e)) {
        take_error(call, e, response);
        return;
    }
    ProtobufCMessage *reply =
        protobuf_c_message_unpack(call->reply_type, arena_protobuf(call->arena),
                                  response->payload.len, response->payload.data);
    if (reply == NULL && arena_memory_short(call->arena)) {
        e = err_memory();
        e.effect = EFFECT_UNKNOWN; /* it was done; a retry gets the same answer */
    } else if (reply == NULL) {
        e = err_make(ERR_DATA_LOSS,
                     "the answer of %s does not unpack as %s, or is too large",
                     call->method, call->reply_type->name);
        e.effect = EFFECT_APPLIED;
    }
    finish(call, e, reply, response->replayed);
}

/* Opens the frame in place.  Anything but an answer ends the call, because the next
 * attempt would get the same. */
static void take_answer(struct call *call, uint8_t *body, size_t size)
{
    uint8_t *text = NULL;
    size_t text_size = 0;
    struct err e;
    Rpc__V1__Response *response = NULL;

    if (seal_is_refusal(body, size, &e)) {
        if (e.code == ERR_UNAVAILABLE || ask_elsewhere(call))
            attempt_failed(call, e);
        else
            end(call, ADDRESS_FAILED, e);
        return;
    }
    bool opened = seal_open_response(body, size, call->nonce, call->callee->peer->shared,
                                     &text, &text_size);
    if (opened)
        response =
            rpc__v1__response__unpack(arena_protobuf(call->arena), text_size, text);
    if (response != NULL) {
        take_response(call, response);
        return;
    }
    if (!opened)
        e = err_unknown(ERR_UNAUTHENTICATED,
                        "the answer from %s is not sealed with %s's key",
                        call->subchannel->url, call->channel->service);
    else if (arena_memory_short(call->arena))
        e = err_unknown(ERR_UNAVAILABLE, "no memory for the answer of %s", call->method);
    else
        e = err_unknown(ERR_DATA_LOSS, "the answer of %s does not unpack", call->method);
    end(call, ADDRESS_FAILED, e);
}

void client_call_answered(struct request *request, uint8_t *body, size_t size)
{
    if (!fault_after(call_of(request), body, size))
        take_answer(call_of(request), body, size);
}

/* ---------------------------------------------------------- an attempt's end */

/* The attempt is over.  The channel's lock is held. */
static void leave_locked(struct call *call, enum balancer_report report)
{
    if (report == ADDRESS_FAILED)
        counter_add(call->channel->failed_attempts, 1);
    balancer_leave(call->subchannel, report);
    call->subchannel = NULL;
    callee_release(call->callee);
    call->callee = NULL;
}

static void leave(struct call *call, enum balancer_report report)
{
    pthread_mutex_lock(&call->channel->lock);
    leave_locked(call, report);
    pthread_mutex_unlock(&call->channel->lock);
}

/* The attempt got no answer; the error is our own. */
static void attempt_failed(struct call *call, struct err e)
{
    leave(call, ADDRESS_FAILED);
    call->error = e;
    call->answered = call->not_run = false;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    retry(call);
}

/* The next attempt, after a pause: capped exponential backoff with full jitter, so that
 * clients that failed together do not retry together.  Ends the call if time is up. */
static void retry(struct call *call)
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
        finish(call, closed_error(), NULL, false);
        return;
    }
    counter_add(call->channel->retries, 1);
    pthread_mutex_lock(&call->lock);
    bool cancelled = cancel_requested(&call->request.cancel);
    if (!cancelled)
        nng_sleep_aio((nng_duration)pause, call->pause);
    pthread_mutex_unlock(&call->lock);
    if (cancelled)
        finish(call, cancelled_error(), NULL, false);
}

/* ---------------------------------------------------------- the call's end */

/* No attempt is left: ends the call with what is known. */
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
    finish(call, e, NULL, false);
}

/* Whether an error, a handler's or ours, concerns only its own attempt. */
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

/*
 * Gives back the call's memory, and its address if an attempt was under way, in one locking.
 * `done` comes last, because it may start another call.
 */
static void finish(struct call *call, struct err e, const ProtobufCMessage *reply,
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
    free(call->texts);
    call->texts = NULL;
    cancel_end(&call->request.cancel);
    stats_end(&channel->stats, call->begun_us, err_grpc_status(e.code));
    pthread_mutex_lock(&channel->lock);
    if (call->subchannel != NULL)
        leave_locked(call, failed(e) ? ADDRESS_FAILED : ADDRESS_WELL);
    call->next = channel->free;
    channel->free = call;
    channel->in_flight--;
    channel->cancels -= call->pin != NULL;
    if (atomic_load(&channel->closing))
        pthread_cond_broadcast(&channel->idle);
    pthread_mutex_unlock(&channel->lock);
    done(arg, e, reply, replayed);
}

/* ---------------------------------------------------------- faults of test builds: docs/faults.md */

/* Sends the call's request once more, now or late; its answer is dropped. */
static void send_stray(const struct call *of, int64_t late_ms)
{
    struct channel_call from = {
        .method = of->method,
        .id = of->id,
        .traceparent = of->traceparent,
        .reply_type = of->reply_type,
        .arena = arena_new(RPC_ARENA_MAX),
        .deadline_ms = clock_monotonic_ms() + late_ms + STRAY_MS,
    };
    struct call *call = NULL;

    if (from.arena == NULL || failed(call_take(of->channel, NULL, &call)))
        abort(); /* a test build has nothing better to say */
    fill(call, &from, free_arena, from.arena);
    size_t size = of->envelope.payload.len;
    call->payload = realloc(call->payload, size + 1);
    assert(call->payload != NULL);
    memcpy(call->payload, of->payload, size);
    call->payload_room = size + 1;
    call->envelope.payload = (ProtobufCBinaryData){size, call->payload};
    struct err e = timer_after(late_ms, on_paused, call);
    assert(!failed(e));
}

/* Before sending: the server is not there; the message is lost; it is sent twice; or it is
 * treated as lost and arrives late.  True: the attempt has failed. */
static bool fault_before(struct call *call)
{
    struct fault fault = failpoint("call", call->method, "before");

    if (fault.kind == FAULT_REPEAT || fault.kind == FAULT_LATE)
        send_stray(call, fault.late_ms);
    if (fault.kind == FAULT_ERROR)
        attempt_failed(call, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
    else if (fault.kind == FAULT_DROP || fault.kind == FAULT_LATE)
        attempt_failed(call,
                       err_unknown(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    return fault.kind != FAULT_NONE && fault.kind != FAULT_REPEAT;
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

/* After receiving: the answer is lost, the request is sent again behind it, or it is late.
 * True: the answer is handled. */
static bool fault_after(struct call *call, const uint8_t *body, size_t size)
{
    struct fault fault = failpoint("call", call->method, "after");

    if (fault.kind == FAULT_REPEAT)
        send_stray(call, 0);
    if (fault.kind == FAULT_NONE || fault.kind == FAULT_REPEAT)
        return false;
    if (fault.kind == FAULT_LATE) {
        struct late_answer *late = malloc(sizeof *late + size);
        assert(late != NULL);
        late->call = call;
        late->size = size;
        memcpy(late->body, body, size);
        struct err e = timer_after(fault.late_ms, on_late_answer, late);
        assert(!failed(e));
        return true;
    }
    attempt_failed(call, err_unknown(ERR_UNAVAILABLE, "a fault was armed here"));
    return true;
}
