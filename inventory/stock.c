/* stock.c - changes of stock and reservations; see stock.h.  stock_read.c reads them. */
#include "inventory/stock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/log.h"

/* An operation under way: in the request's arena. */
struct work {
    struct db_op op;
    struct db *db; /* for submitting it again */
    struct request_context ctx;
    const char *id;
    int64_t delta;
    const char *sku;
};

static void finish(struct work *work, struct err error, const ProtobufCMessage *reply)
{
    work->ctx.done(work->ctx.arg, error, reply);
}

static struct work *begin(const struct request_context *ctx, const struct db_kind *kind,
                          db_done *done)
{
    struct work *work = arena_alloc(ctx->arena, sizeof *work);

    if (work == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return NULL;
    }
    work->ctx = *ctx;
    work->op = (struct db_op){.kind = kind,
                              .deadline_ms = ctx->deadline_ms,
                              .cancel = ctx->cancel,
                              .request = ctx->request,
                              .order = ctx->order,
                              .done = done,
                              .arg = work};
    return work;
}

/* ---- locks -------------------------------------------------------------------------- */

/*
 * Locks all stock rows that a batch will touch: those of the lines ($2), and those of the
 * reservations whose ids are heads ($1).  One sorted statement, so that batches of
 * replicas cannot deadlock.  LATERAL, so that each row is found by its key: a join might
 * scan all SKUs.
 */
static const char LOCK[] =
    "SELECT count(*) FROM ("
    "    SELECT unnest($2) COLLATE \"C\" AS sku"
    "    UNION"
    "    SELECT unnest(r.skus) FROM inventory.reservations r WHERE r.id = ANY ($1)"
    "    ORDER BY sku) AS named "
    "CROSS JOIN LATERAL ("
    "    SELECT FROM inventory.stock s WHERE s.sku = named.sku FOR UPDATE) AS locked";

/* ---- reserve ------------------------------------------------------------------------ */

/*
 * Requests are decided in arrival order.  A request is held if, for each of its SKUs, the
 * stock covers it and all earlier requests together; a request for more of a SKU than is
 * available does not count there.  A request that the stock would not cover even alone is
 * refused.  Others stay undecided and are submitted again; this ends, because each round
 * decides at least its first request.
 *
 * A line finds its request by array subscript, not by a join: for arrays of unknown
 * length the planner would choose a nested loop over all pairs.
 */
static const struct db_kind RESERVE = {
    .name = "reserve",
    .head = "ti",  /* id, ttl_ms */
    .lines = "ti", /* sku, quantity */
    .write =
        "WITH line AS ("
        "    SELECT l.ordinal, l.sku, l.quantity, s.available, p.price_cents, p.currency,"
        "           p.title,"
        "           sum(l.quantity) FILTER (WHERE l.quantity <= s.available)"
        "               OVER (PARTITION BY l.sku ORDER BY l.ordinal) AS asked"
        "    FROM unnest($3, $4, $5) AS l(ordinal, sku, quantity)"
        "    LEFT JOIN inventory.stock s ON s.sku = l.sku"
        "    LEFT JOIN inventory.products p ON p.sku = l.sku"
        "    WHERE NOT EXISTS (SELECT FROM inventory.reservations r"
        "                      WHERE r.id = ($1)[l.ordinal])"
        "), verdict AS ("
        "    SELECT ($1)[ordinal] AS id, ($2)[ordinal] AS ttl_ms,"
        "           bool_and(coalesce(quantity <= available AND asked <= available, false))"
        "               AND min(currency) = max(currency) AS fits,"
        "           min(currency) <> max(currency) AS mixed,"
        "           string_agg(sku, ',') FILTER (WHERE price_cents IS NULL) AS unknown,"
        "           string_agg(sku, ',') FILTER (WHERE quantity > available) AS short,"
        "           array_agg(sku) AS skus, array_agg(quantity) AS quantities,"
        "           array_agg(price_cents) AS prices, array_agg(title) AS titles,"
        "           coalesce(sum(quantity * price_cents), 0)::bigint AS total,"
        "           min(currency) AS currency"
        "    FROM (SELECT * FROM line ORDER BY ordinal, sku COLLATE \"C\") AS sorted"
        "    GROUP BY ordinal"
        "), deducted AS ("
        "    UPDATE inventory.stock s"
        "    SET available = s.available - t.quantity, held = s.held + t.quantity"
        "    FROM (SELECT l.sku, sum(l.quantity)::bigint AS quantity"
        "          FROM verdict v, unnest(v.skus, v.quantities) AS l(sku, quantity)"
        "          WHERE v.fits GROUP BY l.sku) AS t"
        "    WHERE s.sku = t.sku"
        "), decided AS ("
        "    INSERT INTO inventory.reservations"
        "        (id, state, skus, quantities, unit_prices_cents, total_cents, currency,"
        "         refusal, refused_skus, expires_at, titles)"
        "    SELECT id, CASE WHEN fits THEN 'held' ELSE 'refused' END, skus, quantities,"
        "           prices, total, currency,"
        "           CASE WHEN fits THEN NULL"
        "                WHEN unknown IS NOT NULL THEN 'unknown_sku'"
        "                WHEN mixed THEN 'mixed_currencies'"
        "                ELSE 'out_of_stock' END,"
        "           CASE WHEN NOT fits THEN coalesce(unknown, short) END,"
        "           CASE WHEN fits THEN now() + ttl_ms * interval '1 ms' END, titles"
        "    FROM verdict"
        "    WHERE fits OR unknown IS NOT NULL OR mixed OR short IS NOT NULL"
        "    ORDER BY id"
        "    RETURNING *"
        ")"
        "SELECT id, state, refusal, refused_skus, total_cents, currency,"
        "       (extract(epoch FROM expires_at) * 1000)::bigint,"
        "       unnest(skus), unnest(quantities), unnest(unit_prices_cents), unnest(titles) "
        "FROM decided",
    .write_answers = true,
    .rows = "+iTTTITITIIT",
    .answer =
        "SELECT a.ordinal, r.state, r.refusal, r.refused_skus, r.total_cents, r.currency,"
        "       (extract(epoch FROM r.expires_at) * 1000)::bigint,"
        "       l.sku, l.quantity, l.price, l.title "
        "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
        "LEFT JOIN inventory.reservations r ON r.id = a.id "
        "LEFT JOIN LATERAL unnest(r.skus, r.quantities, r.unit_prices_cents, r.titles)"
        "    AS l(sku, quantity, price, title) ON r.state IN ('held', 'confirmed') "
        "ORDER BY a.ordinal, l.sku",
};

/* The error of a refused reservation, the first time and on every repeat. */
static struct err refusal(struct arena *arena, const char *reason, const char *skus)
{
    if (reason == NULL)
        return err_make(ERR_DATA_LOSS,
                        "The reservation is refused, and does not say why.");
    if (strcmp(reason, "mixed_currencies") != 0 && skus == NULL)
        return err_make(ERR_DATA_LOSS, "The reservation is refused for no SKUs.");
    if (strcmp(reason, "mixed_currencies") == 0)
        return err_make(ERR_FAILED_PRECONDITION,
                        "The lines have prices in several currencies; order them apart.");
    bool unknown = strcmp(reason, "unknown_sku") == 0;
    struct err e =
        err_make(unknown ? ERR_UNKNOWN_SKU : ERR_OUT_OF_STOCK, "%s: %s.",
                 unknown ? "There is no such product" : "Not enough stock of", skus);
    e.subject = arena_strdup(arena, skus);
    return e.subject == NULL ? err_memory() : e;
}

/* The error of a reservation in any state but held and confirmed. */
static struct err gone(struct arena *arena, const char *id, const char *state,
                       const char *reason, const char *skus)
{
    if (strcmp(state, "refused") == 0)
        return refusal(arena, reason, skus);
    if (strcmp(state, "released") == 0)
        return err_make(ERR_ABORTED, "Reservation %s was released.", id);
    if (strcmp(state, "expired") == 0)
        return err_make(ERR_RESERVATION_EXPIRED, "Reservation %s ran out.", id);
    if (strcmp(state, "held") != 0 && strcmp(state, "confirmed") != 0)
        return err_make(ERR_DATA_LOSS, "Reservation %s is in no state that there is.",
                        id);
    return ERR_NONE;
}

/* Checks the columns that a held reservation must have. */
static struct err check_held(const struct db_rows *rows)
{
    struct err e = db_row_check(rows, 0, 4, "iti");

    for (int i = 0; i < rows->count && !failed(e); i++)
        e = db_row_check(rows, i, 7, "tii");
    return e;
}

/* False when memory is short. */
static bool fill_lines(struct arena *arena, Inventory__V1__ReserveReply *reply,
                       Inventory__V1__PricedLine *lines, const struct db_rows *rows)
{
    for (int i = 0; i < rows->count; i++) {
        const char *title = db_text(rows, i, 10);
        inventory__v1__priced_line__init(&lines[i]);
        lines[i].sku = arena_strdup(arena, db_text(rows, i, 7));
        lines[i].quantity = db_number(rows, i, 8);
        lines[i].unit_price_cents = db_number(rows, i, 9);
        if (title != NULL)
            lines[i].title = arena_strdup(arena, title);
        reply->lines[i] = &lines[i];
        if (lines[i].sku == NULL || lines[i].title == NULL)
            return false;
    }
    reply->n_lines = (size_t)rows->count;
    return true;
}

static void answer_reserved(struct work *work, const struct db_rows *rows)
{
    struct arena *arena = work->ctx.arena;
    Inventory__V1__ReserveReply reply = INVENTORY__V1__RESERVE_REPLY__INIT;
    Inventory__V1__PricedLine *lines =
        arena_alloc(arena, sizeof *lines * (size_t)rows->count);

    reply.lines = arena_alloc(arena, sizeof *reply.lines * (size_t)rows->count);
    reply.currency = arena_strdup(arena, db_text(rows, 0, 5));
    if (lines == NULL || reply.lines == NULL || reply.currency == NULL ||
        !fill_lines(arena, &reply, lines, rows)) {
        struct err e = err_memory();
        e.effect = EFFECT_APPLIED; /* the stock is held */
        finish(work, e, NULL);
        return;
    }
    reply.reservation_id = (char *)work->id;
    reply.total_cents = db_number(rows, 0, 4);
    reply.expires_at_ms = db_number(rows, 0, 6);
    finish(work, ERR_NONE, &reply.base);
}

static void on_reserved(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;

    if (failed(error)) {
        finish(work, error, NULL);
        return;
    }
    const char *state = db_text(rows, 0, 1);
    if (state == NULL && db_size(rows, 0, 4) == 0) { /* undecided: see RESERVE */
        db_submit(work->db, &work->op);
        return;
    }
    struct err e = gone(work->ctx.arena, work->id, state != NULL ? state : "",
                        db_text(rows, 0, 2), db_text(rows, 0, 3));
    if (!failed(e))
        e = check_held(rows);
    if (e.code == ERR_DATA_LOSS) {
        e.effect = EFFECT_UNKNOWN;
        log_line(LOG_ERROR, "reservation_damaged", "request=%s order=%s error=%s",
                 work->ctx.request, work->id, e.message);
    }
    if (failed(e))
        finish(work, e, NULL);
    else
        answer_reserved(work, rows);
}

static int by_sku(const void *a, const void *b)
{
    const struct db_value *x = a, *y = b;

    return strcmp(x->text, y->text);
}

/* The request's lines as rows (sku, quantity), sorted and summed by SKU. */
static struct db_value *sum_lines(struct arena *arena,
                                  const Inventory__V1__ReserveRequest *in, size_t *count)
{
    struct db_value *rows = arena_alloc(arena, 2 * sizeof *rows * in->n_lines);
    size_t kept = 0;

    if (rows == NULL)
        return NULL;
    for (size_t i = 0; i < in->n_lines; i++) {
        rows[2 * i] = db_t(in->lines[i]->sku);
        rows[2 * i + 1] = db_i(in->lines[i]->quantity);
    }
    qsort(rows, in->n_lines, 2 * sizeof *rows, by_sku);
    for (size_t i = 0; i < in->n_lines; i++) {
        if (kept > 0 && strcmp(rows[2 * kept - 2].text, rows[2 * i].text) == 0) {
            rows[2 * kept - 1].number += rows[2 * i + 1].number;
            continue;
        }
        rows[2 * kept] = rows[2 * i];
        rows[2 * kept + 1] = rows[2 * i + 1];
        kept++;
    }
    *count = kept;
    return rows;
}

void stock_reserve(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReserveRequest *request, int64_t ttl_ms)
{
    struct work *work = begin(ctx, &RESERVE, on_reserved);

    if (work == NULL)
        return;
    work->db = db;
    work->id = request->reservation_id;
    work->op.head[0] = db_t(request->reservation_id);
    work->op.head[1] = db_i(ttl_ms);
    work->op.lines = sum_lines(ctx->arena, request, &work->op.line_count);
    if (work->op.lines == NULL)
        finish(work, err_memory(), NULL);
    else
        db_submit(db, &work->op);
}

/* ---- confirm, release, expire ------------------------------------------------------- */

/*
 * States are compared with IS NOT DISTINCT FROM so that the row is found by its id: with
 * `state = 'held'` the planner might read the whole index of held reservations, including
 * dead entries.
 */

static const struct db_kind CONFIRM = {
    .name = "confirm",
    .head = "t", /* id */
    .write =
        "WITH moved AS ("
        "    UPDATE inventory.reservations SET state = 'confirmed', settled_at = now()"
        "    WHERE id = ANY ($1) AND state IS NOT DISTINCT FROM 'held'"
        "    RETURNING id, skus, quantities"
        "), pieces AS ("
        "    SELECT l.sku, sum(l.quantity)::bigint AS quantity"
        "    FROM moved, unnest(moved.skus, moved.quantities) AS l(sku, quantity)"
        "    GROUP BY l.sku"
        "), sold AS ("
        "    UPDATE inventory.stock s"
        "    SET held = s.held - p.quantity, sold = s.sold + p.quantity"
        "    FROM pieces p WHERE s.sku = p.sku"
        ")"
        "SELECT id, 'confirmed', NULL, NULL FROM moved",
    .write_answers = true,
    .rows = "+iTTT",
    .answer = "SELECT a.ordinal, r.state, r.refusal, r.refused_skus "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "LEFT JOIN inventory.reservations r ON r.id = a.id "
              "ORDER BY a.ordinal",
};

/* An unknown id gets a row too, the tombstone that prevents a late Reserve. */
static const struct db_kind RELEASE = {
    .name = "release",
    .head = "t", /* id */
    .write =
        "WITH tombstone AS ("
        "    INSERT INTO inventory.reservations (id, state, settled_at)"
        "    SELECT DISTINCT a.id, 'released', now() FROM unnest($1) AS a(id)"
        "    WHERE NOT EXISTS (SELECT FROM inventory.reservations r WHERE r.id = a.id)"
        "    ORDER BY a.id"
        "), before AS ("
        "    SELECT id, state FROM inventory.reservations"
        "    WHERE id = ANY ($1) AND state IN ('held', 'confirmed') FOR UPDATE"
        "), moved AS ("
        "    UPDATE inventory.reservations r SET state = 'released', settled_at = now()"
        "    FROM before b WHERE r.id = b.id RETURNING r.skus, r.quantities, b.state AS was"
        "), pieces AS ("
        "    SELECT l.sku, sum(l.quantity)::bigint AS quantity,"
        "           coalesce(sum(l.quantity) FILTER (WHERE was = 'held'), 0)::bigint AS held"
        "    FROM moved, unnest(moved.skus, moved.quantities) AS l(sku, quantity)"
        "    GROUP BY l.sku"
        ")"
        "UPDATE inventory.stock s"
        " SET available = s.available + p.quantity, held = s.held - p.held,"
        "     sold = s.sold - (p.quantity - p.held) "
        "FROM pieces p WHERE s.sku = p.sku",
};

static const struct db_kind EXPIRE = {
    .name = "expire",
    .head = "t", /* id */
    .write = "WITH moved AS ("
             "    UPDATE inventory.reservations SET state = 'expired', settled_at = now()"
             "    WHERE id = ANY ($1) AND state IS NOT DISTINCT FROM 'held'"
             "      AND expires_at <= now()"
             "    RETURNING skus, quantities"
             "), pieces AS ("
             "    SELECT l.sku, sum(l.quantity)::bigint AS quantity"
             "    FROM moved, unnest(moved.skus, moved.quantities) AS l(sku, quantity)"
             "    GROUP BY l.sku"
             ")"
             "UPDATE inventory.stock s"
             " SET available = s.available + p.quantity, held = s.held - p.quantity "
             "FROM pieces p WHERE s.sku = p.sku",
};

static void on_confirmed(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    const Inventory__V1__ConfirmReply reply = INVENTORY__V1__CONFIRM_REPLY__INIT;

    if (!failed(error)) {
        const char *state = db_text(rows, 0, 1);
        error = state == NULL
                    ? err_make(ERR_NOT_FOUND, "There is no reservation %s.", work->id)
                    : gone(work->ctx.arena, work->id, state, db_text(rows, 0, 2),
                           db_text(rows, 0, 3));
    }
    finish(work, error, &reply.base);
}

void stock_confirm(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ConfirmRequest *request)
{
    struct work *work = begin(ctx, &CONFIRM, on_confirmed);

    if (work == NULL)
        return;
    work->id = request->reservation_id;
    work->op.head[0] = db_t(work->id);
    db_submit(db, &work->op);
}

static void on_released(void *arg, struct err error, const struct db_rows *rows)
{
    const Inventory__V1__ReleaseReply reply = INVENTORY__V1__RELEASE_REPLY__INIT;

    (void)rows;
    finish(arg, error, &reply.base);
}

void stock_release(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReleaseRequest *request)
{
    struct work *work = begin(ctx, &RELEASE, on_released);

    if (work == NULL)
        return;
    work->op.head[0] = db_t(request->reservation_id);
    db_submit(db, &work->op);
}

/* ---- expiry ------------------------------------------------------------------------- */

enum { REAP_MAX = 256, REAP_PATIENCE_MS = 10000, REAP_REST_MS = 10000 };

struct expired {
    char ids[REAP_MAX][ULID_SIZE];
    size_t count;
};

static void on_expired(void *arg, const struct db_rows *rows)
{
    struct expired *found = arg;

    for (int i = 0; i < rows->count; i++)
        snprintf(found->ids[found->count++], ULID_SIZE, "%s", db_text(rows, i, 0));
}

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

void stock_expire(struct db_op *op, const char *id)
{
    op->kind = &EXPIRE;
    op->head[0] = db_t(id);
}

int64_t stock_reap(void *arg)
{
    struct db *db = arg;
    struct expired found = {.count = 0};
    struct db_query query = {.deadline_ms = clock_monotonic_ms() + REAP_PATIENCE_MS};
    struct db_op ops[REAP_MAX] = {0};

    stock_find_expired(&query, REAP_MAX);
    struct err e = db_read_wait(db, &query, on_expired, &found);
    for (size_t i = 0; i < found.count; i++) {
        stock_expire(&ops[i], found.ids[i]);
        ops[i].deadline_ms = query.deadline_ms;
    }
    if (!failed(e) && found.count > 0)
        e = db_submit_wait(db, ops, found.count, NULL, NULL);
    if (failed(e))
        log_warn("expiry_failed", "error=%s", e.message);
    else if (found.count > 0)
        log_info("reservations_expired", "count=%zu", found.count);
    return failed(e) || found.count > 0 ? 0 : REAP_REST_MS;
}

/* ---- adjust, put -------------------------------------------------------------------- */

static const struct db_kind ADJUST = {
    .name = "adjust",
    .head = "ttit", /* adjustment_id, sku, delta, reason */
    .lines = "t",   /* sku again, for the lock */
    .write =
        "WITH ask AS ("
        "    SELECT DISTINCT ON (a.id) a.id, a.sku, a.delta, a.reason"
        "    FROM unnest($1, $2, $3, $4) WITH ORDINALITY AS a(id, sku, delta, reason, ordinal)"
        "    JOIN inventory.stock s ON s.sku = a.sku"
        "    WHERE NOT EXISTS (SELECT FROM inventory.ledger g WHERE g.adjustment_id = a.id)"
        "    ORDER BY a.id, a.ordinal"
        "), booked AS ("
        "    INSERT INTO inventory.ledger (adjustment_id, sku, delta, reason)"
        "    SELECT id, sku, delta, reason FROM ask ORDER BY id"
        "), total AS ("
        "    SELECT sku, sum(delta)::bigint AS delta FROM ask GROUP BY sku"
        ")"
        "UPDATE inventory.stock s"
        " SET received = s.received + t.delta, available = s.available + t.delta "
        "FROM total t WHERE s.sku = t.sku",
    .rows = "+iIB",
    .answer = "SELECT a.ordinal, s.available, g.sku = a.sku AND g.delta = a.delta "
              "FROM unnest($1, $2, $3) WITH ORDINALITY AS a(id, sku, delta, ordinal) "
              "LEFT JOIN inventory.ledger g ON g.adjustment_id = a.id "
              "LEFT JOIN inventory.stock s ON s.sku = g.sku "
              "ORDER BY a.ordinal",
};

static void on_adjusted(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    Inventory__V1__AdjustStockReply reply = INVENTORY__V1__ADJUST_STOCK_REPLY__INIT;

    if (error.code == ERR_FAILED_PRECONDITION) /* available >= 0 */
        error =
            err_make(ERR_FAILED_PRECONDITION,
                     "Fewer than %lld pieces of %s are available; reduce the adjustment.",
                     (long long)-work->delta, work->sku);
    else if (!failed(error) && db_text(rows, 0, 1) == NULL)
        error = err_make(ERR_NOT_FOUND,
                         "There is no product %s; create it with PutProduct.", work->sku);
    else if (!failed(error) && !db_bool(rows, 0, 2))
        error = err_make(ERR_ALREADY_EXISTS,
                         "Adjustment %s booked something else; use a new id.", work->id);
    if (!failed(error))
        reply.available = db_number(rows, 0, 1);
    finish(work, error, &reply.base);
}

void stock_adjust(struct db *db, const struct request_context *ctx,
                  const Inventory__V1__AdjustStockRequest *request,
                  const char *adjustment_id)
{
    struct work *work = begin(ctx, &ADJUST, on_adjusted);

    if (work == NULL)
        return;
    work->id = adjustment_id;
    work->sku = request->sku;
    work->delta = request->delta;
    work->op.head[0] = db_t(adjustment_id);
    work->op.head[1] = db_t(request->sku);
    work->op.head[2] = db_i(request->delta);
    work->op.head[3] = db_t(request->reason);
    work->op.lines = &work->op.head[1];
    work->op.line_count = 1;
    db_submit(db, &work->op);
}

static const struct db_kind PUT_PRODUCT = {
    .name = "put_product",
    .head = "ttit", /* sku, title, price_cents, currency */
    .lines = "t",   /* sku again, for the lock */
    .write = "WITH put AS ("
             "    INSERT INTO inventory.products (sku, title, price_cents, currency)"
             "    SELECT DISTINCT ON (a.sku) a.sku, a.title, a.price, a.currency"
             "    FROM unnest($1, $2, $3, $4)"
             "        WITH ORDINALITY AS a(sku, title, price, currency, ordinal)"
             "    ORDER BY a.sku, a.ordinal DESC"
             "    ON CONFLICT (sku) DO UPDATE SET title = EXCLUDED.title,"
             "        price_cents = EXCLUDED.price_cents, currency = EXCLUDED.currency"
             "    RETURNING sku"
             ")"
             "INSERT INTO inventory.stock (sku) SELECT sku FROM put ORDER BY sku "
             "ON CONFLICT DO NOTHING",
};

static void on_product_put(void *arg, struct err error, const struct db_rows *rows)
{
    const Inventory__V1__PutProductReply reply = INVENTORY__V1__PUT_PRODUCT_REPLY__INIT;

    (void)rows;
    finish(arg, error, &reply.base);
}

void stock_put_product(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__PutProductRequest *request)
{
    struct work *work = begin(ctx, &PUT_PRODUCT, on_product_put);

    if (work == NULL)
        return;
    work->op.head[0] = db_t(request->sku);
    work->op.head[1] = db_t(request->title);
    work->op.head[2] = db_i(request->price_cents);
    work->op.head[3] = db_t(request->currency);
    work->op.lines = &work->op.head[0];
    work->op.line_count = 1;
    db_submit(db, &work->op);
}

void stock_configure(struct db_config *config)
{
    static const struct db_kind *const KINDS[] = {
        &PUT_PRODUCT, &ADJUST, &RELEASE, &EXPIRE, &CONFIRM, &RESERVE,
    };

    config->kinds = KINDS;
    config->kind_count = sizeof KINDS / sizeof *KINDS;
    config->lock = LOCK;
}
