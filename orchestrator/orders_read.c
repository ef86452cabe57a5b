/* orders_read.c - orders as they are asked for afterwards.  See orders.h. */
#include <string.h>

#include "orchestrator/orders.h"
#include "orchestrator/orders_cursor.h"

enum { PAGE_DEFAULT = 20 };

/* What read_order reads, in this order. */
#define ORDER_COLUMNS                                                                    \
    "id, user_id::text, total_cents, currency,"                                          \
    " (extract(epoch FROM created_at) * 1000)::bigint, lines::text, cart_id,"            \
    " (extract(epoch FROM created_at) * 1000000)::bigint "

/* A query under way: in the scope's arena. */
struct reading {
    struct db_query query;
    struct scope scope;
    const char *order_id;
    int64_t limit;
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->scope.done(reading->scope.arg, error, reply);
}

static struct reading *begin(const struct scope *scope)
{
    struct reading *reading = arena_alloc(scope->arena, sizeof *reading);

    if (reading == NULL)
        scope->done(scope->arg, err_memory(), NULL);
    else
        reading->scope = *scope;
    return reading;
}

static void submit(struct db *db, struct reading *reading, struct db_query query)
{
    reading->query = query;
    reading->query.deadline_ms = reading->scope.deadline_ms;
    reading->query.cancel = reading->scope.cancel;
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
        error = read_order(reading->scope.arena, rows, 0, &reply.order);
    finish(reading, error, &reply.base);
}

void orders_get(struct db *db, const struct scope *scope,
                const Orders__V1__GetOrderRequest *request)
{
    struct reading *reading = begin(scope);

    if (reading == NULL)
        return;
    reading->order_id = request->order_id;
    submit(db, reading,
           (struct db_query){
               .name = "get_order",
               .types = "tt",
               .sql = "SELECT " ORDER_COLUMNS "FROM orders.orders "
                      "WHERE id = $1 AND ($2 = '' OR user_id::text = $2)",
               .values = {db_t(request->order_id), db_t(request->user_id)},
               .done = on_order,
           });
}

/* ---- a page ------------------------------------------------------------------------- */

/* One row more than the limit was asked for: it tells that there is a next page. */
static struct err fill_page(struct reading *reading, const struct db_rows *rows,
                            Orders__V1__ListOrdersReply *reply)
{
    struct arena *arena = reading->scope.arena;
    bool more = rows->count > reading->limit;
    int count = more ? (int)reading->limit : rows->count;

    reply->orders = arena_alloc(arena, (size_t)count * sizeof *reply->orders);
    if (reply->orders == NULL)
        return err_memory();
    for (int i = 0; i < count; i++) {
        struct err e = read_order(arena, rows, i, &reply->orders[i]);
        if (failed(e))
            return e;
    }
    reply->n_orders = (size_t)count;
    if (!more)
        return ERR_NONE;
    struct orders_place last = {.created_at_us = db_number(rows, count - 1, 7)};
    memcpy(last.order_id, db_text(rows, count - 1, 0), ULID_SIZE);
    reply->next_cursor = orders_cursor_write(arena, &last);
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

void orders_list(struct db *db, const struct scope *scope,
                 const Orders__V1__ListOrdersRequest *request)
{
    struct orders_place after = {0};
    struct err e = request->cursor[0] == '\0'
                       ? ERR_NONE
                       : orders_cursor_read(request->cursor, &after);

    if (failed(e)) {
        scope->done(scope->arg, e, NULL);
        return;
    }
    struct reading *reading = begin(scope);
    if (reading == NULL)
        return;
    reading->limit = request->limit == 0 ? PAGE_DEFAULT : request->limit;
    const char *id = arena_strdup(scope->arena, after.order_id);
    if (id == NULL) {
        finish(reading, err_memory(), NULL);
        return;
    }
    bool first = request->cursor[0] == '\0';
    submit(db, reading,
           (struct db_query){
               .name = first ? "list_orders" : "list_orders_after",
               .types = first ? "ti" : "titi",
               .sql = first ? "SELECT " ORDER_COLUMNS "FROM orders.orders "
                              "WHERE user_id = $1::uuid "
                              "ORDER BY created_at DESC, id DESC LIMIT $2"
                            : "SELECT " ORDER_COLUMNS "FROM orders.orders "
                              "WHERE user_id = $1::uuid AND (created_at, id) <"
                              "      ('epoch'::timestamptz + $2 * interval '1 us', $3) "
                              "ORDER BY created_at DESC, id DESC LIMIT $4",
               .values = {db_t(request->user_id),
                          db_i(first ? reading->limit + 1 : after.created_at_us),
                          db_t(id), db_i(reading->limit + 1)},
               .done = on_page,
           });
}
