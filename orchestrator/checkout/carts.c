/* carts.c - see carts.h. */
#include "orchestrator/checkout/carts.h"

#include <string.h>

#include "orchestrator/checkout/checkout.h"
#include "orchestrator/store/operation.h"

/* A change or query under way: in the request's arena. */
struct work {
    struct operation base;
    Orders__V1__Cart *cart; /* what was put */
    const char *cart_id;
};

static struct work *begin(struct db *db, const struct request_context *ctx,
                          const char *cart_id)
{
    struct work *work = operation_new(db, ctx, sizeof *work);

    if (work != NULL)
        work->cart_id = cart_id;
    return work;
}

/* ---- put ---------------------------------------------------------------------------- */

/* Whether the cart in row `c` (columns NULL: no cart) meets the conditions of the put
 * `a`. */
/* clang-format off */
#define AS_DEMANDED                                                                      \
    "(a.versions IS NULL OR c.id IS NOT NULL AND (a.versions = '*'"                      \
    " OR " CART_VERSION("c.lines") " = ANY (string_to_array(a.versions, ','))))"         \
    " AND NOT (a.create_only AND c.id IS NOT NULL)"
/* clang-format on */

/*
 * If several puts in a batch change one cart, only one is written: the last unconditional
 * put, or else the last put.  A cart with a running or completed checkout is not changed.
 *
 * The snapshot of `write` may be older than a claim that committed before the row was
 * locked; the snapshot of `answer` is newer.  If `answer` finds that `write` changed a
 * cart that is being ordered, the transaction is run again, and does not change the cart
 * then.
 *
 * LATERAL with LIMIT, and OFFSET 0, make each put an index lookup.  A join planned while
 * the tables were empty may scan them.
 */
/* clang-format off */
const struct db_kind CARTS_PUT = {
    .name = "put_cart",
    .head = "ttttb", /* user, cart, lines, demanded versions with commas, create only */
    .write =
        "WITH ask AS ("
        "    SELECT DISTINCT ON (1, 2) a.user_id::uuid AS user_id, a.id, a.lines::jsonb AS lines,"
        "           a.versions, a.create_only, a.versions IS NOT NULL OR a.create_only AS guarded"
        "    FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY"
        "        AS a(user_id, id, lines, versions, create_only, ordinal)"
        "    ORDER BY 1, 2, 6, a.ordinal DESC"
        "), guarded AS MATERIALIZED ("
        "    SELECT * FROM ask WHERE guarded"
        "), seen AS ("
        "    INSERT INTO orders.users (id) SELECT DISTINCT user_id FROM ask ORDER BY 1"
        "    ON CONFLICT DO NOTHING"
        ")"
        "INSERT INTO orders.carts AS c (user_id, id, lines)"
        "SELECT user_id, id, lines FROM ask a "
        "WHERE versions IS NULL OR EXISTS (SELECT FROM orders.carts s"
        "                                  WHERE s.user_id = a.user_id AND s.id = a.id"
        "                                  OFFSET 0) "
        "ORDER BY user_id, id "
        "ON CONFLICT (user_id, id) DO UPDATE SET lines = EXCLUDED.lines, updated_at = now()"
        " WHERE c.ordered_at IS NULL"
        "   AND NOT EXISTS (SELECT FROM orders.checkouts k WHERE k.user_id = c.user_id"
        "                   AND k.cart_id = c.id AND k.state IN ('running', 'completed'))"
        "   AND NOT EXISTS (SELECT FROM guarded a WHERE a.user_id = c.user_id AND a.id = c.id"
        "                   AND NOT (" AS_DEMANDED "))",
    .rows = "+iBbTBBtTt",
    .answer =
        "SELECT a.ordinal,"
        "       c.created_at = now() AND a.ordinal = min(a.ordinal)"
        /* one of its puts created it */
        "           FILTER (WHERE a.versions IS NULL) OVER (PARTITION BY a.user_id, a.id),"
        "       c.ordered_at IS NOT NULL OR live.order_id IS NOT NULL,"
        "       coalesce(CASE WHEN live.state = 'completed' THEN live.order_id END, c.order_id),"
        "       CASE WHEN c.updated_at <> now() THEN c.lines = a.lines::jsonb"
        "            WHEN live.order_id IS NOT NULL THEN orders.run_again()"
        "            ELSE c.lines = a.lines::jsonb OR a.versions IS NULL AND NOT a.create_only"
        "       END,"
        "       " AS_DEMANDED ", " CART_VERSION("coalesce(c.lines, a.lines::jsonb)") ","
        "       c.lines::text, " CART_VERSION("a.lines::jsonb") " "
        "FROM unnest($1, $2, $3, $4, $5) WITH ORDINALITY"
        "    AS a(user_id, id, lines, versions, create_only, ordinal) "
        "LEFT JOIN orders.carts c ON c.user_id = a.user_id::uuid AND c.id = a.id "
        "LEFT JOIN LATERAL ("
        "    SELECT l.order_id, l.state FROM orders.checkouts l"
        "    WHERE l.user_id = c.user_id AND l.cart_id = c.id"
        "      AND l.state IN ('running', 'completed') LIMIT 1) AS live ON true "
        "ORDER BY a.ordinal",
};
/* clang-format on */

/* Columns of a put's answer. */
enum {
    PUT_CREATED = 1,
    PUT_ORDERED,
    PUT_ORDER,
    PUT_WRITTEN,  /* now, or the cart was the same already */
    PUT_DEMANDED, /* the current cart meets the put's conditions */
    PUT_VERSION,  /* of the current cart */
    PUT_LINES,
    PUT_ASKED_VERSION, /* of the lines asked for */
};

/* The put's conditions are not met: replies with the current cart, if any. */
static struct err reply_changed(struct work *work, const struct db_rows *rows,
                                Orders__V1__PutCartReply *reply)
{
    const struct cart_found found = {db_text(rows, 0, PUT_LINES),
                                     db_text(rows, 0, PUT_VERSION)};

    reply->changed = true;
    return found.lines_json == NULL
               ? ERR_NONE
               : cart_message(work->base.ctx.arena, work->cart_id, &found, &reply->cart);
}

static void on_put(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    Orders__V1__PutCartReply reply = ORDERS__V1__PUT_CART_REPLY__INIT;

    if (!failed(error) && db_bool(rows, 0, PUT_ORDERED)) {
        error = err_make(ERR_CART_ALREADY_ORDERED,
                         "Cart %s is ordered or being ordered; fill a new one.",
                         work->cart_id);
        error.subject = db_text(rows, 0, PUT_ORDER);
    } else if (!failed(error) && db_bool(rows, 0, PUT_WRITTEN)) {
        reply.created = db_bool(rows, 0, PUT_CREATED);
        reply.cart = work->cart;
        reply.cart->version = (char *)db_text(rows, 0, PUT_ASKED_VERSION);
    } else if (!failed(error) && db_bool(rows, 0, PUT_DEMANDED)) {
        /* Another put of the batch won, or a checkout that has failed since: retry. */
        db_submit(work->base.db, &work->base.op);
        return;
    } else if (!failed(error)) {
        error = reply_changed(work, rows, &reply);
    }
    operation_finish(&work->base, error, &reply.base);
}

/* "a,b"; NULL for none. */
static struct err join_versions(struct arena *arena,
                                const Orders__V1__PutCartRequest *request,
                                const char **out)
{
    const char *joined = NULL;

    for (size_t i = 0; i < request->n_if_versions; i++) {
        const char *version = request->if_versions[i];
        joined = joined == NULL ? arena_strdup(arena, version)
                                : arena_printf(arena, "%s,%s", joined, version);
        if (joined == NULL)
            return err_memory();
        if (strcmp(version, "*") == 0) {
            joined = "*";
            break;
        }
    }
    *out = joined;
    return ERR_NONE;
}

static char *cart_json(struct arena *arena, const Orders__V1__Cart *cart)
{
    struct lines lines = {.count = cart->n_lines};

    lines.items = arena_alloc(arena, cart->n_lines * sizeof *lines.items);
    if (lines.items == NULL)
        return NULL;
    for (size_t i = 0; i < cart->n_lines; i++)
        lines.items[i] =
            (struct line){cart->lines[i]->sku, cart->lines[i]->quantity, 0, NULL};
    return lines_to_json(arena, &lines, false);
}

void carts_put(struct db *db, const struct request_context *ctx,
               const Orders__V1__PutCartRequest *request)
{
    struct work *work = begin(db, ctx, request->cart->cart_id);

    if (work == NULL)
        return;
    const char *versions = NULL, *json = cart_json(ctx->arena, request->cart);
    struct err e =
        json == NULL ? err_memory() : join_versions(ctx->arena, request, &versions);
    if (failed(e)) {
        operation_finish(&work->base, e, NULL);
        return;
    }
    work->cart = request->cart;
    operation_write(&work->base,
                    (struct db_op){
                        .kind = &CARTS_PUT,
                        .head = {db_t(request->user_id), db_t(request->cart->cart_id),
                                 db_t(json), db_t(versions), db_i(request->create_only)},
                        .cancel = ctx->cancel,
                    },
                    on_put);
}

/* ---- get ---------------------------------------------------------------------------- */

static struct err fill_cart(struct arena *arena, const char *json, Orders__V1__Cart *cart)
{
    struct lines lines;
    struct err e = lines_from_json(arena, json, &lines);

    if (failed(e))
        return e;
    Orders__V1__CartLine *items = arena_alloc(arena, lines.count * sizeof *items);
    cart->lines = arena_alloc(arena, lines.count * sizeof *cart->lines);
    if (items == NULL || cart->lines == NULL)
        return err_memory();
    for (size_t i = 0; i < lines.count; i++) {
        orders__v1__cart_line__init(&items[i]);
        items[i].sku = (char *)lines.items[i].sku;
        items[i].quantity = lines.items[i].quantity;
        cart->lines[i] = &items[i];
    }
    cart->n_lines = lines.count;
    return ERR_NONE;
}

struct err cart_message(struct arena *arena, const char *cart_id,
                        const struct cart_found *found, Orders__V1__Cart **out)
{
    Orders__V1__Cart *cart = arena_alloc(arena, sizeof *cart);

    if (cart == NULL)
        return err_memory();
    orders__v1__cart__init(cart);
    cart->cart_id = (char *)cart_id;
    cart->version = (char *)found->version;
    *out = cart;
    return fill_cart(arena, found->lines_json, cart);
}

static void on_got(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    Orders__V1__GetCartReply reply = ORDERS__V1__GET_CART_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no cart %s.", work->cart_id);
    if (!failed(error)) {
        const struct cart_found found = {db_text(rows, 0, 0), db_text(rows, 0, 1)};
        error = cart_message(work->base.ctx.arena, work->cart_id, &found, &reply.cart);
    }
    operation_finish(&work->base, error, &reply.base);
}

void carts_get(struct db *db, const struct request_context *ctx,
               const Orders__V1__GetCartRequest *request)
{
    struct work *work = begin(db, ctx, request->cart_id);

    if (work == NULL)
        return;
    /* clang-format off */
    static const char GET[] =
        "SELECT lines::text, " CART_VERSION("lines") " FROM orders.carts "
        "WHERE user_id = $1::uuid AND id = $2";
    /* clang-format on */

    operation_read(&work->base,
                   (struct db_query){
                       .name = "get_cart",
                       .types = "tt",
                       .rows = "*tt",
                       .sql = GET,
                       .values = {db_t(request->user_id), db_t(request->cart_id)},
                   },
                   on_got);
}
