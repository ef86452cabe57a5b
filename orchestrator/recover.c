/* recover.c - see recover.h. */
#include "orchestrator/recover.h"

#include "base/clock.h"
#include "base/log.h"
#include "db/db.h"
#include "orchestrator/orders.h"
#include "orchestrator/saga.h"

enum {
    BATCH = 256,
    PATIENCE_MS = 5000,
    REST_MOST_MS = 10000,
    ARENA_MAX = 1 << 20,
};

static void tell_unreadable(const struct checkout *checkout, const struct err *e)
{
    struct log_record line;

    if (!log_begin_limited(&line, LOG_ERROR, "checkout_unreadable"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair(&line, "error", e->message);
    log_end(&line);
}

static void tell_taken(const struct checkout *checkout)
{
    struct log_record line;

    if (!log_begin(&line, LOG_INFO, "checkout_taken_over"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair_number(&line, "epoch", checkout->epoch);
    log_pair_number(&line, "age_ms", checkout->age_ms);
    log_end(&line);
}

/* A row that cannot be run now keeps its new lease, and is taken again after it. */
static void run_taken(struct sagas *sagas, const struct db_rows *rows, int row)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct checkout checkout;

    if (arena == NULL)
        return;
    struct err e = orders_taken(rows, row, arena, &checkout);
    if (!failed(e) && sagas_admit(sagas)) {
        tell_taken(&checkout);
        sagas_run(sagas, &checkout, arena, NULL);
        return;
    }
    if (failed(e))
        tell_unreadable(&checkout, &e);
    arena_free(arena);
}

struct taking {
    struct sagas *sagas;
    size_t count;
};

static void on_taken(void *arg, const struct db_rows *rows)
{
    struct taking *taking = arg;

    taking->count = (size_t)rows->count;
    for (int i = 0; i < rows->count; i++)
        run_taken(taking->sagas, rows, i);
}

/* Takes as many as fit; true when there may be more. */
static struct err take_some(struct sagas *sagas, bool *more)
{
    const struct sagas_config *config = sagas_config(sagas);
    struct taking taking = {.sagas = sagas};
    struct db_op op = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};
    size_t room = sagas_room(sagas), limit = room < BATCH ? room : BATCH;

    *more = false;
    if (limit == 0)
        return ERR_NONE;
    orders_take_over(&op, sagas_owner(sagas), config->lease_ms, (int64_t)limit);
    struct err e = db_submit_wait(config->db, &op, 1, on_taken, &taking);
    *more = !failed(e) && taking.count == limit;
    return e;
}

static bool any_runs(struct sagas *sagas)
{
    return sagas_room(sagas) < sagas_config(sagas)->most;
}

/* Leases of what runs here are kept; at rest, others' are looked at once in that time. */
int64_t recover_checkouts(void *arg)
{
    struct sagas *sagas = arg;
    const int64_t rest_ms = sagas_config(sagas)->lease_ms;
    struct err e = sagas_renew_leases(sagas);
    bool more = !failed(e);

    while (more)
        e = take_some(sagas, &more);
    if (failed(e))
        log_warn("recovery_failed", "error=%s", e.message);
    if (failed(e) || any_runs(sagas))
        return 0;
    return rest_ms < REST_MOST_MS ? rest_ms : REST_MOST_MS;
}
