/*
 * checkout_row.h - a checkout, and once completed its order, as they stand in the database.
 *
 * Private to the orchestrator's statements.  A row that somebody damaged fails whoever asks
 * for it, and nobody else.
 */
#pragma once

#include "db/db.h"
#include "orchestrator/checkout.h"

/* The columns that checkout_row_read reads: of orders.checkouts `c`, then of orders.orders
 * `o`, which is joined for a completed checkout alone. */
#define CHECKOUT_COLUMNS                                                                    \
    "c.order_id, c.idempotency_key, c.user_id::text, c.cart_id, c.payment_method_id,"       \
    " c.fingerprint, c.cart::text, coalesce(c.expected_total_cents, -1), c.state, c.epoch," \
    " (extract(epoch FROM clock_timestamp() - c.created_at) * 1000)::bigint,"               \
    " c.failure_reason, c.failure_message, c.failure_subject, c.traceparent,"               \
    " c.expected_currency, c.failure_money, c.request_id,"
#define ORDER_COLUMNS                                                                    \
    " o.lines::text, o.total_cents, o.currency,"                                         \
    " (extract(epoch FROM o.created_at) * 1000)::bigint "

enum { CHECKOUT_COLUMN_COUNT = 22 }; /* of both */

/* Their shapes (db.h) where there may be no checkout.  checkout_row_read checks what there
 * is, row by row. */
#define CHECKOUT_SHAPE_MAYBE "TTTTTYTITIITTTTTTT"
#define ORDER_SHAPE_MAYBE    "TITI"

/*
 * Reads the columns from `first` on; the texts are in the arena.  DATA_LOSS, logged as
 * `checkout_damaged` with the request's and the order's id, when the row is not one that we
 * have written: a column is NULL, a state is unknown, a list is empty, a completed checkout
 * has no order.  When it fails, `out` holds the two ids alone, borrowed from the rows.
 */
struct err checkout_row_read(const struct db_rows *rows, int row, int first,
                             struct arena *arena, struct checkout *out)
    __attribute__((warn_unused_result));
