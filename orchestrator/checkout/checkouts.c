/* checkouts.c - see checkouts.h. */
#include "orchestrator/checkout/checkouts.h"

#include <string.h>

#include "base/contract/trace.h"

/* Copies one value for each column of the kind's head; changes nothing else of the
 * operation. */
static void fill(struct db_op *op, const struct db_kind *kind,
                 const struct db_value *head)
{
    op->kind = kind;
    memcpy(op->head, head, strlen(kind->head) * sizeof *head);
}

/* ---- claim -------------------------------------------------------------------------- */

/*
 * The unique indexes on key and cart decide; `answer` looks up why a row was not
 * inserted.  After an order's checkout is pruned, the order still has the key, and the
 * cart is marked as ordered.
 *
 * A key has two forms (checkout_key).  Each table's unique index covers one form; `write`
 * looks up the other one: the old form in checkouts; the new form in orders, whose
 * checkout may be pruned.  An order with the old form still has its checkout, also with
 * the old form (migration 0014).
 *
 * The claim locks the cart's row until it commits, so a put either comes before, and is
 * part of the order, or comes after, and finds the checkout (carts.c).  A claim never
 * waits for a cart lock, because its batch may hold other carts; it is retried a moment
 * later.  A put waits, but holds only carts that sort before: no deadlock.  What needs no
 * lock is checked first, so that the cart of a known key is not locked: by LATERAL, and
 * OFFSET 0, which keeps the EXISTS from becoming a join.  The cart's conditions are
 * checked again once it is locked.
 *
 * `answer` looks up the order only for a completed checkout, and the cart only without a
 * checkout: a CASE that gives NULL skips the index lookup; a join's condition would be
 * checked only after it.
 */
/* clang-format off */
const struct db_kind CHECKOUTS_CLAIM = {
    .name = "claim",
    .head =
        "tttttyit" /* key, order, user, cart, method, fingerprint, expected, owner */
        "itttt",   /* lease, traceparent, expected currency, expected version, request */
    .write =
        "INSERT INTO orders.checkouts AS c (order_id, idempotency_key, user_id, cart_id,"
        "                              payment_method_id, fingerprint, cart,"
        "                              expected_total_cents, owner, lease_until,"
        "                              traceparent, expected_currency, request_id)"
        "SELECT a.order_id, a.key, a.user_id::uuid, a.cart_id, a.method, a.fingerprint,"
        "       open.lines, nullif(a.expected, -1), a.owner,"
        "       now() + a.lease_ms * interval '1 ms', a.traceparent, a.currency, a.request "
        "FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        "    AS a(key, order_id, user_id, cart_id, method, fingerprint, expected, owner,"
        "         lease_ms, traceparent, currency, version, request) "
        "CROSS JOIN LATERAL ("
        "    SELECT c.lines FROM orders.carts c"
        "    WHERE c.user_id = a.user_id::uuid AND c.id = a.cart_id"
        "      AND jsonb_array_length(c.lines) > 0 AND c.ordered_at IS NULL"
        "      AND (a.version IS NULL OR a.version = " CART_VERSION("c.lines") ")"
        "    FOR NO KEY UPDATE SKIP LOCKED) AS open "
        "WHERE NOT EXISTS (SELECT FROM orders.checkouts k"
        "                  WHERE k.idempotency_key = " KEY_ALONE("a.key")
        "                    AND k.user_id IS NOT DISTINCT FROM a.user_id::uuid OFFSET 0)"
        "  AND NOT EXISTS (SELECT FROM orders.orders o"
        "                  WHERE o.idempotency_key = a.key"
        "                    AND o.user_id IS NOT DISTINCT FROM a.user_id::uuid OFFSET 0) "
        "ORDER BY a.key "
        "ON CONFLICT DO NOTHING "
        "RETURNING c.idempotency_key, NULL::bigint, NULL::boolean, true, " CHECKOUT_COLUMNS
        "          NULL::text, NULL::bigint, NULL::text, NULL::bigint, NULL::text, NULL::text,"
        "          NULL::boolean, NULL::text",
    .write_answers = true,
    .rows = "+iIBb" CHECKOUT_SHAPE_MAYBE ORDER_SHAPE_MAYBE "TTBT",
    .answer =
        "SELECT a.ordinal, jsonb_array_length(k.lines)::bigint,"
        "       k.ordered_at IS NOT NULL OR live.order_id IS NOT NULL,"
        "       CASE WHEN c.order_id IS NULL"
        "            THEN NOT EXISTS (SELECT FROM orders.orders s"
        "                WHERE " OF_KEY("s", "a.key", "a.user_id::uuid") ")"
        "            ELSE c.fingerprint = a.fingerprint END," CHECKOUT_COLUMNS
        CHECKOUT_ORDER_COLUMNS ", k.lines::text, " CART_VERSION("k.lines") ","
        "       a.version IS NULL OR a.version = " CART_VERSION("k.lines") ","
        "       coalesce(CASE WHEN live.state = 'completed' THEN live.order_id END, k.order_id) "
        "FROM unnest($1, $3, $4, $6, $12) WITH ORDINALITY"
        "    AS a(key, user_id, cart_id, fingerprint, version, ordinal) "
        "LEFT JOIN orders.checkouts c ON " OF_KEY("c", "a.key", "a.user_id::uuid") " "
        "LEFT JOIN orders.orders o"
        "    ON o.id = CASE WHEN c.state = 'completed' THEN c.order_id END "
        "LEFT JOIN orders.carts k"
        "    ON k.user_id = CASE WHEN c.order_id IS NULL THEN a.user_id::uuid END"
        "   AND k.id = a.cart_id "
        "LEFT JOIN LATERAL ("
        "    SELECT l.order_id, l.state FROM orders.checkouts l"
        "    WHERE l.user_id = k.user_id AND l.cart_id = k.id"
        "      AND l.state IN ('running', 'completed') LIMIT 1) AS live ON true "
        /* If both forms of a key have a checkout, take the completed one. */
        "ORDER BY a.ordinal, c.state IS NOT DISTINCT FROM 'completed' DESC",
};
/* clang-format on */

/* Columns of a claim's answer. */
enum {
    CLAIMED_LINE_COUNT = 1, /* of the cart; NULL: no cart, or not looked up */
    CLAIMED_ORDERED,
    CLAIMED_SAME_REQUEST,
    CLAIMED_CHECKOUT,
    CLAIMED_CART_LINES = CLAIMED_CHECKOUT + CHECKOUT_COLUMN_COUNT,
    CLAIMED_CART_VERSION,
    CLAIMED_AS_EXPECTED,
    CLAIMED_CART_ORDER,
};

void checkouts_claim(struct db_op *op, const struct checkout *c, const char *owner,
                     int64_t lease_ms)
{
    bool traced = c->traceparent != NULL && trace_valid(c->traceparent);
    bool named = c->request_id != NULL && ulid_valid(c->request_id);

    fill(op, &CHECKOUTS_CLAIM,
         (const struct db_value[]){
             db_t(c->idempotency_key), db_t(c->order_id), db_t(c->user_id),
             db_t(c->cart_id), db_t(c->payment_method_id),
             db_y(c->fingerprint, FINGERPRINT_SIZE), db_i(c->expected_total_cents),
             db_t(owner), db_i(lease_ms), db_t(traced ? c->traceparent : NULL),
             db_t(c->expected_currency), db_t(c->expected_cart_version),
             db_t(named ? c->request_id : NULL)});
}

/* Why nothing was claimed although the key is unused. */
static struct err read_unclaimed(const struct db_rows *rows, struct arena *arena,
                                 struct claimed *out)
{
    const char *order_id = db_text(rows, 0, CLAIMED_CART_ORDER);

    if (db_size(rows, 0, CLAIMED_LINE_COUNT) == 0) {
        out->result = CLAIM_CART_NOT_FOUND;
    } else if (db_bool(rows, 0, CLAIMED_ORDERED)) {
        out->result = CLAIM_ALREADY_ORDERED;
        out->order_id = arena_strdup(arena, order_id);
        return out->order_id == NULL && order_id != NULL ? err_memory() : ERR_NONE;
    } else if (!db_bool(rows, 0, CLAIMED_AS_EXPECTED)) {
        out->result = CLAIM_CART_CHANGED;
        out->cart.lines_json = arena_strdup(arena, db_text(rows, 0, CLAIMED_CART_LINES));
        out->cart.version = arena_strdup(arena, db_text(rows, 0, CLAIMED_CART_VERSION));
        if (out->cart.lines_json == NULL || out->cart.version == NULL)
            return err_memory();
    } else {
        out->result =
            db_number(rows, 0, CLAIMED_LINE_COUNT) == 0 ? CLAIM_CART_EMPTY : CLAIM_AGAIN;
    }
    return ERR_NONE;
}

struct err checkouts_claimed(const struct db_rows *rows, struct arena *arena,
                             const struct checkout *c, struct claimed *out)
{
    const char *order_id = db_text(rows, 0, CLAIMED_CHECKOUT);

    *out = (struct claimed){.result = CLAIM_KEY_REUSED};
    if (!db_bool(rows, 0, CLAIMED_SAME_REQUEST))
        return ERR_NONE;
    if (order_id == NULL)
        return read_unclaimed(rows, arena, out);
    struct err e = checkout_read(rows, 0, CLAIMED_CHECKOUT, arena, &out->row);
    /* A claim whose answer was lost may run again after its lease: by then another owner may
     * have taken it over, which raised the epoch. */
    out->result = !failed(e) && strcmp(order_id, c->order_id) == 0 && out->row.epoch == 1
                      ? CLAIM_OURS
                      : CLAIM_KNOWN;
    return e;
}

void checkouts_find(struct db_query *query, const char *stored_key, const char *user_id)
{
    /* clang-format off */
    static const char FIND[] =
        "SELECT " CHECKOUT_COLUMNS CHECKOUT_ORDER_COLUMNS "FROM orders.checkouts c "
        "LEFT JOIN orders.orders o ON c.state = 'completed' AND o.id = c.order_id "
        "WHERE " OF_KEY("c", "$1", "$2::uuid") " "
        "ORDER BY c.state = 'completed' DESC LIMIT 1";
    /* clang-format on */

    query->name = "find_checkout";
    query->types = "tt";
    query->rows = "*" CHECKOUT_SHAPE_MAYBE ORDER_SHAPE_MAYBE;
    query->sql = FIND;
    query->values[0] = db_t(stored_key);
    query->values[1] = db_t(user_id);
}

struct err checkouts_found(const struct db_rows *rows, struct arena *arena,
                           struct checkout *out)
{
    return checkout_read(rows, 0, 0, arena, out);
}

/* ---- transition --------------------------------------------------------------------------- */

/* Order, state, epoch, and when its order was written. */
#define TRANSITIONED_SHAPE "+itiI"

/*
 * The failure is written once: an aborting checkout keeps its first failure.  The state
 * of the money is written with each transition.  Here and below, states are compared with
 * IS NOT DISTINCT FROM so that the row is found by its key: `state = 'running'` would let
 * the planner read the whole index of unfinished checkouts, dead entries and all.
 */
const struct db_kind CHECKOUTS_TRANSITION = {
    .name = "turn",    /* its failpoints are named after it: docs/faults.md */
    .head = "tittttti" /* order, epoch, to, reason, message, subject, step, tries */
            "tt",      /* cause, money */
    .write =
        "WITH turned AS ("
        "    UPDATE orders.checkouts c"
        "    SET state = a.state,"
        "        failure_reason = coalesce(c.failure_reason, a.reason),"
        "        failure_message = coalesce(c.failure_message, a.message),"
        "        failure_subject = coalesce(c.failure_subject, a.subject),"
        "        failure_money = coalesce(a.money, c.failure_money),"
        "        finished_at = CASE WHEN a.state = 'failed' THEN now() END,"
        "        needs_attention = c.needs_attention AND a.state <> 'failed'"
        "    FROM unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        "        AS a(order_id, epoch, state, reason, message, subject, step, tries, cause,"
        "             money)"
        "    WHERE c.order_id = a.order_id AND c.epoch = a.epoch"
        "      AND (c.state IS NOT DISTINCT FROM 'running'"
        "           OR c.state IS NOT DISTINCT FROM 'aborting' AND a.state = 'failed')"
        "    RETURNING c.order_id, c.epoch, a.step, a.tries, a.cause"
        ")"
        "INSERT INTO orders.incidents (order_id, epoch, kind, step, tries, cause)"
        "SELECT order_id, epoch, 'refused', step, tries, cause FROM turned "
        "WHERE step IS NOT NULL "
        "ON CONFLICT DO NOTHING",
    .rows = TRANSITIONED_SHAPE,
    .answer = "SELECT a.ordinal, c.state, c.epoch, NULL::bigint "
              "FROM unnest($1) WITH ORDINALITY AS a(order_id, ordinal) "
              "JOIN orders.checkouts c ON c.order_id = a.order_id "
              "ORDER BY a.ordinal",
};

void checkouts_transition(struct db_op *op, const struct checkout *c,
                          enum checkout_state to, const struct incident *why)
{
    fill(op, &CHECKOUTS_TRANSITION,
         (const struct db_value[]){
             db_t(c->order_id), db_i(c->epoch),
             db_t(to == CHECKOUT_ABORTING ? "aborting" : "failed"),
             db_t(err_reason(c->failure.code)), db_t(c->failure.message),
             db_t(c->failure.subject), db_t(why == NULL ? NULL : why->step),
             db_i(why == NULL ? 0 : why->tries), db_t(why == NULL ? NULL : why->cause),
             db_t(err_money_text(c->failure.money))});
}

struct err checkouts_transitioned(const struct db_rows *rows, struct transitioned *out)
{
    *out = (struct transitioned){.epoch = db_number(rows, 0, 2),
                                 .created_at_ms = db_number(rows, 0, 3)};
    return checkout_state_of(db_text(rows, 0, 1), &out->state)
               ? ERR_NONE
               : err_make(ERR_DATA_LOSS, "The checkout's state is unknown.");
}

/* ---- persist: the pivot ------------------------------------------------------------- */

/* clang-format off */
const struct db_kind CHECKOUTS_PERSIST = {
    .name = "persist",
    .head = "tiitt", /* order, epoch, total, currency, lines */
    .write =
        "WITH done AS ("
        "    UPDATE orders.checkouts c SET state = 'completed', finished_at = now()"
        "    FROM unnest($1, $2, $3, $4, $5) AS a(order_id, epoch, total, currency, lines)"
        "    WHERE c.order_id = a.order_id AND c.epoch = a.epoch"
        "      AND c.state IS NOT DISTINCT FROM 'running'"
        "    RETURNING c.order_id, c.epoch, c.user_id, c.idempotency_key, c.cart_id,"
        "              a.total, a.currency, a.lines::jsonb AS lines, c.traceparent"
        "), placed AS ("
        "    INSERT INTO orders.orders (id, user_id, total_cents, idempotency_key, currency,"
        "                               cart_id, reservation_id, charge_id, lines)"
        "    SELECT order_id, user_id, total,"
        "           CASE WHEN " IS_KEY_ALONE("idempotency_key") "                THEN "
        KEY_OF("user_id", "idempotency_key")
        "                ELSE idempotency_key END, currency, cart_id, order_id,"
        "           order_id, lines FROM done"
        "), told AS ("
        "    INSERT INTO orders.outbox (order_id, sequence, type, payload, traceparent)"
        "    SELECT order_id, 1, 'order.created',"
        "           jsonb_build_object('order_id', order_id, 'user_id', user_id,"
        "                              'total_cents', total, 'currency', currency,"
        "                              'lines', lines), traceparent FROM done"
        ")"
        "SELECT order_id, 'completed', epoch, (extract(epoch FROM now()) * 1000)::bigint "
        "FROM done",
    .write_answers = true,
    .rows = TRANSITIONED_SHAPE,
    .answer = "SELECT a.ordinal, c.state, c.epoch,"
              "       (extract(epoch FROM o.created_at) * 1000)::bigint "
              "FROM unnest($1) WITH ORDINALITY AS a(order_id, ordinal) "
              "JOIN orders.checkouts c ON c.order_id = a.order_id "
              "LEFT JOIN orders.orders o ON o.id = a.order_id "
              "ORDER BY a.ordinal",
};
/* clang-format on */

void checkouts_persist(struct db_op *op, const struct checkout *c, const char *lines_json)
{
    fill(op, &CHECKOUTS_PERSIST,
         (const struct db_value[]){db_t(c->order_id), db_i(c->epoch),
                                   db_i(c->total_cents), db_t(c->currency),
                                   db_t(lines_json)});
}

/* ---- leases ------------------------------------------------------------------------- */

const struct db_kind CHECKOUTS_RENEW = {
    .name = "renew",
    .head = "tii", /* order, epoch, lease */
    .write =
        "UPDATE orders.checkouts c SET lease_until = now() + a.lease_ms * interval '1 ms' "
        "FROM unnest($1, $2, $3) AS a(order_id, epoch, lease_ms) "
        "WHERE c.order_id = a.order_id AND c.epoch = a.epoch AND c.finished_at IS NULL",
};

void checkouts_renew(struct db_op *op, const char *order_id, int64_t epoch,
                     int64_t lease_ms)
{
    fill(op, &CHECKOUTS_RENEW,
         (const struct db_value[]){db_t(order_id), db_i(epoch), db_i(lease_ms)});
}

const struct db_kind CHECKOUTS_NEED_ATTENTION = {
    .name = "need_attention",
    .head = "titit", /* order, epoch, step, tries, cause */
    .write =
        "WITH flagged AS ("
        "    UPDATE orders.checkouts c SET needs_attention = true"
        "    FROM unnest($1, $2, $3, $4, $5) AS a(order_id, epoch, step, tries, cause)"
        "    WHERE c.order_id = a.order_id AND c.epoch = a.epoch"
        "    RETURNING c.order_id, c.epoch, a.step, a.tries, a.cause"
        ")"
        "INSERT INTO orders.incidents (order_id, epoch, kind, step, tries, cause)"
        "SELECT order_id, epoch, 'needs_attention', step, tries, cause FROM flagged "
        "ON CONFLICT DO NOTHING",
};

void checkouts_need_attention(struct db_op *op, const char *order_id, int64_t epoch,
                              const struct incident *why)
{
    fill(op, &CHECKOUTS_NEED_ATTENTION,
         (const struct db_value[]){db_t(order_id), db_i(epoch), db_t(why->step),
                                   db_i(why->tries), db_t(why->cause)});
}

/*
 * now() is constant within a transaction, so it marks the rows that this one took over.
 * If the answer to COMMIT is lost, no process runs them until their leases expire and
 * they are taken over again.
 */
const struct db_kind CHECKOUTS_TAKE_OVER = {
    .name = "take_over",
    .head = "tii", /* owner, lease, limit */
    .write =
        "WITH ask AS (SELECT * FROM unnest($1, $2, $3) AS a(owner, lease_ms, most) LIMIT 1),"
        " late AS ("
        "    SELECT order_id FROM orders.checkouts"
        "    WHERE state IN ('running', 'aborting') AND lease_until < now()"
        "    ORDER BY lease_until LIMIT coalesce((SELECT most FROM ask), 0)"
        "    FOR UPDATE SKIP LOCKED"
        "), taken AS ("
        "    UPDATE orders.checkouts c"
        "    SET owner = ask.owner, epoch = c.epoch + 1, taken_over_at = now(),"
        "        lease_until = now() + ask.lease_ms * interval '1 ms'"
        "    FROM ask, late WHERE c.order_id = late.order_id"
        "    RETURNING c.order_id, c.epoch, c.owner"
        ")"
        "INSERT INTO orders.incidents (order_id, epoch, kind, owner)"
        "SELECT order_id, epoch, 'taken_over', owner FROM taken "
        "ON CONFLICT DO NOTHING",
    .rows = "*i" CHECKOUT_SHAPE_MAYBE ORDER_SHAPE_MAYBE,
    .answer = "SELECT 1::bigint, " CHECKOUT_COLUMNS CHECKOUT_ORDER_COLUMNS
              "FROM orders.checkouts c "
              "LEFT JOIN orders.orders o ON c.state = 'completed' AND o.id = c.order_id "
              "WHERE c.state IN ('running', 'aborting') AND c.taken_over_at = now()"
              "  AND c.owner = $1[1]",
};

void checkouts_take_over(struct db_op *op, const char *owner, int64_t lease_ms,
                         int64_t limit)
{
    fill(op, &CHECKOUTS_TAKE_OVER,
         (const struct db_value[]){db_t(owner), db_i(lease_ms), db_i(limit)});
}

struct err checkouts_taken(const struct db_rows *rows, int row, struct arena *arena,
                           struct checkout *out)
{
    return checkout_read(rows, row, 1, arena, out);
}
