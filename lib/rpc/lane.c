/* lane.c - see lane.h. */
#include "rpc/lane.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/cork.h"
#include "rpc/bundle.h"
#include "rpc/call.h"
#include "rpc/sweeper.h"

enum {
    CARRIERS_MAX = 64,   /* messages under way; past them calls wait in the queue */
    FRAMES_MAX = 256,    /* in one message; a server takes no more */
    SEND_WAIT_MS = 1000, /* for a connection, before another address is tried */
    AGAIN_MS = 10, /* after a message that came back empty, or memory that was short */
    BY_ID = 1024,
};

TAILQ_HEAD(calls, call);

/* A message under way, and the one it brings back. */
struct carrier {
    struct lane *lane;
    struct carrier *next; /* free ones */
    nng_aio *aio;
    nng_ctx context;
    bool receiving;
    struct calls calls; /* that it took along and that are not answered */
};

struct lane {
    struct channel *channel;
    struct endpoint *endpoint;
    pthread_mutex_t lock; /* guards what follows */
    struct calls queued;
    struct calls adrift; /* sent; the message that took them along has come back */
    size_t sent;         /* calls that are SENT */
    uint32_t next_id;
    struct call *by_id[BY_ID]; /* all of the lane's calls, chained */
    uint32_t pipe;             /* the connection that stands, or 0 */
    struct bundle bundle;
    struct carrier *carriers[CARRIERS_MAX];
    struct carrier *free;
    size_t carrier_count, under_way;
};

/* ---------------------------------------------------------- carriers */

static void on_aio(void *carrier);

static void carrier_free(struct carrier *carrier)
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

/* ---------------------------------------------------------- life */

struct err lane_open(struct channel *channel, struct endpoint *endpoint,
                     struct lane **out)
{
    struct lane *lane = calloc(1, sizeof *lane);

    if (lane == NULL)
        return err_memory();
    lane->channel = channel;
    lane->endpoint = endpoint;
    pthread_mutex_init(&lane->lock, NULL);
    TAILQ_INIT(&lane->queued);
    TAILQ_INIT(&lane->adrift);
    *out = lane;
    return ERR_NONE;
}

void lane_close(struct lane *lane)
{
    if (lane == NULL)
        return;
    for (size_t i = 0; i < lane->carrier_count; i++)
        carrier_free(lane->carriers[i]);
    bundle_free(&lane->bundle);
    pthread_mutex_destroy(&lane->lock);
    free(lane);
}

/* ---------------------------------------------------------- calls */

static struct calls *list_of(struct call *call)
{
    if (call->place == LANE_QUEUED)
        return &call->lane->queued;
    return call->carrier != NULL ? &call->carrier->calls : &call->lane->adrift;
}

static struct call **chain_of(struct lane *lane, uint32_t id)
{
    return &lane->by_id[id % BY_ID];
}

/* Takes the call out of its lane: from here on it is the taker's.  The lock is held. */
static void take_out(struct call *call)
{
    struct call **link = chain_of(call->lane, call->wire_id);

    while (*link != call)
        link = &(*link)->chained;
    *link = call->chained;
    TAILQ_REMOVE(list_of(call), call, beside);
    call->lane->sent -= call->place == LANE_SENT;
    nng_msg_free(call->frame);
    call->frame = NULL;
    call->place = LANE_OUT;
    call->carrier = NULL;
}

/* Takes out all of the list, into another.  The lock is held. */
static void take_out_all(struct calls *from, struct calls *to)
{
    struct call *call;

    while ((call = TAILQ_FIRST(from)) != NULL) {
        take_out(call);
        TAILQ_INSERT_TAIL(to, call, beside);
    }
}

/* Tells each of the list; whoever is told is no longer of it. */
static void tell_all(struct calls *calls, void (*tell)(struct call *call, int result),
                     int result)
{
    struct call *call;

    cork_begin();
    while ((call = TAILQ_FIRST(calls)) != NULL) {
        TAILQ_REMOVE(calls, call, beside);
        tell(call, result);
    }
    cork_end();
}

void lane_add(struct lane *lane, struct call *call)
{
    int64_t by_ms = call->answer_by_ms;

    pthread_mutex_lock(&lane->lock);
    call->lane = lane;
    call->carrier = NULL;
    call->place = LANE_QUEUED;
    call->wire_id = lane->next_id++;
    call->chained = *chain_of(lane, call->wire_id);
    *chain_of(lane, call->wire_id) = call;
    TAILQ_INSERT_TAIL(&lane->queued, call, beside);
    pthread_mutex_unlock(&lane->lock);
    sweeper_want(&lane->channel->sweeper, by_ms);
}

void lane_cancel(struct call *call)
{
    struct lane *lane = call->lane;

    if (lane == NULL)
        return;
    pthread_mutex_lock(&lane->lock);
    if (call->place == LANE_SENDING)
        nng_aio_cancel(call->carrier->aio);
    else if (call->place != LANE_OUT)
        sweeper_want(&lane->channel->sweeper, 0);
    pthread_mutex_unlock(&lane->lock);
}

/* ---------------------------------------------------------- sending */

/* A message of what is queued, whose calls move to the carrier; NULL, and nothing moved, when
 * memory is short.  The lock is held. */
static nng_msg *load(struct lane *lane, struct carrier *carrier)
{
    struct call *call;

    for (size_t count = 0; count < FRAMES_MAX; count++) {
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

    TAILQ_FOREACH(call, &carrier->calls, beside)
    {
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

static void flush(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    while (!TAILQ_EMPTY(&lane->queued) && send_one(lane))
        ;
    pthread_mutex_unlock(&lane->lock);
}

static void on_uncorked(void *arg)
{
    struct lane *lane = arg;

    flush(lane);
    atomic_fetch_sub(&lane->channel->inside, 1);
}

void lane_send(struct lane *lane)
{
    switch (cork_hold(on_uncorked, lane)) {
    case CORK_NONE:
        flush(lane);
        break;
    case CORK_NEW:
        atomic_fetch_add(&lane->channel->inside, 1);
        break;
    case CORK_HELD:
        break;
    }
}

/* What waits for answers is owed a message by the server. */
static void see_to_it_that_one_is_owed(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->sent > 0 && lane->under_way == 0)
        send_one(lane);
    pthread_mutex_unlock(&lane->lock);
}

/* ---------------------------------------------------------- receiving */

/* The call of that number, taken out; NULL when none waits under it. */
static struct call *find(struct lane *lane, uint32_t wire_id)
{
    pthread_mutex_lock(&lane->lock);
    struct call *call = *chain_of(lane, wire_id);
    while (call != NULL && call->wire_id != wire_id)
        call = call->chained;
    if (call != NULL && call->place != LANE_QUEUED)
        take_out(call);
    else
        call = NULL;
    pthread_mutex_unlock(&lane->lock);
    return call;
}

/* What came is no bundle: it is taken for the answer to each call the carrier took along. */
static void take_plain(struct carrier *carrier, nng_msg *message)
{
    struct lane *lane = carrier->lane;
    struct calls calls = TAILQ_HEAD_INITIALIZER(calls);
    struct call *call;

    pthread_mutex_lock(&lane->lock);
    take_out_all(&carrier->calls, &calls);
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
        struct call *call = find(lane, id);
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
    flush(lane);
    if (empty)
        sweeper_want(&lane->channel->sweeper, clock_monotonic_ms() + AGAIN_MS);
    else
        see_to_it_that_one_is_owed(lane);
    cork_end();
}

static void on_sent(struct carrier *carrier)
{
    struct lane *lane = carrier->lane;
    struct call *call;

    pthread_mutex_lock(&lane->lock);
    carrier->receiving = true;
    TAILQ_FOREACH(call, &carrier->calls, beside)
    {
        call->place = LANE_SENT;
        lane->sent++;
        if (cancel_asked(&call->cancel))
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
    take_out_all(&carrier->calls, &calls);
    carrier_give_back(carrier);
    pthread_mutex_unlock(&lane->lock);
    tell_all(&calls, was_sent ? call_lost : call_unsent, result);
    if (result != NNG_ECLOSED)
        flush(lane);
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

/* ---------------------------------------------------------- who waits no longer */

void lane_connected(struct lane *lane, uint32_t pipe)
{
    pthread_mutex_lock(&lane->lock);
    lane->pipe = pipe;
    pthread_mutex_unlock(&lane->lock);
}

void lane_disconnected(struct lane *lane, uint32_t pipe)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->pipe == pipe)
        lane->pipe = 0;
    if (!TAILQ_EMPTY(&lane->adrift))
        sweeper_want(&lane->channel->sweeper, 0);
    pthread_mutex_unlock(&lane->lock);
}

struct sweep {
    struct lane *lane;
    bool all;
    int64_t now_ms, next_ms;
    struct calls unsent, late, gone;
};

/* A message that is being sent has a time-out of its own.  The lock is held. */
static void sweep_sending(struct sweep *sweep, struct carrier *carrier)
{
    struct call *call;

    if (sweep->all && !TAILQ_EMPTY(&carrier->calls))
        nng_aio_cancel(carrier->aio);
    TAILQ_FOREACH(call, &carrier->calls, beside)
    if (call->answer_by_ms < sweep->next_ms)
        sweep->next_ms = call->answer_by_ms;
}

/* The lock is held. */
static void sweep_list(struct sweep *sweep, struct calls *list)
{
    struct call *call, *next;

    for (call = TAILQ_FIRST(list); call != NULL; call = next) {
        next = TAILQ_NEXT(call, beside);
        bool gone = list == &sweep->lane->adrift && call->pipe != sweep->lane->pipe;
        bool late = call->answer_by_ms <= sweep->now_ms;
        if (!gone && !late && !sweep->all && !cancel_asked(&call->cancel)) {
            if (call->answer_by_ms < sweep->next_ms)
                sweep->next_ms = call->answer_by_ms;
            continue;
        }
        struct calls *to = call->place == LANE_QUEUED ? &sweep->unsent
                           : gone                     ? &sweep->gone
                                                      : &sweep->late;
        take_out(call);
        TAILQ_INSERT_TAIL(to, call, beside);
    }
}

int64_t lane_sweep(struct lane *lane, bool all)
{
    struct sweep sweep = {
        .lane = lane, .all = all, .now_ms = clock_monotonic_ms(), .next_ms = INT64_MAX};

    TAILQ_INIT(&sweep.unsent);
    TAILQ_INIT(&sweep.late);
    TAILQ_INIT(&sweep.gone);
    pthread_mutex_lock(&lane->lock);
    sweep_list(&sweep, &lane->queued);
    sweep_list(&sweep, &lane->adrift);
    for (size_t i = 0; i < lane->carrier_count; i++) {
        struct carrier *carrier = lane->carriers[i];
        if (carrier->receiving)
            sweep_list(&sweep, &carrier->calls);
        else
            sweep_sending(&sweep, carrier);
    }
    pthread_mutex_unlock(&lane->lock);
    tell_all(&sweep.unsent, call_unsent, NNG_ETIMEDOUT);
    tell_all(&sweep.late, call_lost, NNG_ETIMEDOUT);
    tell_all(&sweep.gone, call_lost, NNG_ECONNRESET);
    if (!all) {
        flush(lane);
        see_to_it_that_one_is_owed(lane);
    }
    return sweep.next_ms;
}
