/*
 * cursor.h - pagination cursors: opaque, authenticated positions in a list.
 *
 * A cursor is base64url of a MAC (16 bytes) and a short text.  The MAC covers the list,
 * its owner and its filter, so a cursor that was forged or comes from another user,
 * filter or list is rejected.  The text is not secret.
 *
 * The key must be the same in all replicas and after a restart (rpc/auth/keys.h, key_derive).
 * After the key changed, earlier cursors are rejected and clients restart the list.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

enum { CURSOR_KEY_SIZE = 32, CURSOR_TEXT_MAX = 512 };

/* What a cursor is valid for; borrowed. */
struct cursor_scope {
    const uint8_t *key; /* CURSOR_KEY_SIZE bytes */
    const char *list;   /* the list's name: "orders" */
    const char
        *bounds; /* the list's owner or filter; "" when there is only one such list */
};

/* A cursor for `text` (at most CURSOR_TEXT_MAX bytes), in the arena: ceil((16 + length) *
 * 4 / 3) characters A-Z a-z 0-9 - _.  Deterministic.  NULL when the arena is full or the
 * text too long. */
char *cursor_seal(struct arena *arena, const struct cursor_scope *scope, const char *text)
    __attribute__((warn_unused_result));

/* Writes the text to `out`, NUL-terminated.  False when the cursor was not sealed with
 * this key for this scope, or its text does not fit; `out` is then undefined. */
bool cursor_open(const struct cursor_scope *scope, const char *cursor, char *out,
                 size_t room) __attribute__((warn_unused_result));
