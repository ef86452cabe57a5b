/*
 * request.h - one HTTP request from its head to its answer, and the environment of the
 * handlers.
 *
 *      head -> body -> handler -> (a call runs) -> answered -> sent
 *
 * A handler runs on the HTTP thread with the body complete and the user known.  It
 * answers, or starts one call and returns, or returns an error to be answered.  A
 * completion answers the request and then sends it (http_send).
 *
 * The request lives in its exchange's arena and ends with it.  It belongs to the HTTP
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
#include "gateway/http/fields.h"
#include "gateway/http/response_cache.h"
#include "http/server.h"
#include "rpc/client/channel.h"

enum { REQUEST_ARENA_MAX = 16 << 20 /* bytes: a page of orders, unpacked and written */ };

struct buckets;
struct files;
struct http;
struct jwt;
struct key_source;
struct route;
struct route_table;

/* Built by main, used by every handler.  It holds no authoritative state, so any number
 * of gateways may run side by side. */
struct gateway {
    const struct route_table *routes;
    struct channel *orchestrator;
    struct channel *inventory;
    struct channel *payment;       /* for its health only; NULL: not checked */
    struct jwt *jwt;               /* used by the HTTP thread only */
    struct key_source *key_source; /* replaces jwt's keys; NULL: they never change */
    struct response_cache *response_cache;
    struct buckets *buckets;    /* used by the HTTP thread only */
    struct files *files;        /* NULL: there is no shop page */
    const char *session_cookie; /* the name of the cookie that may carry a token */
    const char *cors_origins;   /* see fields.h; "": none */
    int64_t place_timeout_ms;   /* of POST /v1/orders */
    int64_t call_timeout_ms;    /* of every other call */
    bool access_log;            /* one line per request */
};

struct request {
    struct arena *arena; /* the exchange's */
    const struct gateway *gateway;
    struct http *http; /* where it is answered */
    struct http_exchange *exchange;
    bool answered;
    bool handled; /* its handler was called, and it counts as in flight */
    struct head head;
    const char *method; /* as sent; "-" when it could not be read */
    const char *target; /* raw, without query, for the log; "-" likewise */
    const char *path;   /* raw, without query; "" for OPTIONS of the whole server */
    const char *query;  /* raw, "" when there is none */
    const struct route *route;
    const char *path_id; /* the {id} of the path, or NULL */
    char id[ULID_SIZE];  /* X-Request-Id */
    struct trace trace;  /* the gateway's span */
    char user[UUID_LENGTH + 1];
    const char *order_id; /* for logs; NULL while unknown */
    int64_t started_us;   /* clock_monotonic_us */
    char *body;           /* a NUL follows it */
    size_t body_size;
    struct answer answer;
    /* The call that runs for it; used by the HTTP thread only. */
    struct channel *channel;
    channel_ticket ticket;

    uint8_t cache_id[RESPONSE_CACHE_ID_SIZE]; /* of POST /v1/orders */
};

/* A new request in the exchange's arena.  head: the part that could be read (method
 * and target may be empty).  NULL when memory is short. */
struct request *request_new(const struct gateway *gateway, struct http_exchange *exchange,
                            const struct http_head *head)
    __attribute__((warn_unused_result));

/* Sets the answer to JSON that lives as long as the arena. */
void request_answer(struct request *request, unsigned status, const struct text *text);

/* Sets the answer to a problem, and logs those of status 500 and above. */
void request_fail(struct request *request, struct err error);

struct request_call {
    struct channel *channel;
    const char *method;
    const ProtobufCMessage *message; /* packed before the call returns */
    const ProtobufCMessageDescriptor *reply_type;
    int64_t timeout_ms;
};

/*
 * Starts a call.  `done` gets the request as its arg; it must answer or fail it, then
 * call http_send, and not touch it again.  When the connection breaks before that, the
 * call is cancelled: a change that has not begun is skipped, one that has begun is
 * completed (rpc.v1.Calls/Cancel).  A client that closes only its sending half still gets
 * its answer.
 */
void request_call(struct request *request, const struct request_call *call,
                  channel_done *done);

/*
 * In a completion, instead of answering: starts another call.  `done` gets `arg` and has
 * the duties of the first completion; it may run before this returns, so do not touch the
 * request afterwards.  A disconnect does not cancel this call, so use it for short
 * reads only.
 */
void request_call_next(struct request *request, const struct request_call *call,
                       channel_done *done, void *arg);

/*
 * The values of the query parameters `names` (NULL-terminated list), each at most once;
 * any other parameter is refused.  values[i] is NULL when it is absent.  Values are
 * decoded: %XX is a byte and "+" a blank (application/x-www-form-urlencoded); the result
 * is not empty, and UTF-8 without control characters.  INVALID_ARGUMENT names the
 * parameter.
 */
struct err request_query(struct request *request, const char *const *names,
                         const char **values) __attribute__((warn_unused_result));

/* The query's `limit`: 1 to `most`, 9999 or less, in plain digits; 0 for NULL.
 * INVALID_ARGUMENT. */
struct err request_limit(const char *text, int32_t most, int32_t *out)
    __attribute__((warn_unused_result));
