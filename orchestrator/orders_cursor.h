/*
 * orders_cursor.h - a place in a user's orders, as a client is given it and brings it back.
 *
 * Text to clients: base64url of Unix microseconds and order id.  What is read is one that
 * could have been written; that it was is not checked, and tells nobody anything: a page is
 * of the user who asks.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/ids.h"

/* The id, so that orders of one moment are neither repeated nor skipped. */
struct orders_place {
    int64_t created_at_us;
    char order_id[ULID_SIZE];
};

/* In the arena; NULL when it is full. */
char *orders_cursor_write(struct arena *arena, const struct orders_place *place);

/* INVALID_ARGUMENT when it is none. */
struct err orders_cursor_read(const char *cursor, struct orders_place *place)
    __attribute__((warn_unused_result));
