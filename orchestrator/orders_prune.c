/* orders_prune.c - forgetting old checkouts, but not what they forbid.  See orders.h. */
#include "orchestrator/orders.h"

/*
 * Old and finished; and of those that were ordered, with a cart that is still to be
 * marked or was marked long ago enough.
 */
#define PRUNABLE                                                                         \
    "FROM orders.checkouts k "                                                           \
    "LEFT JOIN orders.carts c ON c.user_id = k.user_id AND c.id = k.cart_id "            \
    "WHERE k.order_id < (SELECT before FROM ask)"                                        \
    "  AND k.finished_at < now() - (SELECT kept_ms FROM ask) * interval '1 ms'"          \
    "  AND (k.state = 'failed' OR c.ordered_at IS NULL"                                  \
    "       OR c.ordered_at"                                                             \
    "          < now() - (SELECT settle_ms FROM ask) * interval '1 ms') "

void orders_find_prunable(struct db_query *query, const struct prunable *what)
{
    query->name = "find_prunable";
    query->types = "tii";
    query->rows = "*t";
    query->sql = "WITH ask AS (SELECT $1 AS before, $2 AS kept_ms, $3 AS settle_ms) "
                 "SELECT k.order_id " PRUNABLE "ORDER BY k.order_id LIMIT 1";
    query->values[0] = db_t(what->before);
    query->values[1] = db_i(what->kept_ms);
    query->values[2] = db_i(what->settle_ms);
}

/* It waits for no row that somebody else is changing, as it may hold others: it comes again.
 *
 * An order that was written under the old form of its key gets the new one before its
 * checkout, which also stands for it, is gone (migration 0014). */
const struct db_kind CHECKOUTS_PRUNE = {
    .name = "prune",
    .head = "tiii", /* before, kept, settle, limit */
    .write =
        "WITH ask AS ("
        "    SELECT * FROM unnest($1, $2, $3, $4) AS a(before, kept_ms, settle_ms, most)"
        "    LIMIT 1),"
        " old AS ("
        "    SELECT k.order_id, k.user_id, k.cart_id,"
        "           k.state = 'completed' AND " IS_KEY_ALONE(
            "k.idempotency_key") " AS bare,"
                                 "           k.state = 'completed' AND c.id IS NOT NULL"
                                 "               AND c.ordered_at IS NULL AS mark " PRUNABLE
                                 "    ORDER BY k.order_id LIMIT (SELECT most FROM ask)"
                                 "    FOR UPDATE OF k SKIP LOCKED),"
                                 " locked AS ("
                                 "    SELECT c.user_id, c.id, old.order_id FROM orders.carts c"
                                 "    JOIN old ON old.mark AND c.user_id = old.user_id AND c.id = old.cart_id"
                                 "    FOR NO KEY UPDATE OF c SKIP LOCKED),"
                                 " marked AS ("
                                 "    UPDATE orders.carts c SET ordered_at = now(), order_id = l.order_id FROM locked l"
                                 "    WHERE c.user_id = l.user_id AND c.id = l.id),"
                                 " named AS ("
                                 "    UPDATE orders.orders o"
                                 "    SET idempotency_key = " KEY_OF(
                                     "o.user_id",
                                     "o.idempotency_key") "    FROM old WHERE old.bare AND o.id = old.order_id"
                                                          "      AND " IS_KEY_ALONE("o.idempotency_key") "      AND NOT EXISTS (SELECT FROM orders.orders t WHERE t.idempotency_key = " KEY_OF(
                                                              "o.user_id",
                                                              "o.idempotency_key") ")),"
                                                                                   " gone AS ("
                                                                                   "    DELETE FROM orders.checkouts k USING old"
                                                                                   "    WHERE k.order_id = old.order_id AND NOT old.mark RETURNING k.order_id) "
                                                                                   "SELECT ask.before, (SELECT count(*) FROM locked) + (SELECT count(*) FROM gone) "
                                                                                   "FROM ask",
    .write_answers = true,
    .rows = "+ii",
    /* Of another prune in the same batch: it changed nothing. */
    .answer = "SELECT a.ordinal, 0::bigint FROM unnest($1) WITH ORDINALITY"
              "    AS a(before, ordinal) ORDER BY a.ordinal",
};

void orders_prune(struct db_op *op, const struct prunable *what, int64_t limit)
{
    op->kind = &CHECKOUTS_PRUNE;
    op->head[0] = db_t(what->before);
    op->head[1] = db_i(what->kept_ms);
    op->head[2] = db_i(what->settle_ms);
    op->head[3] = db_i(limit);
}

int64_t orders_pruned(const struct db_rows *rows)
{
    return db_number(rows, 0, 1);
}
