/*
 * serving.h - one request being served; private to server.c, serve.c and reply.c.
 *
 * server.c makes the server and ends it; serve.c takes requests in, as far as their
 * handlers; reply.c sends the answers.
 */
#pragma once

#include <nng/nng.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

#include "base/cancel.h"
#include "rpc/envelope.h"
#include "rpc/limits.h"
#include "rpc/refusals.h"
#include "rpc/seal.h"
#include "rpc/server.h"
#include "rpc/standard.h"
#include "rpc/stats.h"
#include "rpc/watch.h"
#include "rpc/window.h"

enum { SERVICES_MAX = 16 };

enum call_state { IDLE, RECEIVING, SERVING, SENDING };

struct rpc_call {
    struct rpc_server *server;
    nng_ctx context;
    nng_aio *aio;
    _Atomic enum call_state state;
    nng_pipe pipe;
    struct arena *arena; /* kept from request to request, emptied between */
    struct seal_opened opened;
    Rpc__V1__Request *request;
    int64_t deadline_ms;
    bool replayed;
    bool not_run; /* refused before its handler */
    /* Who asked for what is being served, for whoever wants to cancel it; written before
     * `cancel` begins, so that who sees its token sees these. */
    atomic_uint_fast64_t owner; /* hash_owner */
    atomic_uint pipe_id;
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
    size_t busy;    /* calls that are not IDLE; under the lock */
    bool abandoned; /* stopped while calls were being served: the last one frees */
    atomic_bool stopping; /* what comes now is sent elsewhere */
    atomic_bool closed;   /* nothing is received any more */
    nng_socket socket;
    bool open;
    const struct key *key;
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
    struct rpc_call *calls;
    size_t call_count;
};

/* ---- server.c ---- */

void server_free(struct rpc_server *server);

/* ---- serve.c ---- */

/* Waits for the next request, or rests when the server is closed. */
void serving_receive(struct rpc_call *call);

/* The call is over and no other begins; the last call out frees an abandoned server. */
void serving_rest(struct rpc_call *call);

/* What nng calls: at the end of a call's aio, and when a connection (of the server, its
 * argument) has ended. */
void serving_on_aio(void *call);
void serving_on_pipe_gone(nng_pipe pipe, nng_pipe_ev event, void *server);

/* Cancels the caller's calls under way of that id; how many. */
unsigned serving_cancel(struct rpc_call *by, const char *id);

/* ---- reply.c ---- */

/* The closure handlers are given. */
void serving_reply(const ProtobufCMessage *message, void *call);

void serving_refuse_unsealed(struct rpc_call *call, enum seal_refusal reason,
                             const char *caller);

/* No answer is given; the caller is left to its own clock. */
void serving_forget(struct rpc_call *call);
