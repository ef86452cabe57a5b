/* orders_read.c - orders as they are asked for afterwards.  See orders.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/contract/cursor.h"
#include "orchestrator/orders.h"

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
    struct db_query query;
    struct request_context ctx;
    const char *order_id;
    int64_t limit;
    struct cursor_scope cursor;
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static struct reading *begin(const struct request_context *ctx)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL)
        ctx->done(ctx->arg, err_memory(), NULL);
    else
        reading->ctx = *ctx;
    return reading;
}

static void submit(struct db *db, struct reading *reading, struct db_query query)
{
    reading->query = query;
    reading->query.deadline_ms = reading->ctx.deadline_ms;
    reading->query.cancel = reading->ctx.cancel;
    reading->query.request = reading->ctx.request;
    reading->query.order = reading->ctx.order;
    reading->query.arg = reading;
    db_read(db, &reading->query);
}

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
        error = read_order(reading->ctx.arena, rows, 0, &reply.order);
    finish(reading, error, &reply.base);
}

void orders_get(struct db *db, const struct request_context *ctx,
                const Orders__V1__GetOrderRequest *request)
{
    struct reading *reading = begin(ctx);

    if (reading == NULL)
        return;
    reading->order_id = request->order_id;
    submit(db, reading,
           (struct db_query){
               .name = "get_order",
               .types = "tt",
               .rows = "*" ORDER_SHAPE,
               .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders "
                      "WHERE id = $1 AND ($2 = '' OR user_id::text = $2)",
               .values = {db_t(request->order_id), db_t(request->user_id)},
               .done = on_order,
           });
}

/* ---- a page ------------------------------------------------------------------------- */

/* A place in a user's orders; the id, so that orders of one moment are neither repeated nor
 * skipped. */
struct place {
    int64_t created_at_us; /* Unix microseconds */
    const char *order_id;
};

/* *place is in the arena. */
static struct err read_cursor(struct arena *arena, const struct cursor_scope *ctx,
                              const char *cursor, struct place *place)
{
    char text[64], *end;

    if (!cursor_open(ctx, cursor, text, sizeof text))
        return err_make(ERR_INVALID_ARGUMENT,
                        "cursor is not one that was given to this user; leave it out to "
                        "begin anew.");
    place->created_at_us = strtoll(text, &end, 10);
    place->order_id = arena_strdup(arena, end + 1);
    return place->order_id == NULL ? err_memory() : ERR_NONE;
}

static char *write_cursor(struct arena *arena, const struct cursor_scope *ctx,
                          const struct place *place)
{
    char text[64];

    snprintf(text, sizeof text, "%" PRId64 ".%s", place->created_at_us, place->order_id);
    return cursor_seal(arena, ctx, text);
}

/* Up to `most` orders, as far as they fit into a message: one always does. */
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

/* One row more than the limit was asked for: it tells that there is a next page. */
static struct err fill_page(struct reading *reading, const struct db_rows *rows,
                            Orders__V1__ListOrdersReply *reply)
{
    struct arena *arena = reading->ctx.arena;
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
    finish(reading, error, &reply.base);
}

/* Which of a user's orders: the same conditions on every page. */
#define OF_USER                                                                          \
    "WHERE user_id = $1::uuid AND ($2 = '' OR cart_id = $2)"                             \
    " AND created_at >= 'epoch'::timestamptz + $3 * interval '1 ms'"                     \
    " AND ($4 = 0 OR created_at < 'epoch'::timestamptz + $4 * interval '1 ms') "

static void list_of_key(struct db *db, struct reading *reading,
                        const Orders__V1__ListOrdersRequest *request)
{
    const char *key =
        checkout_key(reading->ctx.arena, request->user_id, request->idempotency_key);

    if (key == NULL) {
        finish(reading, err_memory(), NULL);
        return;
    }
    submit(db, reading,
           (struct db_query){
               .name = "list_orders_of_key",
               .types = "ttiit",
               .rows = "*" ORDER_SHAPE,
               .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders o " OF_USER
                      "AND " OF_KEY("o", "$5", "$1::uuid") " LIMIT 1",
               .values = {db_t(request->user_id), db_t(request->cart_id),
                          db_i(request->since_ms), db_i(request->until_ms), db_t(key)},
               .done = on_page,
           });
}

static void list_first(struct db *db, struct reading *reading,
                       const Orders__V1__ListOrdersRequest *request)
{
    submit(db, reading,
           (struct db_query){
               .name = "list_orders",
               .types = "ttiii",
               .rows = "*" ORDER_SHAPE,
               .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders " OF_USER
                      "ORDER BY created_at DESC, id DESC LIMIT $5",
               .values = {db_t(request->user_id), db_t(request->cart_id),
                          db_i(request->since_ms), db_i(request->until_ms),
                          db_i(reading->limit + 1)},
               .done = on_page,
           });
}

static void list_after(struct db *db, struct reading *reading,
                       const Orders__V1__ListOrdersRequest *request,
                       const struct place *after)
{
    submit(db, reading,
           (struct db_query){
               .name = "list_orders_after",
               .types = "ttiiiit",
               .rows = "*" ORDER_SHAPE,
               .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders " OF_USER
                      "AND (created_at, id) <"
                      "    ('epoch'::timestamptz + $6 * interval '1 us', $7) "
                      "ORDER BY created_at DESC, id DESC LIMIT $5",
               .values = {db_t(request->user_id), db_t(request->cart_id),
                          db_i(request->since_ms), db_i(request->until_ms),
                          db_i(reading->limit + 1), db_i(after->created_at_us),
                          db_t(after->order_id)},
               .done = on_page,
           });
}

void orders_list(struct db *db, const struct request_context *ctx,
                 const uint8_t *cursor_key, const Orders__V1__ListOrdersRequest *request)
{
    struct reading *reading = begin(ctx);
    struct place after = {0};

    if (reading == NULL)
        return;
    reading->limit = request->limit == 0 ? PAGE_DEFAULT : request->limit;
    reading->cursor = (struct cursor_scope){cursor_key, "orders", request->user_id};
    if (request->idempotency_key[0] != '\0') {
        list_of_key(db, reading, request);
        return;
    }
    if (request->cursor[0] == '\0') {
        list_first(db, reading, request);
        return;
    }
    struct err e = read_cursor(ctx->arena, &reading->cursor, request->cursor, &after);
    if (failed(e))
        finish(reading, e, NULL);
    else
        list_after(db, reading, request, &after);
}
