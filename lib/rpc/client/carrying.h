/*
 * carrying.h - a lane and its messages; private to lane.c and carrier.c.
 *
 * lane.c knows the calls of a lane, who waits for an answer and who no longer does; carrier.c
 * sends their frames and takes in what comes back.
 */
#pragma once

#include <sys/queue.h>

#include "rpc/client/call.h"
#include "rpc/client/lane.h"
#include "rpc/wire/bundle.h"

enum {
    CARRIERS_MAX = 64, /* messages under way; past them calls wait in the queue */
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

/* ---- lane.c ---- */

/* Takes the call out of its lane: from here on it is the taker's.  The lock is held. */
void lane_take_out(struct call *call);

/* Takes out all of the list, into another.  The lock is held. */
void lane_take_out_all(struct calls *from, struct calls *to);

/* The call that was sent under that number, taken out; NULL when none waits under it. */
struct call *lane_find(struct lane *lane, uint32_t wire_id);

/* Tells each of the list; whoever is told is no longer of it. */
void lane_tell_all(struct calls *calls, void (*tell)(struct call *call, int result),
                   int result);

/* ---- carrier.c ---- */

void carrier_free(struct carrier *carrier);

/* Sends what is queued, as far as it can. */
void lane_flush(struct lane *lane);

/* What waits for answers is owed a message by the server. */
void lane_see_to_it_that_one_is_owed(struct lane *lane);
