/* stock_read.c - the inventory's read-only queries; run by readers, never by the writer. */
#include <string.h>

#include "inventory/stock.h"

/* A query under way: in the request's arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    const char *what; /* the id or SKU asked for */
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static struct reading *begin(const struct request_context *ctx, struct db_query query,
                             const char *what)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return NULL;
    }
    reading->query = query;
    reading->query.deadline_ms = ctx->deadline_ms;
    reading->query.cancel = ctx->cancel;
    reading->query.request = ctx->request;
    reading->query.order = ctx->order;
    reading->query.arg = reading;
    reading->ctx = *ctx;
    reading->what = what;
    return reading;
}

/* ---- one SKU's stock ---------------------------------------------------------------- */

static void on_stock(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Inventory__V1__GetStockReply reply = INVENTORY__V1__GET_STOCK_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no product %s.", reading->what);
    if (!failed(error)) {
        reply.sku = (char *)reading->what;
        reply.received = db_number(rows, 0, 0);
        reply.available = db_number(rows, 0, 1);
        reply.held = db_number(rows, 0, 2);
        reply.sold = db_number(rows, 0, 3);
    }
    finish(reading, error, &reply.base);
}

void stock_get(struct db *db, const struct request_context *ctx,
               const Inventory__V1__GetStockRequest *request)
{
    const struct db_query query = {
        .name = "get_stock",
        .types = "t",
        .rows = "*iiii",
        .sql =
            "SELECT received, available, held, sold FROM inventory.stock WHERE sku = $1",
        .values = {db_t(request->sku)},
        .done = on_stock,
    };
    struct reading *reading = begin(ctx, query, request->sku);

    if (reading != NULL)
        db_read(db, &reading->query);
}

/* ---- one reservation ---------------------------------------------------------------- */

Inventory__V1__ReservationState stock_state(const char *name)
{
    static const struct {
        const char *name;
        Inventory__V1__ReservationState state;
    } STATES[] = {
        {"held", INVENTORY__V1__RESERVATION_STATE__HELD},
        {"confirmed", INVENTORY__V1__RESERVATION_STATE__CONFIRMED},
        {"released", INVENTORY__V1__RESERVATION_STATE__RELEASED},
        {"expired", INVENTORY__V1__RESERVATION_STATE__EXPIRED},
        {"refused", INVENTORY__V1__RESERVATION_STATE__REFUSED},
    };

    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++)
        if (strcmp(name, STATES[i].name) == 0)
            return STATES[i].state;
    return INVENTORY__V1__RESERVATION_STATE__RESERVATION_UNSPECIFIED;
}

static struct err fill_reservation(struct arena *arena, const struct db_rows *rows,
                                   Inventory__V1__GetReservationReply *reply)
{
    size_t count = db_text(rows, 0, 4) == NULL ? 0 : (size_t)rows->count;
    Inventory__V1__PricedLine *lines = arena_alloc(arena, sizeof *lines * count);

    reply->lines = arena_alloc(arena, sizeof *reply->lines * count);
    if (lines == NULL || reply->lines == NULL)
        return err_memory();
    for (int i = 0; i < (int)count; i++) {
        struct err e = db_row_check(rows, i, 4, "tii");
        if (failed(e))
            return e;
    }
    reply->state = stock_state(db_text(rows, 0, 0));
    reply->total_cents = db_number(rows, 0, 1);
    if (db_text(rows, 0, 2) != NULL)
        reply->currency = (char *)db_text(rows, 0, 2);
    reply->expires_at_ms = db_number(rows, 0, 3);
    reply->created_at_ms = db_number(rows, 0, 7);
    reply->settled_at_ms = db_number(rows, 0, 8);
    reply->n_lines = count;
    for (int i = 0; i < (int)count; i++) {
        inventory__v1__priced_line__init(&lines[i]);
        lines[i].sku = (char *)db_text(rows, i, 4);
        lines[i].quantity = db_number(rows, i, 5);
        lines[i].unit_price_cents = db_number(rows, i, 6);
        if (db_text(rows, i, 9) != NULL)
            lines[i].title = (char *)db_text(rows, i, 9);
        reply->lines[i] = &lines[i];
    }
    return ERR_NONE;
}

static void on_reservation(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Inventory__V1__GetReservationReply reply = INVENTORY__V1__GET_RESERVATION_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no reservation %s.", reading->what);
    if (!failed(error))
        error = fill_reservation(reading->ctx.arena, rows, &reply);
    reply.reservation_id = (char *)reading->what;
    finish(reading, error, &reply.base);
}

void stock_get_reservation(struct db *db, const struct request_context *ctx,
                           const Inventory__V1__GetReservationRequest *request)
{
    const struct db_query query = {
        .name = "get_reservation",
        .types = "t",
        .rows = "*tiTITIIiIT",
        .sql =
            "SELECT r.state, r.total_cents, r.currency,"
            "       (extract(epoch FROM r.expires_at) * 1000)::bigint,"
            "       l.sku, l.quantity, l.price,"
            "       (extract(epoch FROM r.created_at) * 1000)::bigint,"
            "       (extract(epoch FROM CASE WHEN r.state = 'refused' THEN r.created_at"
            "                                ELSE r.settled_at END) * 1000)::bigint,"
            "       l.title "
            "FROM inventory.reservations r "
            "LEFT JOIN LATERAL unnest(r.skus, r.quantities, r.unit_prices_cents, r.titles)"
            "    AS l(sku, quantity, price, title) ON true "
            "WHERE r.id = $1",
        .values = {db_t(request->reservation_id)},
        .done = on_reservation,
    };
    struct reading *reading = begin(ctx, query, request->reservation_id);

    if (reading != NULL)
        db_read(db, &reading->query);
}

/* ---- the reaper's ------------------------------------------------------------------- */

void stock_find_expired(struct db_query *query, int64_t limit)
{
    query->name = "find_expired";
    query->types = "i";
    query->rows = "*t";
    query->sql =
        "SELECT id FROM inventory.reservations "
        "WHERE state = 'held' AND expires_at <= now() ORDER BY expires_at LIMIT $1";
    query->values[0] = db_i(limit);
}
