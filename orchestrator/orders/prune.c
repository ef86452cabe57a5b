/* prune.c - see prune.h. */
#include "orchestrator/orders/prune.h"

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "db/db.h"
#include "orchestrator/checkout/checkout.h"

enum {
    BATCH = 500,
    PATIENCE_MS = 5000,
    SETTLE_MS = 60000, /* well above PATIENCE_MS and every deadline of a statement */
};

/* ---- the statements ------------------------------------------------------------------ */

/*
 * Checkouts that finished long ago.  The cart of a completed one is not marked yet, or
 * was marked long ago.
 */
#define PRUNABLE                                                                         \
    "FROM orders.checkouts k "                                                           \
    "LEFT JOIN orders.carts c ON c.user_id = k.user_id AND c.id = k.cart_id "            \
    "WHERE k.order_id < (SELECT before FROM ask)"                                        \
    "  AND k.finished_at < now() - (SELECT kept_ms FROM ask) * interval '1 ms'"          \
    "  AND (k.state = 'failed' OR c.ordered_at IS NULL"                                  \
    "       OR c.ordered_at"                                                             \
    "          < now() - (SELECT settle_ms FROM ask) * interval '1 ms') "

/*
 * Marks the carts of such checkouts, or deletes the checkout if its cart is marked or was
 * not ordered.  May be repeated: it then prunes more.  It skips locked rows and never
 * waits for them, because it may hold other locks; the next round takes them.
 *
 * An order stored with the old form of its key gets the new form before its checkout, by
 * which the old form is found, is deleted (migration 0014).
 */
/* clang-format off */
const struct db_kind CHECKOUTS_PRUNE = {
    .name = "prune",
    .head = "tiii", /* before, kept, settle, limit */
    .write =
        "WITH ask AS ("
        "    SELECT * FROM unnest($1, $2, $3, $4) AS a(before, kept_ms, settle_ms, most)"
        "    LIMIT 1),"
        " old AS ("
        "    SELECT k.order_id, k.user_id, k.cart_id,"
        "           k.state = 'completed' AND " IS_KEY_ALONE("k.idempotency_key") " AS bare,"
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
        "    SET idempotency_key = " KEY_OF("o.user_id", "o.idempotency_key")
        "    FROM old WHERE old.bare AND o.id = old.order_id"
        "      AND " IS_KEY_ALONE("o.idempotency_key")
        "      AND NOT EXISTS (SELECT FROM orders.orders t WHERE t.idempotency_key = "
        KEY_OF("o.user_id", "o.idempotency_key") ")),"
        " gone AS ("
        "    DELETE FROM orders.checkouts k USING old"
        "    WHERE k.order_id = old.order_id AND NOT old.mark RETURNING k.order_id) "
        "SELECT ask.before, (SELECT count(*) FROM locked) + (SELECT count(*) FROM gone) "
        "FROM ask",
    .write_answers = true,
    .rows = "+ii",
    /* A second prune in the same batch changes nothing. */
    .answer = "SELECT a.ordinal, 0::bigint FROM unnest($1) WITH ORDINALITY"
              "    AS a(before, ordinal) ORDER BY a.ordinal",
};
/* clang-format on */

/* ---- a round ------------------------------------------------------------------------- */

/* Selects ids below `before`, finished long enough ago; a cart's mark must be old
 * enough. */
struct prunable {
    char before[ULID_SIZE];
    int64_t kept_ms, settle_ms;
};

struct look {
    struct prunable what;
    bool found; /* there is something to do */
};

static void on_looked(void *arg, const struct db_rows *rows)
{
    struct look *look = arg;

    look->found = rows->count > 0;
}

/* Reading first saves a transaction: usually there is nothing to prune. */
static struct err look_for_some(struct db *db, struct look *look)
{
    const struct prunable *what = &look->what;
    struct db_query query = {
        .name = "find_prunable",
        .types = "tii",
        .rows = "*t",
        .sql = "WITH ask AS (SELECT $1 AS before, $2 AS kept_ms, $3 AS settle_ms) "
               "SELECT k.order_id " PRUNABLE "ORDER BY k.order_id LIMIT 1",
        .values = {db_t(what->before), db_i(what->kept_ms), db_i(what->settle_ms)},
        .deadline_ms = clock_monotonic_ms() + PATIENCE_MS,
    };

    look->found = false;
    return db_read_wait(db, &query, on_looked, look);
}

static void on_pruned(void *arg, const struct db_rows *rows)
{
    bool *changed = arg;

    *changed = db_number(rows, 0, 1) > 0; /* 0 when others have locked all of them */
}

static struct err prune_some(struct db *db, const struct prunable *what, bool *changed)
{
    struct db_op op = {
        .kind = &CHECKOUTS_PRUNE,
        .head = {db_t(what->before), db_i(what->kept_ms), db_i(what->settle_ms),
                 db_i(BATCH)},
        .deadline_ms = clock_monotonic_ms() + PATIENCE_MS,
    };

    *changed = false;
    return db_submit_wait(db, &op, 1, on_pruned, changed);
}

void prune_checkouts(void *arg)
{
    const struct pruning *pruning = arg;
    struct look look = {
        .what = {
            .kept_ms = pruning->kept_ms,
            .settle_ms = pruning->kept_ms < SETTLE_MS ? pruning->kept_ms : SETTLE_MS,
        }};
    bool changed;
    struct err e;

    /* Ids begin with their creation time, so the old ones are a range of the key. */
    ulid_floor(clock_wall_ms() - pruning->kept_ms, look.what.before);
    /* Rows that others have locked are left for the next round. */
    do {
        changed = false;
        e = look_for_some(pruning->db, &look);
        if (!failed(e) && look.found)
            e = prune_some(pruning->db, &look.what, &changed);
    } while (!failed(e) && changed);
    if (failed(e))
        log_warn("pruning_failed", "error=%s", e.message);
}
