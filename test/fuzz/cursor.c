/*
 * cursor.c - the cursor of a page of orders, as a client gives it back.
 *
 * What is accepted is one that we could have written: written anew it is the same place.
 */
#include "base/bounds.h"
#include "fuzz/fuzz.h"
#include "orchestrator/orders_cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *cursor = input_text(&in, '\0');
    struct orders_place place = {0}, again = {0};
    struct err e = orders_cursor_read(cursor, &place);

    if (failed(e)) {
        assert_refusal(e);
    } else {
        struct arena *arena = arena_new(4096);
        assert(ulid_valid(place.order_id) && place.created_at_us >= 0);
        char *written = orders_cursor_write(arena, &place);
        assert(written != NULL && strlen(written) <= ORDERS_CURSOR_SIZE_MAX);
        e = orders_cursor_read(written, &again);
        assert(!failed(e) && again.created_at_us == place.created_at_us);
        assert(strcmp(again.order_id, place.order_id) == 0);
        arena_free(arena);
    }
    free(cursor);
    return 0;
}
