/*
 * serving.h - one request being served; private to server.c and the files named here.
 *
 * server.c makes the server and ends it; exchange.c takes messages in; serve.c brings the
 * requests in them to their handlers; reply.c seals the answers; mailbox.c puts the answers of
 * a connection into the messages that are owed to it.
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/cancel.h"
#include "base/contract/ids.h"
#include "rpc/auth/rejections.h"
#include "rpc/common/stats.h"
#include "rpc/nng_defects/watch.h"
#include "rpc/server/builtin.h"
#include "rpc/server/limits.h"
#include "rpc/server/server.h"
#include "rpc/wire/bundle.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/replay_cache.h"
#include "rpc/wire/seal.h"

enum { SERVICES_MAX = 16 };

/* A message that came, and the one that is owed for it.  See exchange.c. */
enum exchange_state { IDLE, RECEIVING, HELD, SENDING };

struct exchange {
    struct rpc_server *server;
    nng_ctx context;
    nng_aio *aio;
    _Atomic enum exchange_state state;
    nng_pipe pipe;
    nng_msg *message; /* what came, until all of it was read */
    bool bundled;
    struct bundle_reader unread; /* of the message; under the server's lock */
    size_t readers;              /* frames taken from it and not yet read; likewise */
    TAILQ_ENTRY(exchange) beside;
};

TAILQ_HEAD(exchanges, exchange);

/* A connection: what it is owed, and what there is for it.  Under the server's lock. */
struct mailbox {
    struct mailbox *next; /* in its chain of server->mailboxes */
    uint32_t pipe;
    bool gone;    /* the connection ended; freed with the last call */
    bool trusted; /* a frame of it was admitted */
    bool listed;  /* in server->stirred */
    size_t calls; /* of it, being served */
    size_t held_count;
    struct exchanges held;
    struct bundle ready;
    TAILQ_ENTRY(mailbox) beside;
};

enum { MAILBOX_CHAINS = 64 };

struct rpc_call {
    struct rpc_server *server;
    struct rpc_call *next;     /* free ones */
    struct exchange *exchange; /* what its answer goes with; NULL: the mailbox knows */
    struct mailbox *mailbox;
    uint32_t wire_id; /* in its bundle */
    atomic_bool serving;
    nng_pipe pipe;
    struct arena *arena; /* kept from request to request, emptied between */
    struct seal_opened opened;
    Rpc__V1__Request *request;
    int64_t deadline_ms;
    bool replayed;
    bool not_run;          /* refused before its handler */
    char order[ULID_SIZE]; /* it is about, for logs; "" when none is known */
    atomic_bool named;     /* whether that is known, for other threads */
    /* Who asked for what is being served, for whoever wants to cancel it; written before
     * `cancel` begins, so that who sees its token sees these. */
    atomic_uint_fast64_t owner; /* hash_owner */
    atomic_uint pipe_id;
    char id[ENVELOPE_ID_MAX + 1]; /* the request's, for whoever tells of the call */
    const char *service, *method; /* likewise; static */
    struct cancel cancel;
    struct peers *callers;     /* the list the latest frame was opened with; a share */
    struct limited *limited;   /* what the caller is counted in, while it is served */
    const struct stats *stats; /* of the method, once its handler runs */
    int64_t begun_us;
};

/* A service and the counts of its methods. */
struct served {
    const ProtobufCServiceDescriptor *descriptor;
    ProtobufCService *service;
    struct stats *stats; /* one a method */
};

struct rpc_server {
    pthread_mutex_t lock;
    size_t busy;    /* exchanges that are not IDLE, calls in use, corks; under the lock */
    bool abandoned; /* stopped while calls were being served: the last one frees */
    atomic_bool stopping; /* what comes now is sent elsewhere */
    atomic_bool closed;   /* nothing is received any more */
    nng_socket socket;
    bool open;
    bool access_log;
    struct peers *_Atomic callers; /* a share; replaced under the lock */
    struct limits *limits;
    uint8_t salt[SEAL_SALT_SIZE];
    struct window *window;
    struct watch *watch;
    struct refusals refusals;
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct metrics *metrics, *own_metrics; /* the latter when nobody gave us any */
    struct standard *standard;
    ProtobufCService *services[SERVICES_MAX];
    struct served served[SERVICES_MAX];
    size_t service_count;
    struct exchange *exchanges;
    struct rpc_call *calls;
    size_t count; /* of exchanges */
    size_t call_count;
    struct rpc_call *free; /* from here on under the lock */
    size_t calls_in_use;
    size_t held_count;             /* exchanges in mailboxes */
    struct exchanges arrived;      /* with frames that no call was free for yet */
    TAILQ_HEAD(, mailbox) stirred; /* mailboxes to look at */
    struct mailbox *mailboxes[MAILBOX_CHAINS];
};

/* ---- server.c ---- */

void server_free(struct rpc_server *server);

/* ---- serve.c ---- */

/* Serves a frame of the exchange's message; reads it, then says so (exchange_read). */
void serving_take_frame(struct rpc_call *call, struct exchange *exchange, uint8_t *frame,
                        size_t size);

/* Cancels all that came through a connection that is gone. */
void serving_cancel_pipe(struct rpc_server *server, uint32_t pipe);

/* Cancels the caller's calls under way of that id; how many. */
unsigned serving_cancel(struct rpc_call *by, const char *id);

/* ---- exchange.c ---- */

/* Who took a frame has read it; the last reader frees the message. */
void exchange_read(struct exchange *exchange);

/* Waits for the next message, or rests when the server is closed. */
void serving_receive(struct exchange *exchange);

/* Sends what is owed; takes the message. */
void serving_send(struct exchange *exchange, nng_msg *message);

/* One thing less that keeps the server; the last frees an abandoned one. */
void serving_leave(struct rpc_server *server);

/* The call is over; another may begin with it. */
void serving_free_call(struct rpc_call *call);

/* What nng calls at the end of an exchange's aio. */
void serving_on_aio(void *exchange);

/* ---- mailbox.c ---- */

/* What nng calls when a connection (of the server, its argument) came, and when it ended. */
void mailbox_on_pipe(nng_pipe pipe, nng_pipe_ev event, void *server);

/* The connection's; NULL when it is gone.  The lock is held. */
struct mailbox *mailbox_of(struct rpc_server *server, nng_pipe pipe);

/* A bundle was read to its end: a message is owed for it. */
void mailbox_hold(struct exchange *exchange);

/* The answer of a call that came in a bundle, NULL: there is none; takes the frame.  The
 * call is no longer of the mailbox.  False: memory was short. */
bool mailbox_deliver(struct rpc_call *call, nng_msg *frame);

/* Whether an answer waits for a message to go with.  The lock is held. */
bool mailbox_any_ready(const struct rpc_server *server);

/* ---- reply.c ---- */

/* The closure handlers are given. */
void serving_reply(const ProtobufCMessage *message, void *call);

void serving_refuse_unsealed(struct rpc_call *call, enum seal_refusal reason,
                             const char *caller);

/* No answer is given; the caller is left to its own clock. */
void serving_forget(struct rpc_call *call);
