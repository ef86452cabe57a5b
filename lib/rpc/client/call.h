/*
 * call.h - a channel and its calls; private to channel.c and call.c.
 *
 * channel.c opens and closes the channel, call.c has channel_call and channel_cancel.
 *
 *      channel_call: check, copy, take a place   RESOURCE_EXHAUSTED past in_flight_max
 *      attempt: pick an address                  the least outstanding (balancer.c)
 *        v      seal the request anew            so no frame is ever sent twice
 *      QUEUED -> SENDING -> SENT                 one cork is one batch (subchannel.c)
 *        |                                       any message may bring the answer
 *        +-- not sent, lost, late, or the server asks for it: pause, attempt again
 *        v                                       while there is time
 *      finish: give memory and address back, then call `done`, which must not wait
 *
 * All of it runs on nng threads or the caller's.
 */
#pragma once

#include "rpc/client/balancer.h"
#include "rpc/client/channel.h"
#include "rpc/common/stats.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/seal.h"

enum {
    ADDRESSES_MAX = 16,
    CANCELS_MAX = 8, /* Cancel messages in addition to the calls in flight */
};

/* The callee whose answers we accept, and the session that seals our requests to it. */
struct callee {
    struct principals *list; /* a share; what `peer` lives in */
    const struct principal *peer;
    struct seal_session session;
    size_t users; /* attempts, and the channel; under its lock */
};

struct channel {
    char own_name[KEY_NAME_MAX + 1], service[KEY_NAME_MAX + 1];
    size_t in_flight_max;
    struct subchannel_owner owner; /* ours, for the subchannels */
    struct subchannel *subchannels[ADDRESSES_MAX];
    size_t subchannel_count;
    struct sweeper sweeper; /* ends attempts that are late */
    struct stats stats;
    struct counter *retries, *failed_attempts;
    atomic_bool closing;
    atomic_bool stragglers; /* a request was sent and its answer given up */
    atomic_size_t inside;   /* threads in channel_call, _cancel, an attempt or a cork */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t idle;
    struct call *free;
    struct call **calls; /* all ever made, at most in_flight_max + CANCELS_MAX */
    size_t call_count, in_flight;
    size_t cancels; /* Cancel messages, not counted in in_flight_max */
    size_t turn;
    uint64_t cork; /* the latest cork (cork.h) in which an address was picked, */
    struct subchannel *picked; /* and that address */
    struct callee *callee;
};

/* The metadata and the tracestate of a call as its envelope wants them, in one block. */
struct call_texts {
    Rpc__V1__Metadata entries[ENVELOPE_METADATA_MAX];
    Rpc__V1__Metadata *list[ENVELOPE_METADATA_MAX];
    char bytes[];
};

struct call {
    struct request request; /* of the attempt; first, so that one gives the other */
    struct channel *channel;
    struct call *next;    /* free ones */
    size_t index;         /* in channel->calls */
    nng_aio *pause;       /* between two attempts */
    pthread_mutex_t lock; /* see call.c */

    /* The request, kept for every attempt. */
    char method[ENVELOPE_METHOD_MAX + 1];
    char id[ENVELOPE_ID_MAX + 1];
    char traceparent[ENVELOPE_TRACEPARENT_MAX + 1];
    struct call_texts *texts; /* NULL: none */
    uint8_t *payload;
    size_t payload_room;
    Rpc__V1__Request envelope; /* of all these; each attempt sets its times */
    const ProtobufCMessageDescriptor *reply_type;
    struct arena *arena;
    int64_t begun_us, deadline_ms;
    channel_done *done;
    void *arg;

    /* The attempt. */
    struct subchannel *pin;        /* the only address allowed, or NULL */
    struct subchannel *subchannel; /* NULL between two attempts */
    struct callee *callee;
    uint8_t nonce[SEAL_NONCE_SIZE];

    /* What the attempts so far have shown. */
    int64_t pause_ms;    /* the most the next pause may take */
    bool unknown;        /* an attempt was sent and got no final answer */
    bool answered;       /* `error` is the callee's own */
    bool not_run;        /* the latest attempt was refused before its handler */
    struct err error;    /* of the latest attempt */
    uint32_t refused_by; /* addresses that rejected the call, a bit each */
};

/* Whether an address other than that one is connected; NULL: any address. */
bool channel_connected_besides(const struct channel *channel,
                               const struct subchannel *except);

void client_call_free(struct call *call);

/* How a request leaves its subchannel. */
void client_call_answered(struct request *request, uint8_t *body, size_t size);
void client_call_unsent(struct request *request, int result);
void client_call_lost(struct request *request, int result);

/* Drops one user of the callee; NULL is allowed.  The channel's lock is held. */
void callee_release(struct callee *callee);
