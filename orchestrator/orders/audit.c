/*
 * audit.c - checkouts as operators and audits read them, and their retry; see orders.h.
 *
 * A page merges range scans of two primary keys: checkouts, and orders whose checkout is
 * gone; the rest of each entry is found by index.  Pages from new to old may be
 * filtered.  Indexes for the filters would make each order more expensive, so a page
 * scans PAGE_SCAN_MAX ids and returns where to continue.  Reads run on the readers.
 */
#include <string.h>

#include "orchestrator/checkout/checkout.h"
#include "orchestrator/orders/orders.h"
#include "orchestrator/store/operation.h"

enum { PAGE_MOST = 1000 };

/* clang-format off */
/* A key in each form a row may store it in (checkout_key), from one form of it. */
#define ANY_KEY "coalesce(c.idempotency_key, o.idempotency_key)"
#define KEY_FORMS                                                                        \
    "ARRAY[" ANY_KEY ", " KEY_OF("coalesce(c.user_id, o.user_id)", ANY_KEY) ","          \
    " CASE WHEN NOT " IS_KEY_ALONE(ANY_KEY) " THEN " KEY_ALONE(ANY_KEY) " END]"

/* What read_checkout reads, in this order, of an id in `ids`.  A missing event was
 * published: the relay prunes only published events, and stores how far it has pruned. */
#define COLUMNS                                                                             \
    "ids.id, c.state, coalesce(c.idempotency_key, o.idempotency_key),"                      \
    " coalesce(c.user_id, o.user_id)::text, coalesce(c.cart_id, o.cart_id), c.epoch,"       \
    " (CASE WHEN c.state IN ('running', 'aborting')"                                        \
    "       THEN extract(epoch FROM c.lease_until - now()) * 1000 END)::bigint,"            \
    " (extract(epoch FROM coalesce(c.created_at, o.created_at)) * 1000)::bigint,"           \
    " (extract(epoch FROM c.finished_at) * 1000)::bigint, coalesce(c.needs_attention, false)," \
    " coalesce(c.failure_reason, ''), o.id IS NOT NULL, o.total_cents,"                     \
    " coalesce(o.currency, ''),"                                                            \
    " coalesce(o.user_id = c.user_id AND o.cart_id = c.cart_id"                             \
    "          AND o.idempotency_key"                                                       \
    "              IN (c.idempotency_key, " KEY_OF("c.user_id", "c.idempotency_key") "), false)," \
    " coalesce((SELECT nullif(count(*), 0) FROM orders.outbox e"                            \
    "           WHERE e.order_id = ids.id AND e.type = 'order.created'),"                   \
    "          (SELECT (o.created_at <= r.pruned_to)::int FROM orders.relay r), 0),"        \
    " (SELECT count(*) FROM orders.orders k"                                                \
    "  WHERE k.user_id IS NOT DISTINCT FROM coalesce(c.user_id, o.user_id)"                 \
    "    AND k.idempotency_key = ANY (" KEY_FORMS ")),"                                     \
    " (SELECT count(*) FROM orders.checkouts k WHERE k.user_id = c.user_id"                 \
    "  AND k.cart_id = c.cart_id AND k.state IN ('running', 'completed')),"                 \
    " (extract(epoch FROM now()) * 1000)::bigint "
/* clang-format on */

#define JOINS                                                                            \
    "LEFT JOIN orders.checkouts c ON c.order_id = ids.id "                               \
    "LEFT JOIN orders.orders o ON o.id = ids.id "

enum { COLUMN_NOW = 18, COLUMNS_END };
#define SHAPE       "tTtttIIiIbtbItbiiii"
#define SHAPE_MAYBE "TTTTTIIIIbtbItbiiii" /* of a page that may be empty */

enum { COLUMN_LAST_SCANNED = COLUMNS_END, COLUMN_SCAN_FULL };

/* By the states of the contract; "" for the unspecified. */
static const char *const STATE_NAMES[] = {
    [ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED] = "",
    [ORDERS__V1__CHECKOUT_STATE__RUNNING] = "running",
    [ORDERS__V1__CHECKOUT_STATE__ABORTING] = "aborting",
    [ORDERS__V1__CHECKOUT_STATE__COMPLETED] = "completed",
    [ORDERS__V1__CHECKOUT_STATE__FAILED] = "failed",
};
enum { STATE_COUNT = sizeof STATE_NAMES / sizeof *STATE_NAMES };

static Orders__V1__CheckoutState state_of(const char *name)
{
    for (int i = 0; name != NULL && i < STATE_COUNT; i++)
        if (strcmp(name, STATE_NAMES[i]) == 0)
            return (Orders__V1__CheckoutState)i;
    return ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED;
}

static void read_checkout(Orders__V1__Checkout *out, const struct db_rows *rows, int row)
{
    orders__v1__checkout__init(out);
    out->order_id = (char *)db_text(rows, row, 0);
    out->state = state_of(db_text(rows, row, 1));
    out->idempotency_key = (char *)checkout_key_text(db_text(rows, row, 2));
    out->user_id = (char *)db_text(rows, row, 3);
    out->cart_id = (char *)db_text(rows, row, 4);
    out->epoch = db_number(rows, row, 5);
    out->lease_left_ms = db_number(rows, row, 6);
    out->created_at_ms = db_number(rows, row, 7);
    out->finished_at_ms = db_number(rows, row, 8);
    out->needs_attention = db_bool(rows, row, 9);
    out->failure_reason = (char *)db_text(rows, row, 10);
    out->ordered = db_bool(rows, row, 11);
    out->order_total_cents = db_number(rows, row, 12);
    out->order_currency = (char *)db_text(rows, row, 13);
    out->order_matches = db_bool(rows, row, 14);
    out->created_events = (int32_t)db_number(rows, row, 15);
    out->orders_of_key = (int32_t)db_number(rows, row, 16);
    out->live_of_cart = (int32_t)db_number(rows, row, 17);
}

/* A query or retry under way: in the request's arena. */
struct reading {
    struct operation base;
    const char *order_id;
    int64_t lease_ms;
    int64_t limit;           /* of a page from new to old */
    struct ulid_range range; /* likewise */
};

static struct reading *begin(struct db *db, const struct request_context *ctx,
                             const char *order_id, int64_t lease_ms)
{
    struct reading *reading = operation_new(db, ctx, sizeof *reading);

    if (reading != NULL) {
        reading->order_id = order_id;
        reading->lease_ms = lease_ms;
    }
    return reading;
}

/* Room for `count` entries; false when memory is short. */
static bool make_room(struct arena *arena, size_t count,
                      Orders__V1__ListCheckoutsReply *reply,
                      Orders__V1__Checkout **entries)
{
    *entries = arena_alloc(arena, sizeof **entries * count);
    reply->checkouts = arena_alloc(arena, sizeof *reply->checkouts * count);
    return *entries != NULL && reply->checkouts != NULL;
}

/* ---- pages -------------------------------------------------------------------------- */

static void on_page(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Orders__V1__ListCheckoutsReply reply = ORDERS__V1__LIST_CHECKOUTS_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Orders__V1__Checkout *entries;

    if (!make_room(reading->base.ctx.arena, count, &reply, &entries))
        error = err_memory();
    for (size_t i = 0; !failed(error) && i < count; i++) {
        read_checkout(&entries[i], rows, (int)i);
        reply.checkouts[i] = &entries[i];
        reply.now_ms = db_number(rows, 0, COLUMN_NOW);
    }
    reply.n_checkouts = count;
    reply.lease_ms = reading->lease_ms;
    operation_finish(&reading->base, error, &reply.base);
}

/* The limits within are constants, so that the planner knows a page is small. */
static const char PAGE[] =
    "SELECT " COLUMNS "FROM ("
    "    (SELECT order_id AS id FROM orders.checkouts"
    "     WHERE order_id > $1 ORDER BY order_id LIMIT 1000)"
    "    UNION"
    "    (SELECT id FROM orders.orders WHERE id > $1 ORDER BY id LIMIT 1000)"
    "    ORDER BY id LIMIT $2"
    ") AS ids " JOINS "ORDER BY ids.id";

/* One small index holds all unfinished checkouts, which are few. */
static const char UNFINISHED[] =
    "WITH unfinished AS MATERIALIZED ("
    "    SELECT order_id AS id FROM orders.checkouts WHERE state IN ('running', 'aborting')"
    "), ids AS (SELECT id FROM unfinished WHERE id > $1 ORDER BY id LIMIT $2)"
    "SELECT " COLUMNS "FROM ids " JOINS "ORDER BY ids.id";

static const char ONE[] = "SELECT " COLUMNS "FROM (SELECT $1 AS id) AS ids " JOINS
                          "WHERE c.order_id IS NOT NULL OR o.id IS NOT NULL";

void orders_list_checkouts(struct db *db, const struct request_context *ctx,
                           const Orders__V1__ListCheckoutsRequest *in, int64_t lease_ms)
{
    bool one = in->only_id[0] != '\0', unfinished = in->unfinished;
    struct reading *reading = begin(db, ctx, NULL, lease_ms);

    if (reading == NULL)
        return;
    operation_read(&reading->base,
                   (struct db_query){
                       .name = one          ? "one_checkout"
                               : unfinished ? "list_unfinished"
                                            : "list_checkouts",
                       .types = one ? "t" : "ti",
                       .rows = "*" SHAPE,
                       .sql = one          ? ONE
                              : unfinished ? UNFINISHED
                                           : PAGE,
                       .values = {db_t(one ? in->only_id : in->after_id),
                                  db_i(in->limit == 0 ? PAGE_MOST : in->limit)},
                   },
                   on_page);
}

/* ---- pages from new to old ---------------------------------------------------------- */

/* There is at least one row; its id is NULL when nothing was found. */
static void on_newest(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Orders__V1__ListCheckoutsReply reply = ORDERS__V1__LIST_CHECKOUTS_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Orders__V1__Checkout *entries;

    if (!make_room(reading->base.ctx.arena, count, &reply, &entries))
        error = err_memory();
    for (size_t i = 0; !failed(error) && i < count && db_text(rows, (int)i, 0) != NULL;
         i++) {
        error = db_entry_check(rows, (int)i, SHAPE);
        if (failed(error))
            break;
        read_checkout(&entries[i], rows, (int)i);
        reply.checkouts[reply.n_checkouts++] = &entries[i];
        reply.now_ms = db_number(rows, 0, COLUMN_NOW);
    }
    if (!failed(error) && count > 0) {
        if ((int64_t)reply.n_checkouts == reading->limit)
            reply.next_before_id = entries[reply.n_checkouts - 1].order_id;
        else if (db_bool(rows, 0, COLUMN_SCAN_FULL))
            reply.next_before_id = (char *)db_text(rows, 0, COLUMN_LAST_SCANNED);
    }
    reply.lease_ms = reading->lease_ms;
    operation_finish(&reading->base, error, &reply.base);
}

/* The filters on checkout `c` and order `o`. */
#define FILTERED                                                                         \
    "($3 = '' OR coalesce(c.user_id, o.user_id)::text = $3)"                             \
    " AND ($4 = '' OR coalesce(c.cart_id, o.cart_id) = $4)"                              \
    " AND ($5 = '' OR c.state = $5)"                                                     \
    " AND ($6 = '' OR c.request_id = $6)"                                                \
    " AND (NOT $7 OR c.state IN ('running', 'aborting')) "

/* Scans PAGE_SCAN_MAX ids and filters them before it looks up the rest of each entry. */
static const char NEWEST[] =
    "WITH scanned AS MATERIALIZED ("
    "    (SELECT order_id AS id FROM orders.checkouts"
    "     WHERE order_id < $1 AND order_id >= $2 ORDER BY order_id DESC LIMIT 10000)"
    "    UNION"
    "    (SELECT id FROM orders.orders"
    "     WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 10000)"
    "    ORDER BY id DESC LIMIT 10000"
    "), ids AS MATERIALIZED ("
    "    SELECT s.id FROM scanned s"
    "    LEFT JOIN orders.checkouts c ON c.order_id = s.id"
    "    LEFT JOIN orders.orders o ON o.id = s.id"
    "    WHERE " FILTERED "ORDER BY s.id DESC LIMIT $8"
    ")"
    "SELECT " COLUMNS ", s.last, s.count = 10000 "
    "FROM (SELECT min(id) AS last, count(*) AS count FROM scanned) AS s "
    "LEFT JOIN ids ON true " JOINS "ORDER BY ids.id DESC";
_Static_assert(PAGE_SCAN_MAX == 10000, "as NEWEST says");

/* Finds a key's checkout of any age by the unique indexes, and then filters. */
/* clang-format off */
static const char OF_A_KEY[] =
    "WITH of_key AS MATERIALIZED ("
    "    SELECT k.order_id AS id FROM orders.checkouts k"
    "    WHERE " OF_KEY("k", "$8", "$3::uuid") "    UNION SELECT s.id FROM orders.orders s WHERE "
    OF_KEY("s", "$8", "$3::uuid") "), ids AS MATERIALIZED ("
    "    SELECT k.id FROM of_key k"
    "    LEFT JOIN orders.checkouts c ON c.order_id = k.id"
    "    LEFT JOIN orders.orders o ON o.id = k.id"
    "    WHERE k.id < $1 AND k.id >= $2 AND " FILTERED ")"
    "SELECT " COLUMNS ", NULL::text, false FROM ids " JOINS "ORDER BY ids.id DESC";
/* clang-format on */

/* The parameters of both statements, except the last one. */
static void submit(struct reading *reading, const Orders__V1__ListCheckoutsRequest *in,
                   struct db_query query, struct db_value last)
{
    const char *state =
        (int)in->state > 0 && (int)in->state < STATE_COUNT ? STATE_NAMES[in->state] : "";
    const struct db_value values[] = {db_t(reading->range.end),
                                      db_t(reading->range.least),
                                      db_t(in->user_id),
                                      db_t(in->cart_id),
                                      db_t(state),
                                      db_t(in->request_id),
                                      db_i(in->unfinished),
                                      last};

    memcpy(query.values, values, sizeof values);
    operation_read(&reading->base, query, on_newest);
}

/* A request's checkout was claimed while the request could still be served. */
enum { CLOCKS_APART_MS = 60000 };

static struct ulid_range range_of(const Orders__V1__ListCheckoutsRequest *in)
{
    int64_t since = in->since_ms, until = in->until_ms;

    if (in->request_id[0] != '\0') {
        since = ulid_ms(in->request_id) - CLOCKS_APART_MS;
        until = ulid_ms(in->request_id) + RPC_TIMEOUT_MAX_MS + CLOCKS_APART_MS;
    }
    struct ulid_range range = ulid_range(since, until, in->before_id);
    if (in->only_id[0] != '\0')
        ulid_range_only(&range, in->only_id);
    return range;
}

void orders_list_newest(struct db *db, const struct request_context *ctx,
                        const Orders__V1__ListCheckoutsRequest *in, int64_t lease_ms)
{
    struct reading *reading = begin(db, ctx, NULL, lease_ms);

    if (reading == NULL)
        return;
    reading->limit = in->limit == 0 ? PAGE_MOST : in->limit;
    reading->range = range_of(in);
    if (in->idempotency_key[0] == '\0') {
        submit(reading, in,
               (struct db_query){.name = "list_newest",
                                 .types = "ttttttbi",
                                 .rows = "+" SHAPE_MAYBE "Tb",
                                 .sql = NEWEST},
               db_i(reading->limit));
        return;
    }
    const char *key = checkout_key(ctx->arena, in->user_id, in->idempotency_key);
    if (key == NULL)
        operation_finish(&reading->base, err_memory(), NULL);
    else
        submit(reading, in,
               (struct db_query){.name = "checkouts_of_key",
                                 .types = "ttttttbt",
                                 .rows = "*" SHAPE "Tb",
                                 .sql = OF_A_KEY},
               db_t(key));
}

/* ---- one, with its history ---------------------------------------------------------- */

/* The rows are one checkout, repeated beside each of its incidents and events. */
static const char DETAIL[] =
    "SELECT " COLUMNS ", coalesce(c.payment_method_id, ''), coalesce(c.owner, ''),"
    " coalesce(c.failure_message, ''), coalesce(c.failure_subject, ''),"
    " coalesce(c.failure_money, ''),"
    " (extract(epoch FROM o.created_at) * 1000)::bigint,"
    " n.is_event, n.name, n.number, n.owner, n.step, n.tries, n.cause,"
    " (extract(epoch FROM n.at) * 1000)::bigint,"
    " (extract(epoch FROM n.published_at) * 1000)::bigint,"
    " (extract(epoch FROM n.refused_at) * 1000)::bigint, coalesce(c.request_id, '') "
    "FROM (SELECT $1 AS id) AS ids " JOINS "LEFT JOIN LATERAL ("
    "    (SELECT false AS is_event, i.kind AS name, i.epoch AS number,"
    "            coalesce(i.owner, '') AS owner, coalesce(i.step, '') AS step, i.tries,"
    "            coalesce(i.cause, '') AS cause, i.at, NULL::timestamptz AS published_at,"
    "            NULL::timestamptz AS refused_at"
    "     FROM orders.incidents i WHERE i.order_id = ids.id ORDER BY i.epoch, i.at LIMIT 100)"
    "    UNION ALL"
    "    (SELECT true, e.type, e.sequence, '', '', 0, coalesce(d.reason, ''), e.created_at,"
    "            e.published_at, d.refused_at"
    "     FROM orders.outbox e LEFT JOIN orders.dead_letters d USING (order_id, sequence)"
    "     WHERE e.order_id = ids.id ORDER BY e.sequence LIMIT 100)"
    ") AS n ON true "
    "WHERE c.order_id IS NOT NULL OR o.id IS NOT NULL "
    "ORDER BY n.is_event, n.at, n.number";

enum {
    COLUMN_METHOD = COLUMNS_END,
    COLUMN_OWNER,
    COLUMN_MESSAGE,
    COLUMN_SUBJECT,
    COLUMN_MONEY,
    COLUMN_ORDERED_AT,
    COLUMN_IS_EVENT,
    COLUMN_NAME,
    COLUMN_NUMBER,
    COLUMN_NEW_OWNER,
    COLUMN_STEP,
    COLUMN_TRIES,
    COLUMN_CAUSE,
    COLUMN_AT,
    COLUMN_PUBLISHED_AT,
    COLUMN_REFUSED_AT,
    COLUMN_REQUEST,
};

static void fill_event(Orders__V1__CheckoutEvent *event, const struct db_rows *rows,
                       int row)
{
    orders__v1__checkout_event__init(event);
    event->type = (char *)db_text(rows, row, COLUMN_NAME);
    event->sequence = db_number(rows, row, COLUMN_NUMBER);
    event->created_at_ms = db_number(rows, row, COLUMN_AT);
    event->published_at_ms = db_number(rows, row, COLUMN_PUBLISHED_AT);
    event->refused_at_ms = db_number(rows, row, COLUMN_REFUSED_AT);
    event->refusal = (char *)db_text(rows, row, COLUMN_CAUSE);
}

static void fill_incident(Orders__V1__CheckoutIncident *incident,
                          const struct db_rows *rows, int row)
{
    orders__v1__checkout_incident__init(incident);
    incident->kind = (char *)db_text(rows, row, COLUMN_NAME);
    incident->epoch = db_number(rows, row, COLUMN_NUMBER);
    incident->owner = (char *)db_text(rows, row, COLUMN_NEW_OWNER);
    incident->step = (char *)db_text(rows, row, COLUMN_STEP);
    incident->tries = db_number(rows, row, COLUMN_TRIES);
    incident->cause = (char *)db_text(rows, row, COLUMN_CAUSE);
    incident->at_ms = db_number(rows, row, COLUMN_AT);
}

static struct err fill_detail(struct arena *arena, const struct db_rows *rows,
                              Orders__V1__GetCheckoutReply *reply)
{
    size_t count = (size_t)rows->count;
    Orders__V1__CheckoutEvent *events = arena_alloc(arena, sizeof *events * count);
    Orders__V1__CheckoutIncident *incidents =
        arena_alloc(arena, sizeof *incidents * count);

    reply->checkout = arena_alloc(arena, sizeof *reply->checkout);
    reply->incidents = arena_alloc(arena, sizeof *reply->incidents * count);
    reply->events = arena_alloc(arena, sizeof *reply->events * count);
    if (reply->checkout == NULL || reply->incidents == NULL || reply->events == NULL ||
        events == NULL || incidents == NULL)
        return err_memory();
    read_checkout(reply->checkout, rows, 0);
    reply->payment_method_id = (char *)db_text(rows, 0, COLUMN_METHOD);
    reply->owner = (char *)db_text(rows, 0, COLUMN_OWNER);
    reply->failure_message = (char *)db_text(rows, 0, COLUMN_MESSAGE);
    reply->failure_subject = (char *)db_text(rows, 0, COLUMN_SUBJECT);
    reply->money = (char *)db_text(rows, 0, COLUMN_MONEY);
    reply->request_id = (char *)db_text(rows, 0, COLUMN_REQUEST);
    reply->ordered_at_ms = db_number(rows, 0, COLUMN_ORDERED_AT);
    for (int i = 0; i < rows->count && db_text(rows, i, COLUMN_NAME) != NULL; i++)
        if (db_bool(rows, i, COLUMN_IS_EVENT)) {
            fill_event(&events[i], rows, i);
            reply->events[reply->n_events++] = &events[i];
        } else {
            fill_incident(&incidents[i], rows, i);
            reply->incidents[reply->n_incidents++] = &incidents[i];
        }
    return ERR_NONE;
}

static void on_detail(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Orders__V1__GetCheckoutReply reply = ORDERS__V1__GET_CHECKOUT_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no checkout or order %s.",
                         reading->order_id);
    if (!failed(error))
        error = fill_detail(reading->base.ctx.arena, rows, &reply);
    reply.lease_ms = reading->lease_ms;
    operation_finish(&reading->base, error, &reply.base);
}

void orders_get_checkout(struct db *db, const struct request_context *ctx,
                         const Orders__V1__GetCheckoutRequest *in, int64_t lease_ms)
{
    struct reading *reading = begin(db, ctx, in->order_id, lease_ms);

    if (reading != NULL)
        operation_read(&reading->base,
                       (struct db_query){.name = "get_checkout",
                                         .types = "t",
                                         .rows = "*" SHAPE "tttttIBTITTITIIIt",
                                         .sql = DETAIL,
                                         .values = {db_t(in->order_id)}},
                       on_detail);
}

/* ---- retry -------------------------------------------------------------------------- */

/* A repeat raises the epoch once more, as the next take-over does: both are harmless. */
const struct db_kind CHECKOUTS_RETRY = {
    .name = "retry_checkout",
    .head = "t", /* order */
    .write = "WITH retried AS ("
             "    UPDATE orders.checkouts SET epoch = epoch + 1, needs_attention = false,"
             "        lease_until = now() - interval '1 ms'"
             "    WHERE order_id = ANY ($1) AND state IN ('running', 'aborting')"
             "    RETURNING order_id, epoch"
             ")"
             "INSERT INTO orders.incidents (order_id, epoch, kind)"
             "SELECT order_id, epoch, 'retried' FROM retried "
             "ON CONFLICT DO NOTHING",
    .rows = "+iT",
    .answer = "SELECT a.ordinal, c.state "
              "FROM unnest($1) WITH ORDINALITY AS a(order_id, ordinal) "
              "LEFT JOIN orders.checkouts c ON c.order_id = a.order_id "
              "ORDER BY a.ordinal",
};

static void on_retried(void *arg, struct err error, const struct db_rows *rows)
{
    const struct reading *retry = arg;
    const Orders__V1__RetryCheckoutReply reply = ORDERS__V1__RETRY_CHECKOUT_REPLY__INIT;
    const char *state = failed(error) ? NULL : db_text(rows, 0, 1);

    if (!failed(error) && state == NULL)
        error = err_make(ERR_NOT_FOUND, "There is no checkout %s.", retry->order_id);
    else if (!failed(error) && strcmp(state, "running") != 0 &&
             strcmp(state, "aborting") != 0)
        error =
            err_make(ERR_FAILED_PRECONDITION,
                     "Checkout %s is %s: it is finished, and there is nothing to retry.",
                     retry->order_id, state);
    operation_finish(&retry->base, error, &reply.base);
}

void orders_retry(struct db *db, const struct request_context *ctx,
                  const Orders__V1__RetryCheckoutRequest *in)
{
    struct reading *retry = begin(db, ctx, in->order_id, 0);

    if (retry != NULL)
        operation_write(
            &retry->base,
            (struct db_op){.kind = &CHECKOUTS_RETRY, .head = {db_t(in->order_id)}},
            on_retried);
}
