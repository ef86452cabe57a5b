/*
 * request.h - one HTTP request, from its request line to its answer.
 *
 *      HEAD -> BODY -> handler -> WAITING (suspended, a call runs) -> answered -> sent
 *                         \___________________________________________/
 *
 * The request lives in its own arena and dies with it.  It belongs to the HTTP thread;
 * while it is WAITING to the call's completion, all but `phase`, which stays the HTTP
 * thread's.
 */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/ids.h"
#include "base/trace.h"
#include "gateway/answers.h"
#include "gateway/gateway.h"
#include "gateway/head.h"
#include "gateway/loop.h"
#include "gateway/routes.h"
#include "gateway/text.h"

enum {
    REQUEST_ARENA_MAX = 16 << 20, /* bytes: a full page of orders, unpacked and written */
    REQUEST_BODY_MAX = 64 << 10,
    REQUEST_DRAIN_MAX = 1 << 20, /* bytes of a refused body read before hanging up */
};

enum request_phase { REQUEST_HEAD, REQUEST_BODY, REQUEST_WAITING };

struct request {
    struct arena *arena; /* borrowed */
    const struct gateway *gateway;
    struct MHD_Connection *connection;
    struct loop *loop; /* serves the connection */
    enum request_phase phase;
    bool answered;
    bool running; /* its head has come: a drain waits for it */
    bool handled; /* its handler has begun, and it is counted so */
    bool strange; /* the target has characters no target has */
    struct head head;
    const char *method; /* as it was written; static or the arena's */
    const char *target; /* libmicrohttpd's own, with its raw length: see layout.h */
    size_t target_size;
    const char *path;  /* raw, without query */
    const char *query; /* raw, "" when there is none */
    const struct route *route;
    const char *path_id; /* the {id} of the path, or NULL */
    char id[ULID_SIZE];  /* X-Request-Id */
    struct trace trace;  /* our place in its trace */
    char user[UUID_LENGTH + 1];
    int64_t started_us; /* clock_monotonic_us */
    struct err error;   /* why it is refused, while the body is still read off */
    char *body;
    size_t body_size, body_room;
    size_t drained; /* bytes of body thrown away */
    struct answer answer;

    uint8_t answer_id[ANSWERS_ID_SIZE]; /* of POST /v1/orders */
};

/* A new request for a raw request target, which lives in the arena, as long as that; NULL
 * when memory is short. */
struct request *request_new(const struct gateway *gateway,
                            struct MHD_Connection *connection, const char *target,
                            struct arena *arena) __attribute__((warn_unused_result));

/* Takes a piece of body: keeps it, or throws it away once the request is refused.  False
 * when more than is worth reading came. */
bool request_take_body(struct request *request, const char *bytes, size_t size)
    __attribute__((warn_unused_result));

/* Answers with JSON that lives as long as the arena. */
void request_answer(struct request *request, unsigned status, const struct text *text);

/* Answers with a problem; logs what is ours to know. */
void request_fail(struct request *request, struct err error);

/* What to call, and with how much time. */
struct request_call {
    struct channel *channel;
    const char *method;
    const ProtobufCMessage *message;
    const ProtobufCMessageDescriptor *reply_type;
    int64_t timeout_ms;
};

/*
 * Suspends the connection and calls.  `done` gets the request as its arg; it must answer
 * or fail it, then call request_resume, and touch it no more.  When the client leaves
 * before that, the call is cancelled: what it has not begun to change stays as it is, and what
 * it has goes on to its end (rpc.v1.Calls/Cancel).
 */
void request_call(struct request *request, const struct request_call *call,
                  channel_done *done);
void request_resume(struct request *request);

/* The values of the query's `names` (NULL-terminated list); each at most once, nothing
 * else, made of A-Z a-z 0-9 . _ ~ - only.  values[i] is NULL when it is not there. */
struct err request_query(struct request *request, const char *const *names,
                         const char **values) __attribute__((warn_unused_result));
