/*
 * waiter.h - a Place call waiting for its checkout's end, here or in another process.
 *
 *   waiting on a saga here --------> answered
 *   polling the checkout's row ----> answered, or its time is up
 */
#pragma once

#include "db/db.h"
#include "orchestrator/checkout/checkout.h"
#include "rpc/server/server.h"

struct waiter {
    struct rpc_call *call;
    Orders__V1__PlaceReply_Closure reply;
    const char *key, *user_id; /* the key as it is stored */
    struct trace trace;        /* our place in the call's */
    bool joined;               /* not the call that started the checkout */
    int64_t deadline_ms;       /* clock_monotonic_ms; a little before the caller's own */
    struct db *db;
    struct db_query query;
    int64_t pause_ms;
    struct waiter *next; /* in its saga's list */
};

/* A waiter in the call's arena; NULL when memory is short.  `key`, as it is stored, and
 * `user_id` are borrowed. */
struct waiter *waiter_new(struct rpc_call *call, Orders__V1__PlaceReply_Closure reply,
                          const char *key, const char *user_id, struct db *db)
    __attribute__((warn_unused_result));

/* Answers with a checkout's end: completed, or aborting or failed with its failure. */
void waiter_finish(struct waiter *waiter, const struct checkout *checkout);

/* Answers with the current cart, which differs from the expected one. */
void waiter_cart_changed(struct waiter *waiter, Orders__V1__Cart *cart);

/* Answers with an error that is not the checkout's end. */
void waiter_fail(struct waiter *waiter, struct err error);

/* Answers that its time is up: the outcome is not known yet. */
void waiter_expire(struct waiter *waiter);

/* Polls the checkout's row until it has an end or the waiter's time is up. */
void waiter_poll(struct waiter *waiter);
