/* prune.c - see prune.h. */
#include "orchestrator/prune.h"

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "db/wait.h"
#include "orchestrator/orders.h"

enum {
    BATCH = 500,
    PATIENCE_MS = 5000,
    SETTLE_MS = 60000, /* well above PATIENCE_MS and every deadline of a statement */
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

/* Looking costs no write, and mostly there is nothing. */
static struct err look_for_some(struct db *db, struct look *look)
{
    struct db_query query = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};

    look->found = false;
    orders_find_prunable(&query, &look->what);
    return db_read_wait(db, &query, on_looked, look);
}

static void on_pruned(void *arg, const struct db_rows *rows)
{
    bool *changed = arg;

    *changed = orders_pruned(rows) > 0;
}

static struct err prune_some(struct db *db, const struct prunable *what, bool *changed)
{
    struct db_op op = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};

    *changed = false;
    orders_prune(&op, what, BATCH);
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

    /* Ids begin with the time they were made: the old ones are a range of the key. */
    ulid_floor(clock_wall_ms() - pruning->kept_ms, look.what.before);
    /* What others hold is left for the next round: this one would only ask for it again. */
    do {
        changed = false;
        e = look_for_some(pruning->db, &look);
        if (!failed(e) && look.found)
            e = prune_some(pruning->db, &look.what, &changed);
    } while (!failed(e) && changed);
    if (failed(e))
        log_warn("pruning_failed", "error=%s", e.message);
}
