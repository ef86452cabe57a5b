/*
 * channel.c - see channel.h.
 *
 * A call goes through these states, one nng operation in each:
 *
 *      attempt -> SENDING --sent--> RECEIVING --answer--> done
 *         ^          |                  |
 *         |     nobody there       lost, too late, or told to come back
 *         |          |                  |
 *         +----------+---- PAUSING <----+       while there is time
 *
 * Each operation begins under the call's lock, if the call was not cancelled; whoever
 * cancels does so and ends the operation under it.  So no cancellation falls between two.
 *
 * What is known of the call's effect.  Nothing was sent: none.  Sent, and no answer came:
 * unknown, and it stays so until an attempt is answered for good.  An answer that only
 * tells of this attempt (marked as not run; overloaded, internal, ...) settles nothing
 * about an earlier one.
 *
 * A server that will not have us (an old list of callers, or no such method yet) need not
 * speak for its replicas: its address is rested, and its refusal is final when every
 * connected one has refused the call.
 *
 * A hung server must not eat the time of a call that a replica could answer: with another
 * address connected an attempt gets half of what remains, at least 250 ms; alone, all of
 * it.  A method that takes longer than half its deadline is then asked twice, which its
 * id makes safe.
 */
#include "rpc/channel.h"

#include <assert.h>
#include <nng/nng.h>
#include <pthread.h>
#include <sched.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cancel.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/ids.h"
#include "rpc/endpoint.h"
#include "rpc/envelope.h"
#include "rpc/seal.h"
#include "rpc/server.h"
#include "rpc/stats.h"
#include "rpc/timer.h"

enum {
    ADDRESSES_MAX = 16,
    IN_FLIGHT_MOST = 65536,
    SEND_WAIT_MS = 1000,    /* for a connection, before another address is tried */
    ATTEMPT_LEAST_MS = 250, /* given to an attempt when another address is connected */
    PAUSE_LEAST_MS = 5,
    PAUSE_MOST_MS = 500,
    KEPT_PAYLOAD_MAX = 64 << 10, /* a larger buffer is freed with its call */
    CANCELS_MAX = 8,             /* Cancel messages beside the calls in flight */
    CANCEL_WAIT_MS = 1000,
    TOLD_ARENA_MAX = 64 << 10,
    TICKET_INDEX_BITS = 20,
    STRAGGLERS_MS = 100, /* see settle */
};

enum call_state { SENDING, RECEIVING };

struct call {
    struct channel *channel;
    struct call *next; /* free ones */
    nng_aio *aio;
    nng_aio *pause; /* of its own: in nng 1.5.2 an aio that has slept takes every later
                       time-out for success */
    pthread_mutex_t lock; /* see above; the call's own, so hardly ever waited for */
    struct cancel cancel;
    size_t index; /* in channel->calls */
    enum call_state state;
    struct endpoint *pin;      /* the only address that will do, or NULL */
    struct endpoint *endpoint; /* of the attempt; NULL between two */
    struct callee *callee;     /* of the attempt */
    nng_ctx context;
    uint8_t nonce[SEAL_NONCE_SIZE];

    char method[ENVELOPE_METHOD_MAX + 1];
    char id[ENVELOPE_ID_MAX + 1];
    char traceparent[ENVELOPE_TRACEPARENT_MAX + 1];
    uint8_t *payload;
    size_t payload_size, payload_room;
    struct packed_metadata *metadata; /* NULL: none */
    int64_t begun_us;
    const ProtobufCMessageDescriptor *reply_type;
    struct arena *arena;
    int64_t deadline_ms;
    channel_done *done;
    void *arg;

    int64_t pause_ms; /* the most the next pause may take */
    bool unknown;     /* an attempt was sent and not answered for good */
    bool answered;    /* `error` is the callee's own */
    bool not_run;     /* the latest attempt was refused before its handler */
    struct err error; /* of the latest attempt */
    uint32_t refused; /* addresses that will not have us, a bit each */
};

/* Whose answers we accept, and the session our requests to it are sealed in. */
struct callee {
    struct peers *list; /* a share; what `peer` lives in */
    const struct peer *peer;
    struct seal_session session;
    size_t users; /* attempts, and the channel; under its lock */
};

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct call *free;
    struct call **calls; /* all ever made, at most in_flight_max */
    size_t call_count, in_flight, in_flight_max;
    size_t cancels; /* Cancel messages among those in flight; they take nobody's place */
    size_t turn;
    atomic_bool closing;
    atomic_bool stragglers; /* a request was sent and its answer given up */
    atomic_size_t inside;   /* threads in channel_call or channel_cancel */
    struct stats stats;
    struct counter *retries, *rested;
    const struct key *key;
    struct callee *callee;
    char service[KEY_NAME_MAX + 1];
    struct endpoint endpoints[ADDRESSES_MAX];
    size_t endpoint_count;
};

/* A call's metadata as the envelope wants it, in one block. */
struct packed_metadata {
    Rpc__V1__Metadata entries[ENVELOPE_METADATA_MAX];
    Rpc__V1__Metadata *list[ENVELOPE_METADATA_MAX];
    size_t count;
    char texts[]; /* keys and values */
};

static void attempt(struct call *call);
static void tell_callee(const struct call *call);

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
static void callee_leave(struct callee *callee)
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
    endpoint_give_back(call->endpoint, call->context);
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
    finish(call, e, NULL, false);
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
        finish(call, cancelled(), NULL, false);
        return;
    }
    counter_add(call->channel->retries, 1);
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_asked(&call->cancel);
    if (!cancelled_meanwhile)
        nng_sleep_aio((nng_duration)pause, call->pause);
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile)
        finish(call, called_off(), NULL, false);
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
        if ((call->refused >> i & 1) == 0 &&
            atomic_load(&channel->endpoints[i].connected) > 0)
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
        finish(call, e, NULL, response->replayed);
}

/* ---------------------------------------------------------- the answer */

/* Ends the call with what is not worth a retry: the next attempt would see the same. */
static void fail_for_good(struct call *call, struct err e)
{
    leave(call, ENDPOINT_FAILED);
    finish(call, e, NULL, false);
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
    finish(call, e, reply, response->replayed);
}

static void take_answer(struct call *call, nng_msg *frame)
{
    uint8_t *body = nng_msg_body(frame), *text = NULL;
    size_t size = nng_msg_len(frame), text_size = 0;
    struct err refused;
    Rpc__V1__Response *response = NULL;

    if (seal_is_refusal(body, size, &refused)) {
        nng_msg_free(frame);
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
    nng_msg_free(frame);
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

/* ---------------------------------------------------------- nng's side */

static bool another_connected(const struct channel *channel, const struct endpoint *than)
{
    for (size_t i = 0; i < channel->endpoint_count; i++)
        if (&channel->endpoints[i] != than &&
            atomic_load(&channel->endpoints[i].connected) > 0)
            return true;
    return false;
}

static int64_t answer_wait_ms(const struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);
    int64_t share = left / 2 > ATTEMPT_LEAST_MS ? left / 2 : ATTEMPT_LEAST_MS;

    return share < left && another_connected(call->channel, call->endpoint) ? share
                                                                            : left;
}

/* The call was cancelled in the middle of an attempt, which says nothing of its address.
 */
static void end_cancelled(struct call *call, bool sent)
{
    struct err e = called_off();

    if (sent) {
        atomic_store(&call->channel->stragglers, true);
        tell_callee(call);
        e.effect = EFFECT_UNKNOWN;
    }
    leave(call, ENDPOINT_NOT_SAID);
    finish(call, e, NULL, false);
}

static void on_sent(struct call *call, int result)
{
    if (result != 0) {
        nng_msg_free(nng_aio_get_msg(call->aio));
        nng_aio_set_msg(call->aio, NULL);
        if (cancel_asked(&call->cancel)) {
            end_cancelled(call, false);
            return;
        }
        attempt_failed(
            call,
            err_make(ERR_UNAVAILABLE, "%s cannot be reached: %s", call->endpoint->url,
                     result == NNG_ETIMEDOUT ? "no connection" : nng_strerror(result)));
        return;
    }
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_asked(&call->cancel);
    if (!cancelled_meanwhile) {
        call->state = RECEIVING;
        nng_aio_set_timeout(call->aio, (nng_duration)answer_wait_ms(call));
        nng_ctx_recv(call->context, call->aio);
    }
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile)
        end_cancelled(call, true);
}

static void stray(const struct call *of, int64_t late_ms);

struct late_answer {
    struct call *call;
    nng_msg *frame;
};

static void on_late_answer(void *arg)
{
    struct late_answer *late = arg;

    take_answer(late->call, late->frame);
    free(late);
}

/*
 * Faults of test builds, after receiving: the answer is lost, the request is sent again
 * behind it, or it is late.  True: the frame was dealt with.
 */
static bool answer_faulted(struct call *call, nng_msg *frame)
{
    struct fault fault = failpoint("call", call->method, "after");
    struct late_answer *late;
    struct err e;

    switch (fault.kind) {
    case FAULT_NONE:
        return false;
    case FAULT_REPEAT:
        stray(call, 0);
        return false;
    case FAULT_LATE:
        late = malloc(sizeof *late);
        assert(late != NULL);
        *late = (struct late_answer){call, frame};
        e = timer_after(fault.late_ms, on_late_answer, late);
        assert(!failed(e));
        return true;
    case FAULT_ERROR:
    case FAULT_DROP:
        break;
    }
    nng_msg_free(frame);
    attempt_failed(call, err_unknown(ERR_UNAVAILABLE, "a fault was armed here"));
    return true;
}

static void on_received(struct call *call, int result)
{
    if (result == 0) {
        nng_msg *frame = nng_aio_get_msg(call->aio);
        nng_aio_set_msg(call->aio, NULL);
        if (!answer_faulted(call, frame))
            take_answer(call, frame);
    } else if (cancel_asked(&call->cancel)) {
        end_cancelled(call, true);
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

static void on_aio(void *arg)
{
    struct call *call = arg;
    int result = nng_aio_result(call->aio);

    if (call->state == SENDING)
        on_sent(call, result);
    else
        on_received(call, result);
}

static void on_paused(void *arg)
{
    attempt(arg);
}

/* ---------------------------------------------------------- attempting */

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

/* Takes the best address and a context of its socket, if it can.  The lock is held. */
static void enter_locked(struct call *call)
{
    struct channel *channel = call->channel;

    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_keep_dialling(&channel->endpoints[i]);
    struct endpoint *e =
        call->pin != NULL
            ? call->pin
            : endpoint_pick(channel->endpoints, channel->endpoint_count, channel->turn++);

    call->endpoint = endpoint_take(e, &call->context) == 0 ? e : NULL;
    if (call->endpoint == NULL)
        return;
    call->callee = channel->callee;
    call->callee->users++;
}

/* The first attempt's address was taken with the call. */
static bool enter(struct call *call)
{
    if (call->endpoint != NULL)
        return true;
    pthread_mutex_lock(&call->channel->lock);
    enter_locked(call);
    pthread_mutex_unlock(&call->channel->lock);
    return call->endpoint != NULL;
}

static void stray(const struct call *of, int64_t late_ms);

/*
 * Faults of test builds, before sending: nobody is there; the message is lost; it is sent
 * twice; or it is taken for lost and arrives late.  True: the attempt has failed.
 */
static bool attempt_faulted(struct call *call)
{
    struct fault fault = failpoint("call", call->method, "before");

    if (fault.kind == FAULT_REPEAT || fault.kind == FAULT_LATE)
        stray(call, fault.late_ms);
    if (fault.kind == FAULT_ERROR)
        attempt_failed(call, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
    else if (fault.kind == FAULT_DROP || fault.kind == FAULT_LATE)
        attempt_failed(call,
                       err_unknown(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    return fault.kind != FAULT_NONE && fault.kind != FAULT_REPEAT;
}

static void attempt(struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (atomic_load(&call->channel->closing)) {
        finish(call, cancelled(), NULL, false);
        return;
    }
    if (cancel_asked(&call->cancel)) {
        finish(call, called_off(), NULL, false);
        return;
    }
    if (left == 0) {
        give_up(call);
        return;
    }
    nng_msg *frame = enter(call) ? seal_attempt(call, left) : NULL;
    if (frame == NULL) {
        if (call->endpoint != NULL)
            leave(call, ENDPOINT_NOT_SAID);
        finish(call, err_memory(), NULL, false);
        return;
    }
    if (attempt_faulted(call)) {
        nng_msg_free(frame);
        return;
    }
    pthread_mutex_lock(&call->lock);
    bool cancelled_meanwhile = cancel_asked(&call->cancel);
    if (!cancelled_meanwhile) {
        call->state = SENDING;
        nng_aio_set_msg(call->aio, frame);
        nng_aio_set_timeout(call->aio,
                            (nng_duration)(left < SEND_WAIT_MS ? left : SEND_WAIT_MS));
        nng_ctx_send(call->context, call->aio);
    }
    pthread_mutex_unlock(&call->lock);
    if (cancelled_meanwhile) {
        nng_msg_free(frame);
        end_cancelled(call, false);
    }
}

/* ---------------------------------------------------------- beginning */

static void call_free(struct call *call)
{
    if (call == NULL)
        return;
    nng_aio_free(call->pause); /* each waits until its callback is over */
    nng_aio_free(call->aio);
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
    if (nng_aio_alloc(&call->aio, on_aio, call) != 0 ||
        nng_aio_alloc(&call->pause, on_paused, call) != 0) {
        call_free(call);
        return NULL;
    }
    call->channel = channel;
    call->index = channel->call_count;
    channel->calls[channel->call_count++] = call;
    return call;
}

/* A call's memory, counted as in flight, and the address of its first attempt: `pin`, or
 * when that is NULL the best. */
static struct err call_take(struct channel *channel, struct endpoint *pin,
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
            enter_locked(*out);
        }
    }
    pthread_mutex_unlock(&channel->lock);
    return e;
}

static struct err check_call(const struct channel_call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (!visible_ascii(call->method, 3, ENVELOPE_METHOD_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "a method is 3 to %d visible ASCII characters",
                        ENVELOPE_METHOD_MAX);
    if (call->id != NULL && !visible_ascii(call->id, 1, ENVELOPE_ID_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "a call's id is 1 to %d visible ASCII characters",
                        ENVELOPE_ID_MAX);
    if (call->traceparent != NULL &&
        !visible_ascii(call->traceparent, 0, ENVELOPE_TRACEPARENT_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "a traceparent is at most %d visible characters",
                        ENVELOPE_TRACEPARENT_MAX);
    struct err e = envelope_check_metadata(call->metadata, call->metadata_count);
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

/* Packs the request into the call's own memory: it is needed for every attempt. */
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
    call->payload_size = size == 0 ? 0 : protobuf_c_message_pack(request, call->payload);
    return true;
}

/* Copies the metadata into one block, for every attempt. */
static bool keep_metadata(struct call *call, const struct channel_call *from)
{
    size_t size = 0;

    if (from->metadata_count == 0)
        return true;
    for (size_t i = 0; i < from->metadata_count; i++)
        size += strlen(from->metadata[i].key) + strlen(from->metadata[i].value) + 2;
    struct packed_metadata *m = malloc(sizeof *m + size);
    if (m == NULL)
        return false;
    char *at = m->texts;
    m->count = from->metadata_count;
    for (size_t i = 0; i < m->count; i++) {
        rpc__v1__metadata__init(&m->entries[i]);
        m->list[i] = &m->entries[i];
        m->entries[i].key = at;
        at = stpcpy(at, from->metadata[i].key) + 1;
        m->entries[i].value = at;
        at = stpcpy(at, from->metadata[i].value) + 1;
    }
    call->metadata = m;
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
             from->traceparent == NULL ? "" : from->traceparent);
    call->reply_type = from->reply_type;
    call->arena = from->arena;
    call->deadline_ms = from->deadline_ms;
    call->done = done;
    call->arg = arg;
    call->pause_ms = PAUSE_LEAST_MS;
    call->unknown = call->answered = call->not_run = false;
    call->refused = 0;
    call->error = ERR_NONE;
}

/* Begins the call that was taken; the ticket stays good until its end. */
static channel_ticket begin(struct call *call, const struct channel_call *from,
                            channel_done *done, void *arg)
{
    fill(call, from, done, arg);
    call->begun_us = stats_begin(&call->channel->stats);
    cancel_begin(&call->cancel);
    channel_ticket ticket =
        cancel_token(&call->cancel) << TICKET_INDEX_BITS | (call->index + 1);
    if (keep_payload(call, from->request) && keep_metadata(call, from))
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

/* ---------------------------------------------------------- cancelling */

static void on_told(void *arena, struct err error, const ProtobufCMessage *reply,
                    bool replayed)
{
    (void)error; /* it was a courtesy */
    (void)reply;
    (void)replayed;
    arena_free(arena);
}

/* Tells the server that has the call's request that nobody waits for its answer. */
static void tell_callee(const struct call *of)
{
    Rpc__V1__CancelRequest request = RPC__V1__CANCEL_REQUEST__INIT;
    struct call *call = NULL;
    const struct channel_call from = {
        .method = "rpc.v1.Calls/Cancel",
        .request = &request.base,
        .reply_type = &rpc__v1__cancel_reply__descriptor,
        .arena = arena_new(TOLD_ARENA_MAX),
        .deadline_ms = clock_monotonic_ms() + CANCEL_WAIT_MS,
    };

    request.id = (char *)of->id;
    if (from.arena == NULL || failed(call_take(of->channel, of->endpoint, &call)))
        arena_free(from.arena);
    else
        begin(call, &from, on_told, from.arena);
}

void channel_cancel(struct channel *channel, channel_ticket ticket)
{
    size_t index = ticket & ((1U << TICKET_INDEX_BITS) - 1);

    if (index == 0)
        return;
    atomic_fetch_add(&channel->inside, 1);
    pthread_mutex_lock(&channel->lock);
    struct call *call = index <= channel->call_count ? channel->calls[index - 1] : NULL;
    pthread_mutex_unlock(&channel->lock);
    assert(call != NULL);
    pthread_mutex_lock(&call->lock);
    if (cancel_ask(&call->cancel, ticket >> TICKET_INDEX_BITS)) {
        nng_aio_cancel(call->aio);
        nng_aio_cancel(call->pause);
    }
    pthread_mutex_unlock(&call->lock);
    atomic_fetch_sub(&channel->inside, 1);
}

/* ---------------------------------------------------------- faults */

#ifdef CHECKOUT_FAILPOINTS

static void on_stray_done(void *arena, struct err error, const ProtobufCMessage *reply,
                          bool replayed)
{
    (void)error;
    (void)reply;
    (void)replayed;
    arena_free(arena);
}

static void on_stray_time(void *call)
{
    attempt(call);
}

/* Sends a call's request once more, now or late, with nobody waiting for its answer. */
static void stray(const struct call *of, int64_t late_ms)
{
    struct channel_call from = {
        .method = of->method,
        .id = of->id,
        .traceparent = of->traceparent,
        .reply_type = of->reply_type,
        .arena = arena_new(RPC_ARENA_MAX),
        .deadline_ms = clock_monotonic_ms() + late_ms + 2000,
    };
    struct call *call = NULL;

    if (from.arena == NULL || failed(call_take(of->channel, NULL, &call)))
        abort(); /* a test build has nothing better to say */
    fill(call, &from, on_stray_done, from.arena);
    call->begun_us = stats_begin(&call->channel->stats);
    call->payload = realloc(call->payload, of->payload_size + 1);
    assert(call->payload != NULL);
    memcpy(call->payload, of->payload, of->payload_size);
    call->payload_size = of->payload_size;
    call->payload_room = of->payload_size + 1;
    struct err e = timer_after(late_ms, on_stray_time, call);
    assert(!failed(e));
}

#else

static void stray(const struct call *of, int64_t late_ms)
{
    (void)of;
    (void)late_ms;
}

#endif

/* ---------------------------------------------------------- lifecycle */

static struct err open_endpoints(struct channel *channel,
                                 const struct channel_config *config)
{
    char *list = strdup(config->addresses), *rest = list, *url;
    struct err e = list == NULL ? err_memory() : ERR_NONE;

    while (!failed(e) && (url = strsep(&rest, ",")) != NULL) {
        url += strspn(url, " ");
        url[strcspn(url, " ")] = '\0';
        if (channel->endpoint_count == ADDRESSES_MAX)
            e = err_make(ERR_INVALID_ARGUMENT, "a channel has at most %d addresses",
                         ADDRESSES_MAX);
        else
            e = endpoint_open(&channel->endpoints[channel->endpoint_count++], url,
                              &config->tls, channel->in_flight_max + CANCELS_MAX);
    }
    free(list);
    return e;
}

static void open_metrics(struct channel *channel, const struct channel_config *config)
{
    char label[METRIC_LABELS_SIZE];

    snprintf(label, sizeof label, "service=%s", config->service);
    stats_open(&channel->stats, config->metrics, "rpc_client", label);
    channel->retries = metrics_counter(config->metrics, "rpc_client_retries", label);
    channel->rested =
        metrics_counter(config->metrics, "rpc_client_failed_attempts", label);
}

/* The service as the list has it, and a new session with it. */
static struct err callee_new(const struct channel *channel, const struct peers *services,
                             struct callee **out)
{
    const struct peer *peer =
        peers_find(services, channel->service, strlen(channel->service));

    if (peer == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "'%s' is not among the known services",
                        channel->service);
    struct callee *callee = calloc(1, sizeof *callee);
    if (callee == NULL)
        return err_memory();
    callee->list = peers_share(services);
    callee->peer = peer;
    callee->users = 1;
    seal_session_start(&callee->session, key_public(channel->key), peer->public_key);
    *out = callee;
    return ERR_NONE;
}

struct err channel_set_services(struct channel *channel, const struct peers *services)
{
    struct callee *callee;
    struct err e = callee_new(channel, services, &callee);

    if (failed(e))
        return e;
    pthread_mutex_lock(&channel->lock);
    struct callee *before = channel->callee;
    channel->callee = callee;
    callee_leave(before);
    pthread_mutex_unlock(&channel->lock);
    return ERR_NONE;
}

static struct channel *channel_new(const struct channel_config *config)
{
    struct channel *channel = calloc(1, sizeof *channel);

    if (channel == NULL)
        return NULL;
    pthread_mutex_init(&channel->lock, NULL);
    clock_cond_init(&channel->idle);
    atomic_init(&channel->closing, false);
    channel->key = config->key;
    channel->in_flight_max = config->in_flight_max;
    snprintf(channel->service, sizeof channel->service, "%s", config->service);
    open_metrics(channel, config);
    channel->calls = calloc(config->in_flight_max + CANCELS_MAX, sizeof(struct call *));
    return channel;
}

struct err channel_open(const struct channel_config *config, struct channel **out)
{
    if (config->in_flight_max < 1 || config->in_flight_max > IN_FLIGHT_MOST)
        return err_make(ERR_INVALID_ARGUMENT, "a channel has 1 to %d calls in flight",
                        IN_FLIGHT_MOST);
    struct channel *channel = channel_new(config);
    if (channel == NULL)
        return err_memory();
    struct err e = channel->calls == NULL
                       ? err_memory()
                       : callee_new(channel, config->services, &channel->callee);
    if (!failed(e))
        e = open_endpoints(channel, config);
    if (failed(e)) {
        channel_close(channel);
        return e;
    }
    *out = channel;
    return ERR_NONE;
}

/* Ends what every call waits for.  One between two waits is missed: asked repeatedly. */
static void abort_all(struct channel *channel)
{
    for (size_t i = 0; i < channel->call_count; i++) {
        nng_aio_cancel(channel->calls[i]->aio);
        nng_aio_cancel(channel->calls[i]->pause);
    }
}

static void wait_idle(struct channel *channel)
{
    const int64_t step_ms = 10;

    pthread_mutex_lock(&channel->lock);
    while (channel->in_flight > 0) {
        pthread_mutex_unlock(&channel->lock);
        abort_all(channel);
        pthread_mutex_lock(&channel->lock);
        if (channel->in_flight > 0)
            clock_cond_wait(&channel->idle, &channel->lock,
                            clock_monotonic_ms() + step_ms);
    }
    pthread_mutex_unlock(&channel->lock);
}

/*
 * A connection of nng 1.5.2 that is closed just when an answer begins to arrive (its
 * length is read, the rest is not) waits for that answer's end for ever, and with it
 * everything of nng in the process that is still to be closed.  So when answers may be on
 * their way that nobody waits for, they are given a moment to arrive.
 */
static void settle(const struct channel *channel)
{
    if (atomic_load(&channel->stragglers))
        nanosleep(&(struct timespec){.tv_nsec = STRAGGLERS_MS * 1000000}, NULL);
}

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    atomic_store(&channel->closing, true);
    if (channel->in_flight > 0)
        atomic_store(&channel->stragglers, true);
    pthread_mutex_unlock(&channel->lock);
    wait_idle(channel);
    settle(channel);
    while (atomic_load(&channel->inside) > 0) /* a caller on its way out */
        sched_yield();
    for (size_t i = 0; i < channel->call_count; i++)
        call_free(channel->calls[i]);
    free(channel->calls);
    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_close(&channel->endpoints[i]);
    callee_leave(channel->callee);
    pthread_cond_destroy(&channel->idle);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}
