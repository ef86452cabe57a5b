/*
 * server_internal.h - the state of one server, shared by the files of this folder.
 *
 *      server.c        starts the server, drains and stops it
 *      connection.c    messages in, frames to calls, replies back into messages
 *      call.c          one frame: opened, admitted, handled, replied to
 *      builtin.c       rpc.v1's services: Health, Reflection, Metrics, Calls
 *
 *      a message comes               connection.c  slot_on_aio, on_received: HELD
 *        |  one request, or a batch
 *        v
 *      a frame and a free call       connection.c  serve_arrived, next_frame
 *        v
 *      call_serve: open the seal     no key opens it -> rejected, unsealed
 *        |   replay cache            old, repeated, before our start -> the same
 *        |   deadline                late -> DEADLINE_EXCEEDED
 *        |   method allowed          principals -> PERMISSION_DENIED
 *        |   rate limiter            too many -> RESOURCE_EXHAUSTED
 *        v
 *      handler (protobuf-c)          returns at once; replies later, from any thread
 *        v
 *      reply or rpc_call_fail        call.c  send_response: seal
 *        v
 *      call_end                      connection.c  add_pending, or its message's slot
 *        v
 *      flush: all pending replies    connection.c  HELD -> SENDING -> RECEIVING
 *
 * Every arrow runs on an nng thread, or on the thread that replies; none waits.
 *
 * Locks: server->lock guards what is marked here.  The rate limiter, the replay cache and
 * the watchdog have locks of their own.  No two of them are ever held at once, and none
 * is held while a handler, nng_ctx_recv, nng_ctx_send or nng_pipe_close is called.
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/cancel.h"
#include "base/contract/ids.h"
#include "rpc/common/stats.h"
#include "rpc/nng_defects/nng_defects.h"
#include "rpc/server/rate_limiter.h"
#include "rpc/server/server.h"
#include "rpc/wire/batch.h"
#include "rpc/wire/envelope.h"
#include "rpc/wire/replay_cache.h"
#include "rpc/wire/seal.h"

enum { SERVICES_MAX = 16, BUILTIN_SERVICES = 4, CONNECTION_CHAINS = 64 };

/* A message that came, and the one that must be sent back for it; see connection.c. */
enum slot_state { IDLE, RECEIVING, HELD, SENDING };

struct reply_slot {
    struct rpc_server *server;
    nng_ctx context;
    nng_aio *aio;
    _Atomic enum slot_state state;
    nng_pipe pipe;
    nng_msg *message; /* what came, until all of it was read */
    bool bundled;
    struct rpc_batch_reader unread; /* of the message; under the lock */
    size_t readers;                 /* frames taken and not yet read; under the lock */
    TAILQ_ENTRY(reply_slot) entry;  /* in server->arrived or connection->slots */
};

TAILQ_HEAD(reply_slots, reply_slot);

/* A client's connection: slots that wait for replies, and replies that wait for a slot.
 * Under the lock. */
struct connection {
    struct connection *next; /* in its chain of server->connections */
    uint32_t pipe;
    bool gone;        /* it ended; freed with its last call */
    bool trusted;     /* a frame of it was admitted */
    bool in_to_flush; /* is in server->to_flush */
    size_t calls;     /* being served */
    size_t slot_count;
    struct reply_slots slots; /* HELD, their message is read */
    struct rpc_batch pending; /* replies that are ready */
    TAILQ_ENTRY(connection) entry;
};

/* A service and the counts of its methods. */
struct served {
    ProtobufCService *service;
    struct stats *stats; /* one a method */
};

/* One request being served; one of in_flight_max, used again and again. */
struct rpc_call {
    struct rpc_server *server;
    struct rpc_call *next; /* free ones */
    /* Where its reply goes: to the slot, for a message that is one request; else to the
     * connection's pending replies.  Neither: the connection ended before it was
     * served. */
    struct reply_slot *slot;
    struct connection *connection;
    uint32_t wire_id; /* in its bundle */
    atomic_bool serving;
    nng_pipe pipe;
    struct arena *arena; /* kept from request to request, emptied between */
    struct seal_opened opened;
    Rpc__V1__Request *request;
    int64_t deadline_ms;
    const struct served *served; /* with index and input: what the handler is */
    unsigned index;
    const ProtobufCMessage *input;
    nng_msg *late_reply; /* of test builds */
    bool replayed;
    bool not_run;            /* rejected before its handler */
    char order[ULID_SIZE];   /* the order it is about, for logs; "" when none is known */
    atomic_bool order_known; /* for other threads */
    /* How it is found to be cancelled; written before `cancel` begins: a thread that sees
     * its token sees these.  The strings are for call_cut. */
    atomic_uint_fast64_t owner; /* hash_owner */
    atomic_uint pipe_id;
    char id[ENVELOPE_ID_MAX + 1];
    const char *service, *method; /* static */
    struct cancel cancel;
    struct principals *callers; /* what the latest frame was opened with; a reference */
    struct caller_usage *usage; /* of the rate limiter, while it is served */
    const struct stats *stats;  /* of the method, once its handler runs */
    int64_t begun_us;
};

/* Why a call was rejected, for the counter's label and the log. */
enum {
    /* the first ones are enum seal_refusal's */
    REJECTED_MALFORMED = 7,
    REJECTED_EXPIRED,
    REJECTED_FORBIDDEN,
    REJECTED_UNIMPLEMENTED,
    REJECTED_LIMITED,
    REJECTIONS,
};

struct rejections {
    struct counter *counts[REJECTIONS]; /* rpc_server_refusals{reason=} */
    atomic_uint_fast64_t total;
    atomic_int_fast64_t logged_ms;
};

struct rpc_server {
    bool access_log;
    struct err (*health)(void *arg); /* these three as in server.h */
    size_t (*health_parts)(void *arg, struct rpc_health_part *parts);
    void *health_arg;
    nng_socket socket;
    bool open;
    struct watch *watch;
    uint8_t salt[SEAL_SALT_SIZE];
    uint8_t hash_key[crypto_shorthash_KEYBYTES];
    struct replay_cache *replay_cache;
    struct rate_limiter *limiter;
    struct rejections rejections;
    struct metrics *metrics, *own_metrics; /* the latter when the config has none */
    struct builtin *builtin;
    struct served served[SERVICES_MAX]; /* the config's, then the builtin ones */
    size_t service_count;
    struct reply_slot *slots;
    size_t slot_count;
    struct rpc_call *calls;
    size_t call_count;
    atomic_bool stopping;               /* new calls are sent to another replica */
    atomic_bool closed;                 /* nothing is received any more */
    struct principals *_Atomic callers; /* a reference; replaced under the lock */

    pthread_mutex_t lock; /* of all from here on */
    size_t busy;          /* slots that are not IDLE, calls in use, corks */
    bool abandoned;       /* stopped while calls were being served: the last one frees */
    struct rpc_call *free;
    size_t calls_in_use;
    size_t held_count;                 /* slots in connections */
    struct reply_slots arrived;        /* with frames that no call was free for yet */
    TAILQ_HEAD(, connection) to_flush; /* what they have may be sent */
    struct connection *connections[CONNECTION_CHAINS];
};

/* ---- server.c ---- */

void server_free(struct rpc_server *server);

/* ---- connection.c ---- */

/* Called by nng when a connection of the server, its argument, came and when it ended. */
void connection_on_pipe(nng_pipe pipe, nng_pipe_ev event, void *server);

/* Waits for the next message; nothing, when the server is closed. */
void slot_receive(struct reply_slot *slot);

/* Called by nng when a slot's aio has ended. */
void slot_on_aio(void *slot);

/* A frame of the slot's message was read; the last one frees the message. */
void slot_frame_read(struct reply_slot *slot);

/* The call ends with this frame as its reply, which it takes; NULL: with none. */
void call_end(struct rpc_call *call, nng_msg *frame);

/* Whether a reply waits for a slot.  The lock is held. */
bool connections_any_pending(const struct rpc_server *server);

/* Out of memory for a reply: ends the connection, so that the caller notices and may
 * retry. */
void connection_cut(nng_pipe pipe);

/* ---- call.c ---- */

/* Serves a frame of the slot's message; calls slot_frame_read once it is read. */
void call_serve(struct rpc_call *call, struct reply_slot *slot, uint8_t *frame,
                size_t size);

/* Cancels the calls of a connection that ended: their replies cannot be sent. */
void call_cancel_pipe(struct rpc_server *server, uint32_t pipe);

/* Cancels the calls of `by`'s caller that have that id; how many. */
unsigned call_cancel(struct rpc_call *by, const char *id);

void rejections_open(struct rejections *rejections, struct metrics *metrics);

/* ---- builtin.c ---- */

/* NULL when memory is short.  `out` are its services. */
struct builtin *builtin_new(const struct rpc_server *server,
                            ProtobufCService *out[BUILTIN_SERVICES]);
void builtin_free(struct builtin *builtin);

/* Whether the method costs so little, and is so needed, that it is not rate-limited. */
bool builtin_is_free(const char *method);

/* Whether every authorized caller may call the method, whatever its patterns. */
bool builtin_is_open(const char *method);
