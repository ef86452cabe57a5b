/*
 * checkout.h - one checkout, as its row in orders.checkouts: the whole state of a saga.
 *
 *   running --> completed                 its order is written
 *      |  \---> failed                    no step had an effect to undo
 *      \------> aborting --> failed       its steps are being undone
 *
 * A damaged row fails only the requests that read it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "base/err.h"
#include "db/db.h"
#include "proto/orders.pb-c.h"

enum checkout_state {
    CHECKOUT_RUNNING,
    CHECKOUT_ABORTING,
    CHECKOUT_COMPLETED,
    CHECKOUT_FAILED,
};

/* A line of a cart, or of an order once it has a price.  The texts are borrowed. */
struct line {
    const char *sku;
    int64_t quantity;         /* pieces */
    int64_t unit_price_cents; /* 0 in a cart */
    const char *title;        /* as sold, utf8_valid; NULL in a cart, and when not kept */
};

struct lines {
    struct line *items;
    size_t count;
};

/* The texts live in the arena of the holder of the checkout. */
struct checkout {
    const char *order_id;        /* the ids of all its effects derive from it */
    const char *idempotency_key; /* in its stored form: see checkout_key */
    const char *user_id;
    const char *cart_id;
    const char *payment_method_id;
    const uint8_t *fingerprint;        /* FINGERPRINT_SIZE bytes */
    struct lines cart;                 /* copied when the checkout was claimed */
    int64_t expected_total_cents;      /* -1: the client named none */
    const char *expected_currency;     /* NULL: the client named none */
    const char *expected_cart_version; /* required at the claim; NULL: any */
    const char *traceparent;           /* our place in the request's trace; or NULL */
    const char *request_id;            /* of the request that claimed it; or NULL */
    enum checkout_state state;
    int64_t epoch;      /* raised by each take-over */
    int64_t age_ms;     /* since it was claimed, by the database's clock */
    struct err failure; /* when aborting or failed */

    /* Of its order, once known. */
    struct lines lines;
    int64_t total_cents;
    const char *currency;
    int64_t created_at_ms;
};

/*
 * The text of the columns idempotency_key: "USER KEY", so that each user has its own keys.
 * Rows from before migration 0014 hold only the key; a key has no space, so the two forms
 * differ.  NULL when memory is short.
 */
char *checkout_key(struct arena *arena, const char *user_id, const char *key)
    __attribute__((warn_unused_result));

/* The user's own key, within the stored text of either form. */
const char *checkout_key_text(const char *stored);

/* The same in SQL: the stored text of a user's key; the key without its user, as rows of
 * the old form hold it (a user's id has 36 characters); whether a column has the old
 * form. */
#define KEY_OF(user, key)    "(" user " || ' ' || " key ")"
#define KEY_ALONE(stored)    "substr(" stored ", 38)"
#define IS_KEY_ALONE(column) "(strpos(" column ", ' ') = 0)"

/* Whether `row` has that key: the stored text "USER KEY", or the old form with this user.
 * IS NOT DISTINCT FROM, so that the key's index is used, not that of the user. */
/* clang-format off */
#define OF_KEY(row, stored, user)                                                        \
    row ".idempotency_key = ANY (ARRAY[" stored ", " KEY_ALONE(stored) "])"              \
    " AND " row ".user_id IS NOT DISTINCT FROM " user

/*
 * The columns that checkout_read reads: of orders.checkouts `c`, then of orders.orders
 * `o`, which is joined only for a completed checkout; with their shapes (db.h) for a
 * query that may find no checkout.
 */
#define CHECKOUT_COLUMNS                                                                    \
    "c.order_id, c.idempotency_key, c.user_id::text, c.cart_id, c.payment_method_id,"       \
    " c.fingerprint, c.cart::text, coalesce(c.expected_total_cents, -1), c.state, c.epoch," \
    " (extract(epoch FROM clock_timestamp() - c.created_at) * 1000)::bigint,"               \
    " c.failure_reason, c.failure_message, c.failure_subject, c.traceparent,"               \
    " c.expected_currency, c.failure_money, c.request_id,"
#define CHECKOUT_ORDER_COLUMNS                                                              \
    " o.lines::text, o.total_cents, o.currency,"                                            \
    " (extract(epoch FROM o.created_at) * 1000)::bigint "
/* clang-format on */
#define CHECKOUT_SHAPE_MAYBE "TTTTTYTITIITTTTTTT"
#define ORDER_SHAPE_MAYBE    "TITI"

enum { CHECKOUT_COLUMN_COUNT = 22 }; /* of both */

/*
 * Reads the columns from `first` on; the texts are in the arena.  DATA_LOSS, logged as
 * `checkout_damaged` with the request's and the order's id, when the row is damaged: a
 * column is NULL, a state is unknown, a list is empty, a completed checkout has no
 * order.  On failure `out` holds only the two ids, borrowed from the rows.
 */
struct err checkout_read(const struct db_rows *rows, int row, int first,
                         struct arena *arena, struct checkout *out)
    __attribute__((warn_unused_result));

/* Of "running" and so on, as in the column; false when it is none of them. */
bool checkout_state_of(const char *name, enum checkout_state *out)
    __attribute__((warn_unused_result));

/* Lines as the JSON of the columns cart and lines, with `prices` and titles or without;
 * NULL when memory is short. */
char *lines_to_json(struct arena *arena, const struct lines *lines, bool prices)
    __attribute__((warn_unused_result));

/* The inverse; DATA_LOSS when lines_to_json cannot have written the text. */
struct err lines_from_json(struct arena *arena, const char *json, struct lines *out)
    __attribute__((warn_unused_result));

/* The order of a completed checkout as a message in the arena; NULL when memory is short. */
Orders__V1__Order *checkout_order(struct arena *arena, const struct checkout *checkout)
    __attribute__((warn_unused_result));
