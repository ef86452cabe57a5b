/* recover.c - see recover.h. */
#include "orchestrator/recover.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/wait.h"
#include "orchestrator/orders.h"
#include "orchestrator/saga.h"

enum {
    BATCH = 64,
    PATIENCE_MS = 5000,
    ARENA_MAX = 1 << 20,
};

/* A row that cannot be run now keeps its new lease, and is taken again after it. */
static void run_taken(struct sagas *sagas, const struct db_rows *rows, int row)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct checkout checkout;

    if (arena == NULL)
        return;
    struct err e = orders_taken(rows, row, arena, &checkout);
    if (!failed(e) && sagas_admit(sagas)) {
        log_info("checkout_taken_over", "order=%s epoch=%lld age_ms=%lld", checkout.order_id,
                 (long long)checkout.epoch, (long long)checkout.age_ms);
        sagas_run(sagas, &checkout, arena, NULL);
        return;
    }
    if (failed(e))
        log_error("checkout_unreadable", "error=\"%s\"", e.message);
    arena_free(arena);
}

static void on_taken(void *arg, const struct db_rows *rows)
{
    for (int i = 0; i < rows->count; i++)
        run_taken(arg, rows, i);
}

void recover_checkouts(void *arg)
{
    struct sagas *sagas = arg;
    const struct sagas_config *config = sagas_config(sagas);
    struct db_op op = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};

    orders_take_over(&op, sagas_owner(sagas), config->lease_ms, BATCH);
    struct err e = db_submit_wait(config->db, &op, 1, on_taken, sagas);
    if (failed(e))
        log_warn("recovery_failed", "error=\"%s\"", e.message);
}
