/*
 * prune.h - deletes finished checkouts, and with them their keys, when they are old.
 *
 *      completed --> kept_ms later: its cart is marked --> settle_ms later: gone
 *      failed -----> kept_ms later: gone
 *
 * An order is never deleted, so its key cannot be used again (unique in orders.orders),
 * nor can its cart be ordered again.  A checkout is deleted only when its cart's mark is
 * older than any statement, so no statement sees a cart with neither mark nor checkout.
 *
 * Each transaction takes a bounded number of rows.  Any number of processes may prune at once.
 */
#pragma once

#include <stdint.h>

#include "db/db.h"

struct pruning {
    struct db *db;
    int64_t kept_ms; /* from a checkout's end; the database's clock decides */
};

/* One round, until nothing is left to prune; `pruning` is a struct pruning.  For a worker. */
void prune_checkouts(void *pruning);

/* Its kind of operation. */
extern const struct db_kind CHECKOUTS_PRUNE;
