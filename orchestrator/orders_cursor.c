/* orders_cursor.c - see orders_cursor.h. */
#include "orchestrator/orders_cursor.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

char *orders_cursor_write(struct arena *arena, const struct orders_place *place)
{
    char text[64];
    int length = snprintf(text, sizeof text, "%" PRId64 ".%s", place->created_at_us,
                          place->order_id);
    size_t room = sodium_base64_encoded_len((size_t)length,
                                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *cursor = arena_alloc(arena, room);

    if (cursor != NULL)
        sodium_bin2base64(cursor, room, (unsigned char *)text, (size_t)length,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    return cursor;
}

struct err orders_cursor_read(const char *cursor, struct orders_place *place)
{
    const struct err invalid =
        err_make(ERR_INVALID_ARGUMENT,
                 "cursor is not one that was given; leave it out to begin anew.");
    char text[64] = "", *end;
    size_t length;

    if (!base64_decode(cursor, strlen(cursor), sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                       text, sizeof text - 1, &length))
        return invalid;
    place->created_at_us = strtoll(text, &end, 10);
    if (end == text || *end != '.' || place->created_at_us < 0 || !ulid_valid(end + 1) ||
        strlen(text) != length)
        return invalid;
    memcpy(place->order_id, end + 1, ULID_SIZE);
    return ERR_NONE;
}
