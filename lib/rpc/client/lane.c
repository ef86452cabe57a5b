/* lane.c - see lane.h and carrying.h: the calls. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/cork.h"
#include "rpc/client/carrying.h"

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

void lane_take_out(struct call *call)
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

void lane_take_out_all(struct calls *from, struct calls *to)
{
    struct call *call;

    while ((call = TAILQ_FIRST(from)) != NULL) {
        lane_take_out(call);
        TAILQ_INSERT_TAIL(to, call, beside);
    }
}

void lane_tell_all(struct calls *calls, void (*tell)(struct call *call, int result),
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

struct call *lane_find(struct lane *lane, uint32_t wire_id)
{
    pthread_mutex_lock(&lane->lock);
    struct call *call = *chain_of(lane, wire_id);
    while (call != NULL && call->wire_id != wire_id)
        call = call->chained;
    if (call != NULL && call->place != LANE_QUEUED)
        lane_take_out(call);
    else
        call = NULL;
    pthread_mutex_unlock(&lane->lock);
    return call;
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
    TAILQ_FOREACH (call, &carrier->calls, beside)
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
        if (!gone && !late && !sweep->all && !cancel_requested(&call->cancel)) {
            if (call->answer_by_ms < sweep->next_ms)
                sweep->next_ms = call->answer_by_ms;
            continue;
        }
        struct calls *to = call->place == LANE_QUEUED ? &sweep->unsent
                           : gone                     ? &sweep->gone
                                                      : &sweep->late;
        lane_take_out(call);
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
    lane_tell_all(&sweep.unsent, call_unsent, NNG_ETIMEDOUT);
    lane_tell_all(&sweep.late, call_lost, NNG_ETIMEDOUT);
    lane_tell_all(&sweep.gone, call_lost, NNG_ECONNRESET);
    if (!all) {
        lane_flush(lane);
        lane_see_to_it_that_one_is_owed(lane);
    }
    return sweep.next_ms;
}
