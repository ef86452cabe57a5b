/*
 * problem.h - errors as application/problem+json (RFC 9457).
 *
 *     {"type","title","status","code","retryable","detail", and depending on the code:
 *      out_of_stock, unknown_sku   "skus": [..]
 *      cart_already_ordered        "order_id", if the order exists already
 *      cart_changed                "cart", written by api/carts.c
 *      payment_declined            "decline_code","advice" (payment.v1.Payment/Charge)
 *      a refused checkout's        "money": none, refunded or refund_pending}
 *
 * The body is a pure function of the error, so that a final failure replays byte for
 * byte, except "money", which is the state at the time of the answer; the request's id is
 * in a header instead.  Messages about a service's internals never reach the client:
 * their codes have a fixed sentence here.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/text.h"
#include "gateway/http/fields.h"

/* The body when there is no memory to write another one: of a retryable 503. */
#define PROBLEM_NO_MEMORY                                                                \
    "{\"type\":\"urn:checkout:problem:overloaded\",\"title\":\"Too busy\","              \
    "\"status\":503,\"code\":\"overloaded\",\"retryable\":true,"                         \
    "\"detail\":\"There is no memory for the request just now.  Try again with the "     \
    "same key.\"}"
enum { PROBLEM_NO_MEMORY_SIZE = sizeof PROBLEM_NO_MEMORY - 1 };

/* The answer for an error, in the arena.  When that is full, PROBLEM_NO_MEMORY. */
struct answer problem_answer(struct arena *arena, struct err error);

/* Writes the problem of an error without its closing brace, so that members can follow;
 * `status` replaces the code's own. */
void problem_open(struct text *text, unsigned status, struct err error);

/*
 * The error for the client when a call failed with `error`.  `changes`: the call may have
 * changed something, so a failure of unknown effect becomes outcome_unknown (504); for a
 * read it becomes UNAVAILABLE.  Faults of our own (keys, rights, unpacking) become
 * INTERNAL.
 */
struct err problem_of_call(struct err error, bool changes);

/* Whether a failed order stays failed: it is stored with its key and replayed
 * (proto/orders.proto). */
bool problem_is_final(enum err_code code);
