/*
 * request.h - one HTTP request, from its head to its answer.
 *
 *      head -> body -> handler -> (a call runs) -> answered -> sent
 *
 * The request lives in its exchange's arena and dies with it.  It belongs to the HTTP
 * thread; while a call runs for it, to the call's completion.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/contract/ids.h"
#include "base/contract/trace.h"
#include "base/err.h"
#include "base/text.h"
#include "gateway/answers.h"
#include "gateway/gateway.h"
#include "gateway/head.h"
#include "gateway/routes.h"
#include "http/server.h"

enum { REQUEST_ARENA_MAX = 16 << 20 /* bytes: a page of orders, unpacked and written */ };

struct http;

struct request {
    struct arena *arena; /* the exchange's */
    const struct gateway *gateway;
    struct http *http; /* where it is answered */
    struct http_exchange *exchange;
    bool answered;
    bool handled; /* its handler has begun, and it is counted so */
    struct head head;
    const char *method; /* as it was written; "-" when it could not be read */
    const char *target; /* raw, without query, for the log; "-" likewise */
    const char *path;   /* raw, without query; "" for OPTIONS of the whole server */
    const char *query;  /* raw, "" when there is none */
    const struct route *route;
    const char *path_id; /* the {id} of the path, or NULL */
    char id[ULID_SIZE];  /* X-Request-Id */
    struct trace trace;  /* our place in its trace */
    char user[UUID_LENGTH + 1];
    const char *order_id; /* it is about, for logs; NULL while none is known */
    int64_t started_us;   /* clock_monotonic_us */
    char *body;           /* a NUL follows it */
    size_t body_size;
    struct answer answer;
    /* The call that runs for it; the HTTP thread's. */
    struct channel *channel;
    channel_ticket ticket;

    uint8_t answer_id[ANSWERS_ID_SIZE]; /* of POST /v1/orders */
};

/* A new request in the exchange's arena.  head: what could be read of it (method and
 * target may be empty).  NULL when memory is short. */
struct request *request_new(const struct gateway *gateway, struct http_exchange *exchange,
                            const struct http_head *head)
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
 * Calls.  `done` gets the request as its arg; it must answer or fail it, then call
 * request_resume, and touch it no more.  When the connection breaks before that, the call
 * is cancelled: what it has not begun to change stays as it is, and what it has goes on to
 * its end (rpc.v1.Calls/Cancel).  A client that closes only its sending half still waits.
 */
void request_call(struct request *request, const struct request_call *call,
                  channel_done *done);
void request_resume(struct request *request);

/*
 * In a completion, instead of answering: calls once more.  `done` gets `arg`, and does with
 * the request what the first was to do; it may run before this returns, so the request is
 * not to be touched after it.  A client that leaves does not end this call: it is for short
 * reads, and its reply is only unpacked.
 */
void request_call_next(struct request *request, const struct request_call *call,
                       channel_done *done, void *arg);

/*
 * The values of the query's `names` (NULL-terminated list), each at most once and nothing
 * else; values[i] is NULL when it is not there.  They are decoded: %XX is a byte and "+" a
 * blank (application/x-www-form-urlencoded); what comes of it is not empty and UTF-8
 * without control characters.  INVALID_ARGUMENT names the parameter.
 */
struct err request_query(struct request *request, const char *const *names,
                         const char **values) __attribute__((warn_unused_result));

/* The query's `limit`: 1 to `most`, 9999 or less, in plain digits; 0 for NULL.
 * INVALID_ARGUMENT. */
struct err request_limit(const char *text, int32_t most, int32_t *out)
    __attribute__((warn_unused_result));
