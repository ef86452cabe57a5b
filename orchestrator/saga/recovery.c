/* recovery.c - see recovery.h. */
#include "orchestrator/saga/recovery.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db.h"
#include "orchestrator/checkout/checkouts.h"
#include "orchestrator/saga/engine.h"

enum {
    BATCH = 256,
    PATIENCE_MS = 5000,
    REST_MOST_MS = 10000,
    ARENA_MAX = 1 << 20,
};

/* ---- leases of the sagas here ------------------------------------------------------- */

typedef char order_name[ULID_SIZE];

/* Copies the sagas that are due for renewal, since each may end once the lock is
 * released. */
static size_t list_due(struct sagas *sagas, order_name *ids, struct db_op *ops)
{
    int64_t now = clock_monotonic_ms();
    size_t count = 0;

    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (struct saga *s = sagas->buckets[b]; s != NULL; s = s->next) {
            if (now - s->renewed_ms < sagas->config.lease_ms / 4)
                continue;
            assert(count < sagas->config.most);
            s->renewed_ms = now;
            memcpy(ids[count], s->checkout.order_id, ULID_SIZE);
            checkouts_renew(&ops[count], ids[count], s->checkout.epoch,
                            sagas->config.lease_ms);
            ops[count].deadline_ms = now + sagas->config.lease_ms;
            count++;
        }
    pthread_mutex_unlock(&sagas->lock);
    return count;
}

/* After a failed round all are due again. */
static void set_all_due(struct sagas *sagas)
{
    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (struct saga *s = sagas->buckets[b]; s != NULL; s = s->next)
            s->renewed_ms = 0;
    pthread_mutex_unlock(&sagas->lock);
}

/*
 * Renews the leases of sagas here that were last renewed more than a quarter of a lease
 * ago.  Blocks, at most as long as a lease.  Runs before each take-over, so that an owner
 * that had lost the database for a while does not take over its own checkouts.
 */
static struct err renew_leases(struct sagas *sagas)
{
    order_name *ids = calloc(sagas->config.most, sizeof *ids);
    struct db_op *ops = calloc(sagas->config.most, sizeof *ops);
    struct err e = ids == NULL || ops == NULL ? err_memory() : ERR_NONE;

    if (!failed(e)) {
        size_t count = list_due(sagas, ids, ops);
        if (count > 0)
            e = db_submit_wait(sagas->config.db, ops, count, NULL, NULL);
    }
    if (failed(e))
        set_all_due(sagas);
    free(ids);
    free(ops);
    return e;
}

/* ---- taking over --------------------------------------------------------------------- */

static void log_unreadable(const struct checkout *checkout, const struct err *e)
{
    struct log_record line;

    if (!log_begin_limited(&line, LOG_ERROR, "checkout_unreadable"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair(&line, "error", e->message);
    log_end(&line);
}

static void log_taken(const struct checkout *checkout)
{
    struct log_record line;

    if (!log_begin(&line, LOG_INFO, "checkout_taken_over"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair_number(&line, "epoch", checkout->epoch);
    log_pair_number(&line, "age_ms", checkout->age_ms);
    log_end(&line);
}

/* A row that cannot be run now keeps its new lease, and is taken over again after it. */
static void run_taken(struct sagas *sagas, const struct db_rows *rows, int row)
{
    struct arena *arena = arena_new(ARENA_MAX);
    struct checkout checkout;

    if (arena == NULL)
        return;
    struct err e = checkouts_taken(rows, row, arena, &checkout);
    if (!failed(e) && sagas_admit(sagas)) {
        log_taken(&checkout);
        sagas_run(sagas, &checkout, arena, NULL);
        return;
    }
    if (failed(e))
        log_unreadable(&checkout, &e);
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

/* Takes over as many as there is room for; sets *more when there may be more. */
static struct err take_some(struct sagas *sagas, bool *more)
{
    const struct sagas_config *config = sagas_config(sagas);
    struct taking taking = {.sagas = sagas};
    struct db_op op = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};
    size_t room = sagas_room(sagas), limit = room < BATCH ? room : BATCH;

    *more = false;
    if (limit == 0)
        return ERR_NONE;
    checkouts_take_over(&op, sagas_owner(sagas), config->lease_ms, (int64_t)limit);
    struct err e = db_submit_wait(config->db, &op, 1, on_taken, &taking);
    *more = !failed(e) && taking.count == limit;
    return e;
}

int64_t recovery_run(void *arg)
{
    struct sagas *sagas = arg;
    const int64_t rest_ms =
        sagas_config(sagas)->lease_ms; /* how often other owners' leases are checked */
    struct err e = renew_leases(sagas);
    bool more = !failed(e);

    while (more)
        e = take_some(sagas, &more);
    if (failed(e))
        log_warn("recovery_failed", "error=%s", e.message);
    if (failed(e) || sagas_room(sagas) < sagas_config(sagas)->most)
        return 0;
    return rest_ms < REST_MOST_MS ? rest_ms : REST_MOST_MS;
}
