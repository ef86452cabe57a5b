/*
 * subchannel.h - one address of a channel: its socket, and the requests under way to it.
 *
 *      subchannel_add -> QUEUED --flush--> SENDING --sent--> SENT --answer--> NOWHERE
 *
 * Frames that are ready together are sent as one batch (rpc/wire/batch.h).  A batch is a
 * request of nng's REQ and gets one message back.  The server puts every answer into it that
 * is ready, to this batch or to others of the connection, so that no answer waits for a
 * slower one.  While requests wait for answers, the subchannel keeps at least one batch
 * outstanding, if need be an empty one.
 *
 * Every request leaves exactly once, by one of the functions in subchannel_owner.  These run
 * without any lock, on an nng thread.
 *
 * Order of locks, of all of lib/rpc/client: the call's, its subchannel's, the sweeper's.  The
 * channel's may be taken inside a subchannel's.
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/cancel.h"
#include "base/err.h"
#include "rpc/auth/tls.h"
#include "rpc/client/sweeper.h"
#include "rpc/wire/batch.h"

enum {
    URL_SIZE = 256,
    BATCHES_MAX = 64, /* outstanding; past them requests wait in the queue */
    BY_ID_CHAINS = 1024,
};

/* Of one attempt; a part of its call.  All but the first three fields are subchannel.c's. */
struct request {
    nng_msg *frame;       /* sealed, not yet sent */
    int64_t answer_by_ms; /* clock_monotonic_ms: then the attempt is given up */
    struct cancel cancel;
    struct subchannel *subchannel; /* the latest; its lock guards what follows */
    enum request_place { NOWHERE, QUEUED, SENDING, SENT } place;
    TAILQ_ENTRY(request) beside;
    struct batch *batch; /* in which it was sent; NULL: that batch is answered already */
    uint32_t pipe;       /* then: the connection its answer comes through */
    uint32_t wire_id;
    struct request *chained;
};

TAILQ_HEAD(requests, request);

/* What the subchannels of a channel share. */
struct subchannel_owner {
    struct sweeper *sweeper;
    atomic_size_t *inside; /* threads that still use the channel */
    /* How a request leaves.  `body` may be changed; `result` is nng's. */
    void (*answered)(struct request *request, uint8_t *body, size_t size);
    void (*unsent)(struct request *request, int result);
    void (*lost)(struct request *request, int result); /* sent, and not answered */
};

struct subchannel {
    const struct subchannel_owner *owner;
    char url[URL_SIZE];
    bool open;
    nng_socket socket;

    /* From any thread. */
    atomic_uint connected;               /* id of the connection's pipe; 0: none */
    atomic_int_least64_t alone_since_ms; /* when the last connection ended */

    /* Under the channel's lock. */
    nng_dialer dialer;
    int64_t dialled_ms;       /* when the dialer was made */
    nng_tls_config *tls;      /* NULL: none */
    nng_tls_config *past_tls; /* the one before; nng may be about to read it */
    size_t outstanding;       /* the balancer's (balancer.h), as all that follow */
    unsigned failures;        /* in a row */
    int64_t rest_until_ms;
    bool probing; /* one attempt alone, after a rest */

    pthread_mutex_t lock; /* guards what follows */
    struct requests queued;
    struct requests awaiting; /* sent; their batch was answered without their answers */
    size_t sent;              /* requests that are SENT */
    uint32_t next_id;
    struct request *by_id[BY_ID_CHAINS]; /* all its requests, chained */
    uint32_t pipe;                       /* of the connection, or 0 */
    struct rpc_batch outgoing;
    struct batch *batches[BATCHES_MAX];
    struct batch *free;
    size_t batch_count, batches_outstanding;
};

/* Starts dialling; borrows the owner.  INVALID_ARGUMENT when it is no address.  *out is to be
 * closed also after an error; NULL when there was no memory for it. */
struct err subchannel_open(const char *url, const struct tls_files *tls,
                           const struct subchannel_owner *owner, struct subchannel **out)
    __attribute__((warn_unused_result));

/* No request may be in it. */
void subchannel_close(struct subchannel *subchannel);

/* The next connection is made with it (taken); the present one stays.  Waits for nothing.
 * The channel's lock is held. */
void subchannel_set_tls(struct subchannel *subchannel, nng_tls_config *config);

/* Dials anew when there was no connection for longer than a working dialer needs.  The
 * channel's lock is held. */
void subchannel_keep_dialling(struct subchannel *subchannel);

bool subchannel_connected(const struct subchannel *subchannel);

/* Whether it is connected, or was, or began to be dialled, a moment ago. */
bool subchannel_may_answer(const struct subchannel *subchannel);

/* Queues the request (its frame and answer_by_ms are set); subchannel_send then sends it, now
 * or at the end of the thread's cork. */
void subchannel_add(struct subchannel *subchannel, struct request *request);
void subchannel_send(struct subchannel *subchannel);

/* The request was cancelled: it leaves soon.  Its call's lock is held. */
void subchannel_cancel(struct request *request);

/* Ends requests that are late, cancelled, or whose connection is gone; `all`: every one.
 * Returns the time of the next sweep, INT64_MAX when there is none. */
int64_t subchannel_sweep(struct subchannel *subchannel, bool all);
