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
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/ids.h"
#include "base/worker.h"
#include "rpc/endpoint.h"
#include "rpc/envelope.h"
#include "rpc/seal.h"
#include "rpc/server.h"
#include "rpc/timer.h"

enum {
    ADDRESSES_MAX = 16,
    SEND_WAIT_MS = 1000,    /* for a connection, before another address is tried */
    ATTEMPT_LEAST_MS = 250, /* given to an attempt when another address is connected */
    PAUSE_LEAST_MS = 5,
    PAUSE_MOST_MS = 500,
    REDIAL_EVERY_MS = 250,
    KEPT_PAYLOAD_MAX = 64 << 10, /* a larger buffer is freed with its call */
};

enum call_state { SENDING, RECEIVING };

struct call {
    struct channel *channel;
    struct call *next; /* free ones */
    nng_aio *aio;
    nng_aio *pause; /* of its own: in nng 1.5.2 an aio that has slept takes every later
                       time-out for success */
    enum call_state state;
    struct endpoint *endpoint; /* of the attempt; NULL between two */
    nng_ctx context;
    uint8_t nonce[SEAL_NONCE_SIZE];

    char method[ENVELOPE_METHOD_MAX + 1];
    char id[ENVELOPE_ID_MAX + 1];
    char traceparent[ENVELOPE_TRACEPARENT_MAX + 1];
    uint8_t *payload;
    size_t payload_size, payload_room;
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

struct channel {
    pthread_mutex_t lock;
    pthread_cond_t idle;
    struct call *free;
    struct call **calls; /* all ever made, at most in_flight_max */
    size_t call_count, in_flight, in_flight_max;
    size_t turn;
    atomic_bool closing;
    const struct key *key;
    const struct peer *callee;
    struct seal_session session;
    struct endpoint endpoints[ADDRESSES_MAX];
    size_t endpoint_count;
    struct worker *dialler;
};

static void attempt(struct call *call);

/* ---------------------------------------------------------- the end */

static struct err cancelled(void)
{
    return err_unknown(ERR_CANCELLED, "the channel was closed before the answer came");
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

/* The attempt is over; says how its address did.  The lock is held. */
static void leave_locked(struct call *call, bool well)
{
    if (well)
        endpoint_well(call->endpoint);
    else
        endpoint_failed(call->endpoint);
    endpoint_give_back(call->endpoint, call->context);
    call->endpoint = NULL;
}

static void leave(struct call *call, bool well)
{
    pthread_mutex_lock(&call->channel->lock);
    leave_locked(call, well);
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
    pthread_mutex_lock(&channel->lock);
    if (call->endpoint != NULL)
        leave_locked(call, !failed(e));
    call->next = channel->free;
    channel->free = call;
    channel->in_flight--;
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
                        call->channel->callee->name, failed(e) ? "; last: " : "",
                        call->error.message);
    else if (!failed(e))
        e = err_make(ERR_DEADLINE_EXCEEDED, "no time was left to call %s",
                     call->channel->callee->name);
    finish(call, e, NULL, false);
}

/* ---------------------------------------------------------- retrying */

/* Capped exponential backoff with full jitter: clients that failed together come back
 * apart. */
static void pause_then_retry(struct call *call)
{
    int64_t most = call->pause_ms;
    int64_t pause = 1 + (int64_t)randombytes_uniform((uint32_t)most);

    call->pause_ms = most * 2 < PAUSE_MOST_MS ? most * 2 : PAUSE_MOST_MS;
    if (pause >= clock_remaining_ms(call->deadline_ms)) {
        give_up(call);
        return;
    }
    if (atomic_load(&call->channel->closing)) {
        finish(call, cancelled(), NULL, false);
        return;
    }
    nng_sleep_aio((nng_duration)pause, call->pause);
}

/* Our own finding about an attempt that got no answer. */
static void attempt_failed(struct call *call, struct err e)
{
    leave(call, false);
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

    leave(call, !again);
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
    leave(call, false);
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
    bool opened = seal_open_response(body, size, call->nonce,
                                     call->channel->callee->shared, &text, &text_size);
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
        fail_for_good(call,
                      err_unknown(ERR_UNAUTHENTICATED,
                                  "the answer from %s is not sealed with %s's key",
                                  call->endpoint->url, call->channel->callee->name));
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

static void on_sent(struct call *call, int result)
{
    if (result != 0) {
        nng_msg_free(nng_aio_get_msg(call->aio));
        nng_aio_set_msg(call->aio, NULL);
        attempt_failed(
            call,
            err_make(ERR_UNAVAILABLE, "%s cannot be reached: %s", call->endpoint->url,
                     result == NNG_ETIMEDOUT ? "no connection" : nng_strerror(result)));
        return;
    }
    call->state = RECEIVING;
    nng_aio_set_timeout(call->aio, (nng_duration)answer_wait_ms(call));
    nng_ctx_recv(call->context, call->aio);
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
    } else if (result == NNG_ETIMEDOUT) {
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
    struct channel *channel = call->channel;
    const char *own = key_name(channel->key);
    Rpc__V1__Request request = RPC__V1__REQUEST__INIT;

    request.method = call->method;
    request.id = call->id;
    request.timeout_ms = (uint32_t)left_ms;
    request.traceparent = call->traceparent;
    request.sent_at_ms = clock_wall_ms();
    request.payload.data = call->payload;
    request.payload.len = call->payload_size;
    nng_msg *frame = envelope_pack(&request.base, seal_request_overhead(own));
    if (frame == NULL)
        return NULL;
    seal_session_next(&channel->session, call->nonce);
    seal_request(nng_msg_body(frame), nng_msg_len(frame), own, call->nonce,
                 channel->callee->shared);
    return frame;
}

/* Takes the best address and a context of its socket, if it can.  The lock is held. */
static void enter_locked(struct call *call)
{
    struct channel *channel = call->channel;

    struct endpoint *e =
        endpoint_pick(channel->endpoints, channel->endpoint_count, channel->turn++);

    call->endpoint = endpoint_take(e, &call->context) == 0 ? e : NULL;
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
        attempt_failed(call, err_unknown(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    return fault.kind != FAULT_NONE && fault.kind != FAULT_REPEAT;
}

static void attempt(struct call *call)
{
    int64_t left = clock_remaining_ms(call->deadline_ms);

    if (atomic_load(&call->channel->closing)) {
        finish(call, cancelled(), NULL, false);
        return;
    }
    if (left == 0) {
        give_up(call);
        return;
    }
    nng_msg *frame = seal_attempt(call, left);
    if (frame == NULL || !enter(call)) {
        nng_msg_free(frame);
        finish(call, err_memory(), NULL, false);
        return;
    }
    if (attempt_faulted(call)) {
        nng_msg_free(frame);
        return;
    }
    call->state = SENDING;
    nng_aio_set_msg(call->aio, frame);
    nng_aio_set_timeout(call->aio,
                        (nng_duration)(left < SEND_WAIT_MS ? left : SEND_WAIT_MS));
    nng_ctx_send(call->context, call->aio);
}

/* ---------------------------------------------------------- beginning */

static void call_free(struct call *call)
{
    if (call == NULL)
        return;
    nng_aio_free(call->pause); /* each waits until its callback is over */
    nng_aio_free(call->aio);
    free(call->payload);
    free(call);
}

static struct call *call_new(struct channel *channel)
{
    struct call *call = calloc(1, sizeof *call);

    if (call == NULL || nng_aio_alloc(&call->aio, on_aio, call) != 0 ||
        nng_aio_alloc(&call->pause, on_paused, call) != 0) {
        call_free(call);
        return NULL;
    }
    call->channel = channel;
    channel->calls[channel->call_count++] = call;
    return call;
}

/* A call's memory, counted as in flight, and the address of its first attempt. */
static struct err call_take(struct channel *channel, struct call **out)
{
    struct err e = ERR_NONE;

    pthread_mutex_lock(&channel->lock);
    if (atomic_load(&channel->closing)) {
        e = err_make(ERR_CANCELLED, "the channel to %s is closed", channel->callee->name);
    } else if (channel->in_flight == channel->in_flight_max) {
        e = err_make(ERR_RESOURCE_EXHAUSTED, "%zu calls to %s are in flight already",
                     channel->in_flight, channel->callee->name);
    } else {
        *out = channel->free;
        if (*out != NULL)
            channel->free = (*out)->next;
        else if ((*out = call_new(channel)) == NULL)
            e = err_memory();
        if (*out != NULL) {
            channel->in_flight++;
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

void channel_call(struct channel *channel, const struct channel_call *from,
                  channel_done *done, void *arg)
{
    struct call *call = NULL;
    struct err e = check_call(from);

    if (!failed(e))
        e = call_take(channel, &call);
    if (failed(e)) {
        done(arg, e, NULL, false);
        return;
    }
    fill(call, from, done, arg);
    if (keep_payload(call, from->request))
        attempt(call);
    else
        finish(call, err_memory(), NULL, false);
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

    if (from.arena == NULL || failed(call_take(of->channel, &call)))
        abort(); /* a test build has nothing better to say */
    fill(call, &from, on_stray_done, from.arena);
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

/* On a thread of its own, without the lock: closing a dialer waits for its callbacks. */
static void keep_dialling(void *arg)
{
    struct channel *channel = arg;

    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_keep_dialling(&channel->endpoints[i]);
}

static struct err open_endpoints(struct channel *channel, const char *addresses)
{
    char *list = strdup(addresses), *rest = list, *url;
    struct err e = list == NULL ? err_memory() : ERR_NONE;

    while (!failed(e) && (url = strsep(&rest, ",")) != NULL) {
        url += strspn(url, " ");
        url[strcspn(url, " ")] = '\0';
        if (channel->endpoint_count == ADDRESSES_MAX)
            e = err_make(ERR_INVALID_ARGUMENT, "a channel has at most %d addresses",
                         ADDRESSES_MAX);
        else
            e = endpoint_open(&channel->endpoints[channel->endpoint_count++], url,
                              channel->in_flight_max);
    }
    free(list);
    return e;
}

struct err channel_open(const struct channel_config *config, struct channel **out)
{
    const struct peer *callee =
        peers_find(config->services, config->service, strlen(config->service));

    if (callee == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "'%s' is not among the known services",
                        config->service);
    if (config->in_flight_max < 1)
        return err_make(ERR_INVALID_ARGUMENT, "a channel needs a call in flight");
    struct channel *channel = calloc(1, sizeof *channel);
    if (channel == NULL)
        return err_memory();
    pthread_mutex_init(&channel->lock, NULL);
    clock_cond_init(&channel->idle);
    atomic_init(&channel->closing, false);
    channel->key = config->key;
    channel->callee = callee;
    channel->in_flight_max = config->in_flight_max;
    seal_session_start(&channel->session, key_public(config->key), callee->public_key);
    channel->calls = calloc(config->in_flight_max, sizeof(struct call *));
    struct err e = channel->calls == NULL ? err_memory()
                                          : open_endpoints(channel, config->addresses);
    if (!failed(e))
        e = worker_start("dialler", REDIAL_EVERY_MS, keep_dialling, channel,
                         &channel->dialler);
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

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    worker_stop(channel->dialler);
    pthread_mutex_lock(&channel->lock);
    atomic_store(&channel->closing, true);
    pthread_mutex_unlock(&channel->lock);
    wait_idle(channel);
    for (size_t i = 0; i < channel->call_count; i++)
        call_free(channel->calls[i]);
    free(channel->calls);
    for (size_t i = 0; i < channel->endpoint_count; i++)
        endpoint_close(&channel->endpoints[i]);
    pthread_cond_destroy(&channel->idle);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}
