/* call.c - a call's beginning, and its cancellation; see channel.h and call.h. */
#include "rpc/client/call.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/contract/trace.h"
#include "base/failpoint.h"
#include "rpc/common/timer.h"

enum {
    CANCEL_WAIT_MS = 1000,
    TOLD_ARENA_MAX = 64 << 10,
    TICKET_INDEX_BITS = 20,
};

/* ---------------------------------------------------------- beginning */

void call_free(struct call *call)
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
    if (nng_aio_alloc(&call->pause, call_on_paused, call) != 0) {
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
            call_enter(*out);
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
    if (call->tracestate != NULL && !printable_ascii(call->tracestate, TRACESTATE_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "a tracestate is at most %d printable characters",
                        TRACESTATE_MAX);
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

/* Copies the tracestate, if there is one. */
static bool keep_tracestate(struct call *call, const struct channel_call *from)
{
    if (from->tracestate == NULL || from->tracestate[0] == '\0')
        return true;
    call->tracestate = strdup(from->tracestate);
    return call->tracestate != NULL;
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
    if (keep_payload(call, from->request) && keep_metadata(call, from) &&
        keep_tracestate(call, from))
        call_attempt(call);
    else
        call_finish(call, err_memory(), NULL, false);
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
void call_tell_callee(const struct call *of)
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
    if (call == NULL) { /* not a ticket of ours */
        atomic_fetch_sub(&channel->inside, 1);
        return;
    }
    pthread_mutex_lock(&call->lock);
    if (cancel_request(&call->cancel, ticket >> TICKET_INDEX_BITS)) {
        lane_cancel(call);
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
    call_attempt(call);
}

/* Sends a call's request once more, now or late, with nobody waiting for its answer. */
void call_stray(const struct call *of, int64_t late_ms)
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

void call_stray(const struct call *of, int64_t late_ms)
{
    (void)of;
    (void)late_ms;
}

#endif
