/*
 * dead_letters.h - events that NATS refused while it stored later ones: retried, then
 * given up.
 *
 *      refused, a later one stored -> dead letter --> published again after 1, 2, 4 ... 300 s
 *                                              |  stored: deleted
 *                                              |  refused for the last time
 *                                              v
 *                                          given up --resend--> published again
 *                                                   --drop----> deleted
 *
 * While an order has a dead letter, its later events become dead letters too and wait
 * behind it, so the events of one order stay in order.  Other orders do not wait.  If no
 * later event was stored, the bus itself may be at fault, and no event is added.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "db/db.h"
#include "db/session.h"
#include "orchestrator/events/bus/bus_nats.h"
#include "orchestrator/events/bus/event.h"
#include "proto/events.pb-c.h"
#include "rpc/service/request_context.h"

/* ---- for the publisher ----------------------------------------------------------------- */

/* In SQL: the row `d` of orders.dead_letters is the first of its order. */
#define DEAD_LETTER_FIRST(d)                                                             \
    "NOT EXISTS (SELECT FROM orders.dead_letters b WHERE b.order_id = " d ".order_id"    \
    " AND b.sequence < " d ".sequence)"

/* In SQL: whether a dead letter is due for another attempt. */
#define DEAD_LETTERS_DUE                                                                 \
    "EXISTS (SELECT FROM orders.dead_letters d WHERE d.next_at <= now()"                 \
    " AND " DEAD_LETTER_FIRST("d") ")"

/* In SQL: whether event `o` of the outbox is a dead letter, or must wait behind one. */
#define DEAD_LETTERS_HOLD                                                                \
    "EXISTS (SELECT FROM orders.dead_letters d WHERE d.order_id = o.order_id"            \
    " AND d.sequence <= o.sequence)"

/* In SQL: copies the events that $3, an array made by dead_letters_add, names. */
#define DEAD_LETTERS_ADD                                                                 \
    "INSERT INTO orders.dead_letters (position, order_id, sequence, type, payload,"      \
    "    traceparent, created_at, attempts, reason, next_at)"                            \
    " SELECT o.position, o.order_id, o.sequence, o.type, o.payload, o.traceparent,"      \
    "     o.created_at, a.attempts, a.reason, now() + interval '1 s'"                    \
    " FROM aside a JOIN orders.outbox o ON o.position = a.position"                      \
    " WHERE EXISTS (SELECT FROM moved) ON CONFLICT DO NOTHING"

/* Adds an event to the array; `reason` as in struct bus_delivery.  False: no memory. */
bool dead_letters_add(json_t *refused, const struct event *event, int64_t attempts,
                      const char *reason) __attribute__((warn_unused_result));

/*
 * Publishes the due dead letters to the bus, which must be ready, and records the
 * results.  An event that was refused `attempts_most` times is given up; one without an
 * answer is unchanged.  Returns a failure of the database connection; an error of the bus
 * goes into `*bus`.
 */
struct err dead_letters_retry(struct db_session *connection, struct bus_nats *nats,
                              int64_t attempts_most, struct err *bus)
    __attribute__((warn_unused_result));

/* ---- for operators --------------------------------------------------------------------- */

/* By position; `limit` 1 and up.  Changes nothing. */
void dead_letters_list(struct db *db, const struct request_context *ctx,
                       const Events__V1__ListDeadLettersRequest *request);

/* Makes them due for publishing now.  May be repeated: an event that was stored meanwhile
 * is no dead letter any more. */
void dead_letters_resend(struct db *db, const struct request_context *ctx,
                         const Events__V1__ResendDeadLettersRequest *request);

/* May be repeated.  `caller` is the operator, for the log; it must live until the answer. */
void dead_letters_drop(struct db *db, const struct request_context *ctx,
                       const char *caller,
                       const Events__V1__DropDeadLetterRequest *request);

/* Their kinds of operation. */
extern const struct db_kind DEAD_LETTERS_RESEND, DEAD_LETTERS_DROP;
