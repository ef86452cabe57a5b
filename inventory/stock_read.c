/*
 * stock_read.c - reads stock and reservations: one entry, or a page.
 *
 * Read-only, run by readers, never by the writer.  Pages of reservations are range scans
 * of the primary key.  A page of stock is one statement, so the figures that are compared
 * come from one snapshot: a difference is real even while orders are placed.
 */
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "inventory/stock.h"

enum { PAGE_MOST = 1000 };

/* A query under way: in the request's arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    const char *what; /* the id or SKU asked for; NULL: a page */
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static void start(struct db *db, const struct request_context *ctx, const char *what,
                  struct db_query query)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading = (struct reading){query, *ctx, what};
    reading->query.deadline_ms = ctx->deadline_ms;
    reading->query.cancel = ctx->cancel;
    reading->query.request = ctx->request;
    reading->query.order = ctx->order;
    reading->query.arg = reading;
    db_read(db, &reading->query);
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

    start(db, ctx, request->sku, query);
}

/* ---- one reservation ---------------------------------------------------------------- */

static const char *const STATES[] = {
    [INVENTORY__V1__RESERVATION_STATE__RESERVATION_UNSPECIFIED] = "",
    [INVENTORY__V1__RESERVATION_STATE__HELD] = "held",
    [INVENTORY__V1__RESERVATION_STATE__CONFIRMED] = "confirmed",
    [INVENTORY__V1__RESERVATION_STATE__RELEASED] = "released",
    [INVENTORY__V1__RESERVATION_STATE__EXPIRED] = "expired",
    [INVENTORY__V1__RESERVATION_STATE__REFUSED] = "refused",
};

static Inventory__V1__ReservationState state_of(const char *name)
{
    size_t i = sizeof STATES / sizeof *STATES - 1;

    while (i > 0 && strcmp(name, STATES[i]) != 0)
        i--;
    return (Inventory__V1__ReservationState)i;
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
    reply->state = state_of(db_text(rows, 0, 0));
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

    start(db, ctx, request->reservation_id, query);
}

/* Room for the rows of a page and the pointers to them: `*entries`, or NULL. */
static void *page(struct reading *reading, struct err *error, const struct db_rows *rows,
                  size_t entry_size, void *entries)
{
    size_t count = failed(*error) ? 0 : (size_t)rows->count;
    void *pointers = arena_alloc(reading->ctx.arena, sizeof(void *) * count);
    void *room = arena_alloc(reading->ctx.arena, entry_size * count);

    if (pointers == NULL || room == NULL)
        *error = err_memory();
    memcpy(entries, &room, sizeof room);
    return pointers;
}

/* ---- reservations ------------------------------------------------------------------- */

#define ENTRY                                                                            \
    "SELECT id, state, total_cents, coalesce(currency, ''),"                             \
    "       (extract(epoch FROM created_at) * 1000)::bigint,"                            \
    "       (extract(epoch FROM now()) * 1000)::bigint "                                 \
    "FROM inventory.reservations "
#define ENTRY_SHAPE "*ttitii"

static void fill_entry(Inventory__V1__ReservationEntry *entry, const struct db_rows *rows,
                       int row)
{
    inventory__v1__reservation_entry__init(entry);
    entry->reservation_id = (char *)db_text(rows, row, 0);
    entry->state = state_of(db_text(rows, row, 1));
    entry->total_cents = db_number(rows, row, 2);
    entry->currency = (char *)db_text(rows, row, 3);
    entry->created_at_ms = db_number(rows, row, 4);
}

static void on_reservations(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Inventory__V1__ListReservationsReply reply =
        INVENTORY__V1__LIST_RESERVATIONS_REPLY__INIT;
    Inventory__V1__ReservationEntry *entries;

    reply.reservations = page(reading, &error, rows, sizeof *entries, &entries);
    if (!failed(error)) {
        reply.n_reservations = (size_t)rows->count;
        for (int i = 0; i < rows->count; i++) {
            fill_entry(&entries[i], rows, i);
            reply.reservations[i] = &entries[i];
        }
        reply.now_ms = rows->count > 0 ? db_number(rows, 0, 5) : 0;
    }
    finish(reading, error, &reply.base);
}

/* There is at least one row; its id is NULL when nothing was found. */
static void on_newest(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Inventory__V1__ListReservationsReply reply =
        INVENTORY__V1__LIST_RESERVATIONS_REPLY__INIT;
    Inventory__V1__ReservationEntry *entries;
    const int64_t limit = reading->query.values[3].number;

    reply.reservations = page(reading, &error, rows, sizeof *entries, &entries);
    for (int i = 0; !failed(error) && i < rows->count && db_text(rows, i, 0) != NULL;
         i++) {
        error = db_entry_check(rows, i, &ENTRY_SHAPE[1]);
        if (failed(error))
            break;
        fill_entry(&entries[i], rows, i);
        reply.reservations[reply.n_reservations++] = &entries[i];
        reply.now_ms = db_number(rows, 0, 5);
    }
    if (!failed(error) && rows->count > 0) {
        if ((int64_t)reply.n_reservations == limit)
            reply.next_before_id = entries[reply.n_reservations - 1].reservation_id;
        else if (db_bool(rows, 0, 7))
            reply.next_before_id = (char *)db_text(rows, 0, 6);
    }
    finish(reading, error, &reply.base);
}

/* Scans, because an index on states would slow down each reservation. */
static const char NEWEST[] =
    "WITH scanned AS MATERIALIZED ("
    "    SELECT id, state FROM inventory.reservations"
    "    WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 10000"
    "), found AS MATERIALIZED ("
    "    SELECT id FROM scanned WHERE $3 = '' OR state = $3 ORDER BY id DESC LIMIT $4"
    ")"
    "SELECT r.id, r.state, r.total_cents, coalesce(r.currency, ''),"
    "       (extract(epoch FROM r.created_at) * 1000)::bigint,"
    "       (extract(epoch FROM now()) * 1000)::bigint, s.last, s.count = 10000 "
    "FROM (SELECT min(id) AS last, count(*) AS count FROM scanned) AS s "
    "LEFT JOIN found ON true LEFT JOIN inventory.reservations r ON r.id = found.id "
    "ORDER BY r.id DESC";
_Static_assert(PAGE_SCAN_MAX == 10000, "as NEWEST says");

void stock_list_newest(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__ListReservationsRequest *in)
{
    struct ulid_range *range = arena_alloc(ctx->arena, sizeof *range);

    if (range == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *range = ulid_range(in->since_ms, in->until_ms, in->before_id);
    if (in->only_id[0] != '\0')
        ulid_range_only(range, in->only_id);
    start(db, ctx, NULL,
          (struct db_query){.name = "newest_reservations",
                            .types = "ttti",
                            .rows = "+TTItIiTb", /* of a reservation, or of none */
                            .sql = NEWEST,
                            .values = {db_t(range->end), db_t(range->least),
                                       db_t(STATES[in->state]),
                                       db_i(in->limit == 0 ? PAGE_MOST : in->limit)},
                            .done = on_newest});
}

void stock_list_reservations(struct db *db, const struct request_context *ctx,
                             const Inventory__V1__ListReservationsRequest *request)
{
    bool one = request->only_id[0] != '\0';

    start(db, ctx, NULL,
          (struct db_query){
              .name = one ? "one_reservation" : "list_reservations",
              .types = one ? "t" : "ti",
              .rows = ENTRY_SHAPE,
              .sql = one ? ENTRY "WHERE id = $1"
                         : ENTRY "WHERE id > $1 ORDER BY id LIMIT $2",
              .values = {db_t(one ? request->only_id : request->after_id),
                         db_i(request->limit == 0 ? PAGE_MOST : request->limit)},
              .done = on_reservations,
          });
}

/* ---- stock -------------------------------------------------------------------------- */

static void fill_stock(Inventory__V1__StockEntry *entry, const struct db_rows *rows,
                       int row)
{
    inventory__v1__stock_entry__init(entry);
    entry->sku = (char *)db_text(rows, row, 0);
    entry->received = db_number(rows, row, 1);
    entry->available = db_number(rows, row, 2);
    entry->held = db_number(rows, row, 3);
    entry->sold = db_number(rows, row, 4);
    entry->booked = db_number(rows, row, 5);
    entry->held_reserved = db_number(rows, row, 6);
    entry->sold_reserved = db_number(rows, row, 7);
}

static void on_stock_page(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Inventory__V1__ListStockReply reply = INVENTORY__V1__LIST_STOCK_REPLY__INIT;
    Inventory__V1__StockEntry *entries;

    reply.stock = page(reading, &error, rows, sizeof *entries, &entries);
    if (!failed(error)) {
        reply.n_stock = (size_t)rows->count;
        for (int i = 0; i < rows->count; i++) {
            fill_stock(&entries[i], rows, i);
            reply.stock[i] = &entries[i];
        }
    }
    finish(reading, error, &reply.base);
}

void stock_list(struct db *db, const struct request_context *ctx,
                const Inventory__V1__ListStockRequest *request)
{
    start(
        db, ctx, NULL,
        (struct db_query){
            .name = "list_stock",
            .types = "ti",
            .rows = "*tiiiiiii",
            .sql =
                "WITH page AS MATERIALIZED ("
                "    SELECT sku, received, available, held, sold FROM inventory.stock"
                "    WHERE sku > $1 ORDER BY sku LIMIT $2"
                "), booked AS ("
                "    SELECT l.sku, sum(l.delta)::bigint AS pieces"
                "    FROM inventory.ledger l JOIN page USING (sku) GROUP BY l.sku"
                "), reserved AS ("
                "    SELECT l.sku,"
                "           sum(l.quantity) FILTER (WHERE r.state = 'held')::bigint AS held,"
                "           sum(l.quantity) FILTER (WHERE r.state = 'confirmed')::bigint"
                "               AS sold"
                "    FROM inventory.reservations r,"
                "         unnest(r.skus, r.quantities) AS l(sku, quantity)"
                "    WHERE r.state IN ('held', 'confirmed')"
                "      AND l.sku BETWEEN (SELECT min(sku) FROM page)"
                "                    AND (SELECT max(sku) FROM page)"
                "    GROUP BY l.sku"
                ")"
                "SELECT p.sku, p.received, p.available, p.held, p.sold,"
                "       coalesce(b.pieces, 0), coalesce(r.held, 0), coalesce(r.sold, 0) "
                "FROM page p LEFT JOIN booked b USING (sku)"
                "            LEFT JOIN reserved r USING (sku) "
                "ORDER BY p.sku",
            .values = {db_t(request->after_sku),
                       db_i(request->limit == 0 ? PAGE_MOST : request->limit)},
            .done = on_stock_page,
        });
}
