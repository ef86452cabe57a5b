/*
 * letters.h - events that NATS refused while it took others: set aside, tried again, given up.
 *
 *      refused, another behind it taken --> set aside --> tried after 1, 2, 4 ... 300 s
 *                                              |  stored: gone
 *                                              |  refused for the last time
 *                                              v
 *                                          given up --resend--> tried again
 *                                                   --drop----> gone
 *
 * While one of an order is here, later ones of that order come here as well, and wait for it:
 * of one order none overtakes another.  Nobody else's wait for it.  A refusal that no
 * acknowledgement follows is the bus's own trouble, and nothing is set aside for it.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "db/session.h"
#include "orchestrator/bus_nats.h"
#include "orchestrator/event.h"

/* In SQL: the row `d` of orders.dead_letters is the first of its order. */
#define LETTER_FIRST(d)                                                                  \
    "NOT EXISTS (SELECT FROM orders.dead_letters b WHERE b.order_id = " d ".order_id"    \
    " AND b.sequence < " d ".sequence)"

/* In SQL: whether one is to be tried now. */
#define LETTERS_DUE                                                                      \
    "EXISTS (SELECT FROM orders.dead_letters d WHERE d.next_at <= now()"                 \
    " AND " LETTER_FIRST("d") ")"

/* In SQL: whether the event `o` of the outbox is one, or waits for an earlier one. */
#define LETTERS_HOLD                                                                     \
    "EXISTS (SELECT FROM orders.dead_letters d WHERE d.order_id = o.order_id"            \
    " AND d.sequence <= o.sequence)"

/* In SQL: copies the events that $3, an array made by letters_add, tells of. */
#define LETTERS_SET_ASIDE                                                                \
    "INSERT INTO orders.dead_letters (position, order_id, sequence, type, payload,"      \
    "    traceparent, created_at, attempts, reason, next_at)"                            \
    " SELECT o.position, o.order_id, o.sequence, o.type, o.payload, o.traceparent,"      \
    "     o.created_at, a.attempts, a.reason, now() + interval '1 s'"                    \
    " FROM aside a JOIN orders.outbox o ON o.position = a.position"                      \
    " WHERE EXISTS (SELECT FROM moved) ON CONFLICT DO NOTHING"

/* Adds an event to be set aside; `reason` as in struct bus_delivery.  False: no memory. */
bool letters_add(json_t *aside, const struct event *event, int64_t attempts,
                 const char *reason) __attribute__((warn_unused_result));

/*
 * Gives those that are due to the bus, which is ready, and notes what became of them; gives
 * up what was refused `attempts_most` times.  A failure of the connection is returned, and
 * what the bus's own trouble is goes into `*bus`; what was not answered stays as it is.
 */
struct err letters_retry(struct db_session *connection, struct bus_nats *nats,
                         int64_t attempts_most, struct err *bus)
    __attribute__((warn_unused_result));
