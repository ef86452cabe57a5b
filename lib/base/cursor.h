/*
 * cursor.h - a place in a list, as a client is given it and brings it back.
 *
 * A cursor is base64url of a MAC (16 bytes) and a short text.  The MAC covers the list the
 * cursor is for and whose or which part of it, so a cursor opens only where it was made:
 * one that was written by hand, or given to another user, for another filter or by another
 * list, does not open.  The text itself is not secret.
 *
 * The key must be the same in all replicas and after a restart (rpc/keys.h, key_derive).
 * After the key changed, no earlier cursor opens; the client begins the list anew.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { CURSOR_KEY_SIZE = 32, CURSOR_TEXT_MAX = 512 };

/* Which list, and which part of it; both borrowed. */
struct cursor_scope {
    const uint8_t *key; /* CURSOR_KEY_SIZE bytes */
    const char *list;   /* the list's name: "orders" */
    const char *bounds; /* whose, or how filtered; "" when there is only one such list */
};

/* `text` (at most CURSOR_TEXT_MAX bytes) as a cursor of ceil((16 + its length) * 4 / 3)
 * characters A-Z a-z 0-9 - _, in the arena; the same for the same arguments.  NULL when the
 * arena is full or the text is longer. */
char *cursor_seal(struct arena *arena, const struct cursor_scope *scope, const char *text)
    __attribute__((warn_unused_result));

/* The text back into `out`, NUL-terminated.  False when the cursor was not sealed with this
 * key for this scope, or its text has `room` bytes or more; `out` is then of no meaning. */
bool cursor_open(const struct cursor_scope *scope, const char *cursor, char *out,
                 size_t room) __attribute__((warn_unused_result));
