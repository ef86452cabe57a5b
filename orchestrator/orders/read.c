/* read.c - orders as their user reads them; see orders.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/cursor.h"
#include "orchestrator/checkout/checkout.h"
#include "orchestrator/orders/orders.h"
#include "orchestrator/store/operation.h"

enum {
    PAGE_DEFAULT = 20,
    PAGE_ROOM = 900 * 1024, /* bytes of orders in one reply, of RPC_MESSAGE_MAX */
    ORDER_OVERHEAD = 8,     /* of an order within the reply: its tag and length */
};

/* What read_order reads, in this order. */
#define ORDER_COLUMNS                                                                    \
    "id, user_id::text, total_cents, currency,"                                          \
    " (extract(epoch FROM created_at) * 1000)::bigint, lines::text, cart_id,"            \
    " (extract(epoch FROM created_at) * 1000000)::bigint "

#define ORDER_SHAPE "ttititti"

/* A query under way: in the request's arena. */
struct reading {
    struct operation base;
    const char *order_id;
    int64_t limit;
    struct cursor_scope cursor;
};

/* The row's texts are borrowed: the reply is packed while they live. */
static struct err read_order(struct arena *arena, const struct db_rows *rows, int row,
                             Orders__V1__Order **out)
{
    struct checkout c = {
        .order_id = db_text(rows, row, 0),
        .user_id = db_text(rows, row, 1),
        .total_cents = db_number(rows, row, 2),
        .currency = db_text(rows, row, 3),
        .created_at_ms = db_number(rows, row, 4),
        .cart_id = db_text(rows, row, 6),
    };
    struct err e = lines_from_json(arena, db_text(rows, row, 5), &c.lines);

    if (!failed(e) && c.lines.count == 0)
        e = err_make(ERR_DATA_LOSS, "Order %s has no lines.", c.order_id);
    if (failed(e))
        return e;
    *out = checkout_order(arena, &c);
    return *out == NULL ? err_memory() : ERR_NONE;
}

/* ---- one ---------------------------------------------------------------------------- */

static void on_order(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Orders__V1__GetOrderReply reply = ORDERS__V1__GET_ORDER_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no order %s.", reading->order_id);
    if (!failed(error))
        error = read_order(reading->base.ctx.arena, rows, 0, &reply.order);
    operation_finish(&reading->base, error, &reply.base);
}

void orders_get(struct db *db, const struct request_context *ctx,
                const Orders__V1__GetOrderRequest *request)
{
    struct reading *reading = operation_new(db, ctx, sizeof *reading);

    if (reading == NULL)
        return;
    reading->order_id = request->order_id;
    operation_read(&reading->base,
                   (struct db_query){
                       .name = "get_order",
                       .types = "tt",
                       .rows = "*" ORDER_SHAPE,
                       .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders "
                              "WHERE id = $1 AND ($2 = '' OR user_id::text = $2)",
                       .values = {db_t(request->order_id), db_t(request->user_id)},
                   },
                   on_order);
}

/* ---- a page ------------------------------------------------------------------------- */

/* A place in a user's orders: the id as well, so that orders created at the same time are
 * neither repeated nor skipped. */
struct place {
    int64_t created_at_us; /* Unix microseconds */
    const char *order_id;
};

/* *place is in the arena. */
static struct err read_cursor(struct arena *arena, const struct cursor_scope *scope,
                              const char *cursor, struct place *place)
{
    char text[64], *end;

    if (!cursor_open(scope, cursor, text, sizeof text))
        return err_make(ERR_INVALID_ARGUMENT,
                        "cursor is not one that was given to this user; leave it out to "
                        "begin anew.");
    place->created_at_us = strtoll(text, &end, 10);
    place->order_id = arena_strdup(arena, end + 1);
    return place->order_id == NULL ? err_memory() : ERR_NONE;
}

static char *write_cursor(struct arena *arena, const struct cursor_scope *scope,
                          const struct place *place)
{
    char text[64];

    snprintf(text, sizeof text, "%" PRId64 ".%s", place->created_at_us, place->order_id);
    return cursor_seal(arena, scope, text);
}

/* Up to `most` orders, as many as fit into a message; one always fits. */
static struct err fill_orders(struct arena *arena, const struct db_rows *rows, int most,
                              Orders__V1__ListOrdersReply *reply)
{
    size_t size = 0;

    reply->orders = arena_alloc(arena, (size_t)most * sizeof *reply->orders);
    if (reply->orders == NULL)
        return err_memory();
    for (int i = 0; i < most; i++) {
        struct err e = read_order(arena, rows, i, &reply->orders[i]);
        if (failed(e))
            return e;
        size +=
            protobuf_c_message_get_packed_size(&reply->orders[i]->base) + ORDER_OVERHEAD;
        if (size > PAGE_ROOM)
            return ERR_NONE;
        reply->n_orders++;
    }
    return ERR_NONE;
}

/* The query reads one row more than the limit, to see if there is a next page. */
static struct err fill_page(struct reading *reading, const struct db_rows *rows,
                            Orders__V1__ListOrdersReply *reply)
{
    struct arena *arena = reading->base.ctx.arena;
    int most = rows->count > reading->limit ? (int)reading->limit : rows->count;
    struct err e = fill_orders(arena, rows, most, reply);

    if (failed(e))
        return e;
    int count = (int)reply->n_orders;
    if (count == rows->count)
        return ERR_NONE;
    const struct place last = {db_number(rows, count - 1, 7),
                               db_text(rows, count - 1, 0)};
    reply->next_cursor = write_cursor(arena, &reading->cursor, &last);
    return reply->next_cursor == NULL ? err_memory() : ERR_NONE;
}

static void on_page(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Orders__V1__ListOrdersReply reply = ORDERS__V1__LIST_ORDERS_REPLY__INIT;

    if (!failed(error))
        error = fill_page(reading, rows, &reply);
    operation_finish(&reading->base, error, &reply.base);
}

/* Selects a user's orders: the same conditions on every page. */
#define OF_USER                                                                          \
    "WHERE user_id = $1::uuid AND ($2 = '' OR cart_id = $2)"                             \
    " AND created_at >= 'epoch'::timestamptz + $3 * interval '1 ms'"                     \
    " AND ($4 = 0 OR created_at < 'epoch'::timestamptz + $4 * interval '1 ms') "

/* clang-format off */
static const char LIST_OF_KEY[] =
    "SELECT " ORDER_COLUMNS "FROM orders.orders o " OF_USER
    "AND " OF_KEY("o", "$5", "$1::uuid") " LIMIT 1";
static const char LIST_FIRST[] =
    "SELECT " ORDER_COLUMNS "FROM orders.orders " OF_USER
    "ORDER BY created_at DESC, id DESC LIMIT $5";
static const char LIST_AFTER[] =
    "SELECT " ORDER_COLUMNS "FROM orders.orders " OF_USER
    "AND (created_at, id) <"
    "    ('epoch'::timestamptz + $6 * interval '1 us', $7) "
    "ORDER BY created_at DESC, id DESC LIMIT $5";
/* clang-format on */

/* Runs a list: the parameters $1 to $4 are those of OF_USER, `more` are $5 to $7. */
static void list(struct reading *reading, const Orders__V1__ListOrdersRequest *in,
                 struct db_query query, const struct db_value more[3])
{
    const struct db_value values[] = {db_t(in->user_id),
                                      db_t(in->cart_id),
                                      db_i(in->since_ms),
                                      db_i(in->until_ms),
                                      more[0],
                                      more[1],
                                      more[2]};

    memcpy(query.values, values, sizeof values);
    operation_read(&reading->base, query, on_page);
}

static void list_of_key(struct reading *reading, const Orders__V1__ListOrdersRequest *in)
{
    const char *key =
        checkout_key(reading->base.ctx.arena, in->user_id, in->idempotency_key);

    if (key == NULL)
        operation_finish(&reading->base, err_memory(), NULL);
    else
        list(reading, in,
             (struct db_query){.name = "list_orders_of_key",
                               .types = "ttiit",
                               .rows = "*" ORDER_SHAPE,
                               .sql = LIST_OF_KEY},
             (const struct db_value[3]){db_t(key)});
}

static void list_after(struct reading *reading, const Orders__V1__ListOrdersRequest *in)
{
    struct place after = {0};
    struct err e =
        read_cursor(reading->base.ctx.arena, &reading->cursor, in->cursor, &after);

    if (failed(e))
        operation_finish(&reading->base, e, NULL);
    else
        list(reading, in,
             (struct db_query){.name = "list_orders_after",
                               .types = "ttiiiit",
                               .rows = "*" ORDER_SHAPE,
                               .sql = LIST_AFTER},
             (const struct db_value[3]){db_i(reading->limit + 1),
                                        db_i(after.created_at_us), db_t(after.order_id)});
}

void orders_list(struct db *db, const struct request_context *ctx,
                 const uint8_t *cursor_key, const Orders__V1__ListOrdersRequest *in)
{
    struct reading *reading = operation_new(db, ctx, sizeof *reading);

    if (reading == NULL)
        return;
    reading->limit = in->limit == 0 ? PAGE_DEFAULT : in->limit;
    reading->cursor = (struct cursor_scope){cursor_key, "orders", in->user_id};
    if (in->idempotency_key[0] != '\0')
        list_of_key(reading, in);
    else if (in->cursor[0] != '\0')
        list_after(reading, in);
    else
        list(reading, in,
             (struct db_query){.name = "list_orders",
                               .types = "ttiii",
                               .rows = "*" ORDER_SHAPE,
                               .sql = LIST_FIRST},
             (const struct db_value[3]){db_i(reading->limit + 1)});
}
