/*
 * prune.h - forgets finished checkouts, and the keys they hold, when they are old enough.
 *
 *      finished --> kept_ms later --> its cart is marked as ordered --> settle_ms later --> gone
 *                                \--> failed: nothing to mark ------------------------/
 *
 * An order is never touched, and neither is what it forbids: its key stays spent (unique in
 * orders.orders) and its cart stays ordered.  The mark settles for longer than any statement
 * lasts, so that none sees a cart neither marked nor held by its checkout.
 *
 * Bounded: so many rows a transaction.  Any number of processes may prune at once.
 */
#pragma once

#include <stdint.h>

#include "db/db.h"

struct pruning {
    struct db *db;
    int64_t kept_ms; /* from a checkout's end; the database's clock decides */
};

/* One round, until nothing is left to prune; `pruning` is a struct pruning.  A worker's
 * chore.  May be repeated. */
void prune_checkouts(void *pruning);
