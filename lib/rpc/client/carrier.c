/* carrier.c - see lane.h and carrying.h: the messages. */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/cork.h"
#include "rpc/client/carrying.h"

enum { SEND_WAIT_MS = 1000 }; /* for a connection, before another address is tried */

/* ---------------------------------------------------------- carriers */

static void on_aio(void *carrier);

void carrier_free(struct carrier *carrier)
{
    nng_aio_free(carrier->aio); /* waits until its callback is over */
    free(carrier);
}

static struct carrier *carrier_new(struct lane *lane)
{
    struct carrier *carrier = calloc(1, sizeof *carrier);

    if (carrier == NULL)
        return NULL;
    carrier->lane = lane;
    TAILQ_INIT(&carrier->calls);
    if (nng_aio_alloc(&carrier->aio, on_aio, carrier) != 0 ||
        nng_ctx_open(&carrier->context, lane->endpoint->socket) != 0) {
        carrier_free(carrier);
        return NULL;
    }
    lane->carriers[lane->carrier_count++] = carrier;
    return carrier;
}

/* NULL: as many as there may be are under way, or memory is short.  The lock is held. */
static struct carrier *carrier_take(struct lane *lane)
{
    struct carrier *carrier = lane->free;

    if (carrier != NULL)
        lane->free = carrier->next;
    else if (lane->carrier_count < CARRIERS_MAX)
        carrier = carrier_new(lane);
    lane->under_way += carrier != NULL;
    return carrier;
}

/* The lock is held. */
static void carrier_give_back(struct carrier *carrier)
{
    assert(TAILQ_EMPTY(&carrier->calls));
    carrier->next = carrier->lane->free;
    carrier->lane->free = carrier;
    carrier->lane->under_way--;
}

/* ---------------------------------------------------------- sending */

/* A message of what is queued, whose calls move to the carrier; NULL, and nothing moved, when
 * memory is short.  The lock is held. */
static nng_msg *load(struct lane *lane, struct carrier *carrier)
{
    struct call *call;

    for (size_t count = 0; count < BUNDLE_FRAMES_MAX; count++) {
        if ((call = TAILQ_FIRST(&lane->queued)) == NULL)
            break;
        size_t size = nng_msg_len(call->frame);
        if (lane->bundle.size + BUNDLE_ENTRY + size >= BUNDLE_MAX ||
            !bundle_add(&lane->bundle, call->wire_id, nng_msg_body(call->frame), size))
            break;
        TAILQ_REMOVE(&lane->queued, call, beside);
        TAILQ_INSERT_TAIL(&carrier->calls, call, beside);
    }
    nng_msg *message = bundle_take(&lane->bundle);
    if (message == NULL) {
        lane->bundle.size = 0;
        TAILQ_CONCAT(&carrier->calls, &lane->queued, beside);
        TAILQ_CONCAT(&lane->queued, &carrier->calls, beside);
    }
    return message;
}

/* Marks the calls of a loaded carrier; gives the time until the first is late.  The lock is
 * held. */
static int64_t depart(struct carrier *carrier)
{
    int64_t by_ms = INT64_MAX;
    struct call *call;

    TAILQ_FOREACH (call, &carrier->calls, beside) {
        nng_msg_free(call->frame);
        call->frame = NULL;
        call->place = LANE_SENDING;
        call->carrier = carrier;
        if (call->answer_by_ms < by_ms)
            by_ms = call->answer_by_ms;
    }
    return clock_remaining_ms(by_ms);
}

/* Sends one message with what is queued, if it can; false when it cannot.  The lock is held.
 */
static bool send_one(struct lane *lane)
{
    struct carrier *carrier = carrier_take(lane);

    if (carrier == NULL)
        return false;
    nng_msg *message = load(lane, carrier);
    if (message == NULL) {
        carrier_give_back(carrier);
        sweeper_want(&lane->channel->sweeper, clock_monotonic_ms() + AGAIN_MS);
        return false;
    }
    int64_t left = depart(carrier);
    carrier->receiving = false;
    nng_aio_set_msg(carrier->aio, message);
    nng_aio_set_timeout(carrier->aio,
                        (nng_duration)(left < SEND_WAIT_MS ? left : SEND_WAIT_MS));
    nng_ctx_send(carrier->context, carrier->aio);
    return true;
}

void lane_flush(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (!TAILQ_EMPTY(&lane->queued) && send_one(lane))
        ;
    pthread_mutex_unlock(&lane->lock);
}

static void on_uncorked(void *arg)
{
    struct lane *lane = arg;

    lane_flush(lane);
    atomic_fetch_sub(&lane->channel->inside, 1);
}

void lane_send(struct lane *lane)
{
    switch (cork_hold(on_uncorked, lane)) {
    case CORK_NONE:
        lane_flush(lane);
        break;
    case CORK_NEW:
        atomic_fetch_add(&lane->channel->inside, 1);
        break;
    case CORK_HELD:
        break;
    }
}

void lane_see_to_it_that_one_is_owed(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->sent > 0 && lane->under_way == 0)
        send_one(lane);
    pthread_mutex_unlock(&lane->lock);
}

/* ---------------------------------------------------------- receiving */

/* What came is no bundle: it is taken for the answer to each call the carrier took along. */
static void take_plain(struct carrier *carrier, nng_msg *message)
{
    struct lane *lane = carrier->lane;
    struct calls calls = TAILQ_HEAD_INITIALIZER(calls);
    struct call *call;

    pthread_mutex_lock(&lane->lock);
    lane_take_out_all(&carrier->calls, &calls);
    pthread_mutex_unlock(&lane->lock);
    while ((call = TAILQ_FIRST(&calls)) != NULL) {
        TAILQ_REMOVE(&calls, call, beside);
        call_answered(call, nng_msg_body(message), nng_msg_len(message));
    }
}

static void take_bundle(struct lane *lane, nng_msg *message)
{
    struct bundle_reader reader =
        bundle_read(nng_msg_body(message), nng_msg_len(message));
    uint32_t id;
    uint8_t *frame;
    size_t size;

    while (bundle_next(&reader, &id, &frame, &size)) {
        struct call *call = lane_find(lane, id);
        if (call != NULL)
            call_answered(call, frame, size);
    }
}

/* The calls the carrier took along now wait for what others bring. */
static void set_adrift(struct carrier *carrier, uint32_t pipe)
{
    struct lane *lane = carrier->lane;
    struct call *call;

    pthread_mutex_lock(&lane->lock);
    while ((call = TAILQ_FIRST(&carrier->calls)) != NULL) {
        TAILQ_REMOVE(&carrier->calls, call, beside);
        TAILQ_INSERT_TAIL(&lane->adrift, call, beside);
        call->carrier = NULL;
        call->pipe = pipe;
        if (pipe != lane->pipe)
            sweeper_want(&lane->channel->sweeper, 0);
    }
    pthread_mutex_unlock(&lane->lock);
}

static void on_received(struct carrier *carrier, nng_msg *message)
{
    struct lane *lane = carrier->lane;
    size_t size = nng_msg_len(message);
    bool empty = size == 1;

    cork_begin();
    if (bundle_valid(nng_msg_body(message), size, SIZE_MAX)) {
        set_adrift(carrier, (uint32_t)nng_pipe_id(nng_msg_get_pipe(message)));
        take_bundle(lane, message);
    } else {
        take_plain(carrier, message);
    }
    nng_msg_free(message);
    pthread_mutex_lock(&lane->lock);
    carrier_give_back(carrier);
    pthread_mutex_unlock(&lane->lock);
    lane_flush(lane);
    if (empty)
        sweeper_want(&lane->channel->sweeper, clock_monotonic_ms() + AGAIN_MS);
    else
        lane_see_to_it_that_one_is_owed(lane);
    cork_end();
}

static void on_sent(struct carrier *carrier)
{
    struct lane *lane = carrier->lane;
    struct call *call;

    pthread_mutex_lock(&lane->lock);
    carrier->receiving = true;
    TAILQ_FOREACH (call, &carrier->calls, beside) {
        call->place = LANE_SENT;
        lane->sent++;
        if (cancel_requested(&call->cancel))
            sweeper_want(&lane->channel->sweeper, 0);
    }
    nng_aio_set_timeout(carrier->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(carrier->context, carrier->aio);
    pthread_mutex_unlock(&lane->lock);
}

/* The message was not sent, or what it should have brought back never comes. */
static void on_failed(struct carrier *carrier, int result)
{
    struct lane *lane = carrier->lane;
    struct calls calls = TAILQ_HEAD_INITIALIZER(calls);
    bool was_sent = carrier->receiving;

    nng_msg_free(nng_aio_get_msg(carrier->aio));
    nng_aio_set_msg(carrier->aio, NULL);
    pthread_mutex_lock(&lane->lock);
    lane_take_out_all(&carrier->calls, &calls);
    carrier_give_back(carrier);
    pthread_mutex_unlock(&lane->lock);
    lane_tell_all(&calls, was_sent ? call_lost : call_unsent, result);
    if (result != NNG_ECLOSED)
        lane_flush(lane);
}

static void on_aio(void *arg)
{
    struct carrier *carrier = arg;
    int result = nng_aio_result(carrier->aio);

    if (result != 0) {
        on_failed(carrier, result);
    } else if (!carrier->receiving) {
        on_sent(carrier);
    } else {
        nng_msg *message = nng_aio_get_msg(carrier->aio);
        nng_aio_set_msg(carrier->aio, NULL);
        on_received(carrier, message);
    }
}
