/*
 * call.h - one call of a channel; private to channel.c, call.c, the files of its attempts and
 * lane.c.
 *
 * call.c makes it, and cancels it; attempt.c, answer.c and outcome.c run it to its end.
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/cancel.h"
#include "rpc/client/channel.h"
#include "rpc/client/endpoint.h"
#include "rpc/client/lane.h"
#include "rpc/common/stats.h"
#include "rpc/common/sweeper.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/seal.h"

enum {
    ADDRESSES_MAX = 16,
    PAUSE_LEAST_MS = 5,
    CANCELS_MAX = 8, /* Cancel messages beside the calls in flight */
};

struct call {
    struct channel *channel;
    struct call *next;    /* free ones */
    nng_aio *pause;       /* between two attempts */
    pthread_mutex_t lock; /* see above; the call's own, so hardly ever waited for */
    struct cancel cancel;
    size_t index;              /* in channel->calls */
    struct endpoint *pin;      /* the only address that will do, or NULL */
    struct endpoint *endpoint; /* of the attempt; NULL between two */
    struct callee *callee;     /* of the attempt */
    uint8_t nonce[SEAL_NONCE_SIZE];
    nng_msg *frame;       /* sealed, not yet sent */
    int64_t answer_by_ms; /* when the attempt is given up */

    struct lane *lane; /* the latest; from here on under its lock (lane.c) */
    enum lane_place place;
    TAILQ_ENTRY(call) beside;
    struct carrier *carrier; /* of the message that took it along; NULL: it is back */
    uint32_t pipe;           /* then: the connection its answer comes through */
    uint32_t wire_id;
    struct call *chained;

    char method[ENVELOPE_METHOD_MAX + 1];
    char id[ENVELOPE_ID_MAX + 1];
    char traceparent[ENVELOPE_TRACEPARENT_MAX + 1];
    char *tracestate; /* NULL: none */
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
    struct principals *list; /* a share; what `peer` lives in */
    const struct principal *peer;
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
    uint64_t moment;         /* the latest in which an address was picked, */
    struct endpoint *latest; /* and that address */
    atomic_bool closing;
    atomic_bool stragglers; /* a request was sent and its answer given up */
    atomic_size_t inside;   /* threads in channel_call, _cancel, an attempt or a cork */
    struct sweeper sweeper; /* ends attempts that are late */
    struct stats stats;
    struct counter *retries, *rested;
    char own_name[KEY_NAME_MAX + 1];
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

/* ---- attempt.c ---- */

/* Begins the next attempt, or ends the call. */
void call_attempt(struct call *call);

/* Takes the best address.  The lock is held. */
void call_enter(struct call *call);

/* How an attempt leaves its lane (lane.h), each with the call for itself.  `body` may be
 * changed; `result` is nng's. */
void call_answered(struct call *call, uint8_t *body, size_t size);
void call_unsent(struct call *call, int result);
void call_lost(struct call *call, int result);

/* ---- answer.c ---- */

/* Ends the attempt, and with what is final the call.  The frame is opened where it stands. */
void call_take_answer(struct call *call, uint8_t *body, size_t size);

/* ---- outcome.c ---- */

/* The attempt is over; says how its address did. */
void call_leave(struct call *call, enum endpoint_report report);

/* The same, with our own finding about an attempt that got no answer, and tries again. */
void call_attempt_failed(struct call *call, struct err e);

/* The next attempt, after a pause; ends the call when there is no time for it. */
void call_retry(struct call *call);

/* Ends the call: no attempt is left, and what is known is told. */
void call_give_up(struct call *call);

/* Ends the call: gives its memory back, then its answer. */
void call_finish(struct call *call, struct err e, const ProtobufCMessage *reply,
                 bool replayed);

/* Why a call ends early: its channel is closed, or its caller has left. */
struct err call_cancelled_error(void);
struct err call_called_off(void);

/* What nng calls at the end of the call's pause. */
void call_on_paused(void *call);

/* One user of the callee less.  The lock is held. */
void callee_leave(struct callee *callee);

/* ---- attempt_faults.c ---- */

/* Nobody is there; the message is lost; it is sent twice; or it is taken for lost and
 * arrives late.  True: the attempt has failed. */
bool call_attempt_faulted(struct call *call);

/* The answer is lost, the request is sent again behind it, or it is late.  True: the answer
 * was dealt with. */
bool call_answer_faulted(struct call *call, const uint8_t *body, size_t size);

/* ---- call.c ---- */

void call_free(struct call *call);

/* Tells the server that has the call's request that nobody waits for its answer. */
void call_tell_callee(const struct call *call);

/* Test builds: sends its request once more, now or late, with nobody waiting. */
void call_stray(const struct call *of, int64_t late_ms);
