/* reaper.c - see reaper.h. */
#include "inventory/reaper.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "db/wait.h"
#include "inventory/stock.h"

enum {
    BATCH = 256,
    PATIENCE_MS = 10000,
    REST_MS = 10000,
};

struct found {
    char ids[BATCH][ULID_SIZE];
    size_t count;
};

static void on_found(void *arg, const struct db_rows *rows)
{
    struct found *found = arg;

    for (int i = 0; i < rows->count; i++)
        snprintf(found->ids[found->count++], ULID_SIZE, "%s", db_text(rows, i, 0));
}

int64_t reap_expired(void *arg)
{
    struct db *db = arg;
    struct found found = {.count = 0};
    struct db_query query = {.deadline_ms = clock_monotonic_ms() + PATIENCE_MS};
    struct db_op ops[BATCH] = {0};

    stock_find_expired(&query, BATCH);
    struct err e = db_read_wait(db, &query, on_found, &found);
    for (size_t i = 0; i < found.count; i++) {
        stock_expire(&ops[i], found.ids[i]);
        ops[i].deadline_ms = query.deadline_ms;
    }
    if (!failed(e) && found.count > 0)
        e = db_submit_wait(db, ops, found.count, NULL, NULL);
    if (failed(e))
        log_warn("reaping_failed", "error=%s", e.message);
    else if (found.count > 0)
        log_info("reservations_expired", "count=%zu", found.count);
    return failed(e) || found.count > 0 ? 0 : REST_MS;
}
