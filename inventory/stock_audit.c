/*
 * stock_audit.c - the inventory's books as an audit reads them: in pages, by key, read-only.
 *
 * Pages of reservations are range scans of the primary key.  A page of stock is one
 * statement, so its figures and what they are computed from are of one snapshot: a
 * difference is a real one, also while orders are being placed.
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
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static void start(struct db *db, const struct request_context *ctx, struct db_query query)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading = (struct reading){.query = query, .ctx = *ctx};
    reading->query.deadline_ms = ctx->deadline_ms;
    reading->query.cancel = ctx->cancel;
    reading->query.request = ctx->request;
    reading->query.order = ctx->order;
    reading->query.arg = reading;
    db_read(db, &reading->query);
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
    entry->state = stock_state(db_text(rows, row, 1));
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

/* There is one row at least: without an id when nothing was found. */
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

/* An index of states would make each reservation dearer. */
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

static const char *state_name(Inventory__V1__ReservationState state)
{
    switch (state) {
    case INVENTORY__V1__RESERVATION_STATE__HELD:
        return "held";
    case INVENTORY__V1__RESERVATION_STATE__CONFIRMED:
        return "confirmed";
    case INVENTORY__V1__RESERVATION_STATE__RELEASED:
        return "released";
    case INVENTORY__V1__RESERVATION_STATE__EXPIRED:
        return "expired";
    case INVENTORY__V1__RESERVATION_STATE__REFUSED:
        return "refused";
    default:
        return "";
    }
}

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
    start(db, ctx,
          (struct db_query){.name = "newest_reservations",
                            .types = "ttti",
                            .rows = "+TTItIiTb", /* of a reservation, or of none */
                            .sql = NEWEST,
                            .values = {db_t(range->end), db_t(range->least),
                                       db_t(state_name(in->state)),
                                       db_i(in->limit == 0 ? PAGE_MOST : in->limit)},
                            .done = on_newest});
}

void stock_list_reservations(struct db *db, const struct request_context *ctx,
                             const Inventory__V1__ListReservationsRequest *request)
{
    if (request->only_id[0] != '\0')
        start(db, ctx,
              (struct db_query){.name = "one_reservation",
                                .types = "t",
                                .rows = ENTRY_SHAPE,
                                .sql = ENTRY "WHERE id = $1",
                                .values = {db_t(request->only_id)},
                                .done = on_reservations});
    else
        start(db, ctx,
              (struct db_query){
                  .name = "list_reservations",
                  .types = "ti",
                  .rows = ENTRY_SHAPE,
                  .sql = ENTRY "WHERE id > $1 ORDER BY id LIMIT $2",
                  .values = {db_t(request->after_id),
                             db_i(request->limit == 0 ? PAGE_MOST : request->limit)},
                  .done = on_reservations});
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

static void on_stock(void *arg, struct err error, const struct db_rows *rows)
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
        db, ctx,
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
            .done = on_stock,
        });
}
