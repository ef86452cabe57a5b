/* carts.c - carts as shoppers fill them.  See orders.h. */
#include <string.h>

#include "orchestrator/orders.h"

/* A change or query under way: in the scope's arena. */
struct work {
    union {
        struct db_op op;
        struct db_query query;
    };
    struct scope scope;
    const Orders__V1__Cart *cart; /* what was put */
    const char *cart_id;
};

static void finish(struct work *work, struct err error, const ProtobufCMessage *reply)
{
    work->scope.done(work->scope.arg, error, reply);
}

static struct work *begin(const struct scope *scope, const char *cart_id)
{
    struct work *work = arena_alloc(scope->arena, sizeof *work);

    if (work == NULL) {
        scope->done(scope->arg, err_memory(), NULL);
        return NULL;
    }
    work->scope = *scope;
    work->cart_id = cart_id;
    return work;
}

/* ---- put ---------------------------------------------------------------------------- */

/* The last put of one cart in a batch stands.  A cart with a live checkout is left alone. */
const struct db_kind CARTS_PUT = {
    .name = "put_cart",
    .head = "ttt", /* user, cart, lines */
    .write =
        "WITH ask AS ("
        "    SELECT DISTINCT ON (1, 2) a.user_id::uuid AS user_id, a.id, a.lines::jsonb AS lines"
        "    FROM unnest($1, $2, $3) WITH ORDINALITY AS a(user_id, id, lines, ordinal)"
        "    ORDER BY 1, 2, a.ordinal DESC"
        "), seen AS ("
        "    INSERT INTO orders.users (id) SELECT DISTINCT user_id FROM ask ORDER BY 1"
        "    ON CONFLICT DO NOTHING"
        ")"
        "INSERT INTO orders.carts AS c (user_id, id, lines)"
        "SELECT user_id, id, lines FROM ask ORDER BY user_id, id "
        "ON CONFLICT (user_id, id) DO UPDATE SET lines = EXCLUDED.lines, updated_at = now()"
        " WHERE c.ordered_at IS NULL"
        "   AND NOT EXISTS (SELECT FROM orders.checkouts k WHERE k.user_id = c.user_id"
        "                   AND k.cart_id = c.id AND k.state IN ('running', 'completed'))",
    .answer =
        "SELECT a.ordinal, c.created_at = now(),"
        "       c.ordered_at IS NOT NULL"
        "       OR EXISTS (SELECT FROM orders.checkouts k WHERE k.user_id = c.user_id"
        "                  AND k.cart_id = c.id AND k.state IN ('running', 'completed')) "
        "FROM unnest($1, $2) WITH ORDINALITY AS a(user_id, id, ordinal) "
        "JOIN orders.carts c ON c.user_id = a.user_id::uuid AND c.id = a.id "
        "ORDER BY a.ordinal",
};

static void on_put(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    Orders__V1__PutCartReply reply = ORDERS__V1__PUT_CART_REPLY__INIT;

    if (!failed(error) && db_bool(rows, 0, 2))
        error = err_make(ERR_CART_ALREADY_ORDERED,
                         "Cart %s is ordered or being ordered; fill a new one.", work->cart_id);
    if (!failed(error)) {
        reply.created = db_bool(rows, 0, 1);
        reply.cart = (Orders__V1__Cart *)work->cart;
    }
    finish(work, error, &reply.base);
}

static char *cart_json(struct arena *arena, const Orders__V1__Cart *cart)
{
    struct lines lines = {.count = cart->n_lines};

    lines.items = arena_alloc(arena, cart->n_lines * sizeof *lines.items);
    if (lines.items == NULL)
        return NULL;
    for (size_t i = 0; i < cart->n_lines; i++)
        lines.items[i] = (struct line){cart->lines[i]->sku, cart->lines[i]->quantity, 0};
    return lines_to_json(arena, &lines, false);
}

void carts_put(struct db *db, const struct scope *scope,
               const Orders__V1__PutCartRequest *request)
{
    struct work *work = begin(scope, request->cart->cart_id);

    if (work == NULL)
        return;
    const char *json = cart_json(scope->arena, request->cart);
    if (json == NULL) {
        finish(work, err_memory(), NULL);
        return;
    }
    work->cart = request->cart;
    work->op = (struct db_op){
        .kind = &CARTS_PUT,
        .head = {db_t(request->user_id), db_t(request->cart->cart_id), db_t(json)},
        .deadline_ms = scope->deadline_ms,
        .done = on_put,
        .arg = work,
    };
    db_submit(db, &work->op);
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

static void on_got(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    Orders__V1__GetCartReply reply = ORDERS__V1__GET_CART_REPLY__INIT;
    Orders__V1__Cart cart = ORDERS__V1__CART__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no cart %s.", work->cart_id);
    if (!failed(error))
        error = fill_cart(work->scope.arena, db_text(rows, 0, 0), &cart);
    cart.cart_id = (char *)work->cart_id;
    reply.cart = &cart;
    finish(work, error, &reply.base);
}

void carts_get(struct db *db, const struct scope *scope,
               const Orders__V1__GetCartRequest *request)
{
    struct work *work = begin(scope, request->cart_id);

    if (work == NULL)
        return;
    work->query = (struct db_query){
        .name = "get_cart",
        .types = "tt",
        .sql = "SELECT lines::text FROM orders.carts WHERE user_id = $1::uuid AND id = $2",
        .values = {db_t(request->user_id), db_t(request->cart_id)},
        .deadline_ms = scope->deadline_ms,
        .done = on_got,
        .arg = work,
    };
    db_read(db, &work->query);
}
