/*
 * cursor.c - the cursor of a page of orders, as a client gives it back.
 *
 * What is accepted is one that we could have written: written anew it is the same place.
 */
#include "fuzz/fuzz.h"

/* The functions that read and write it are the file's own. */
#include "orchestrator/orders_read.c"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *cursor = input_text(&in, '\0');
    struct place place = {0}, again = {0};
    struct err e = read_cursor(cursor, &place);

    if (failed(e)) {
        assert_refusal(e);
    } else {
        struct arena *arena = arena_new(4096);
        assert(ulid_valid(place.order_id) && place.created_at_us >= 0);
        char *written = write_cursor(arena, &place);
        assert(written != NULL && strlen(written) <= ORDERS_CURSOR_SIZE_MAX);
        e = read_cursor(written, &again);
        assert(!failed(e) && again.created_at_us == place.created_at_us);
        assert(strcmp(again.order_id, place.order_id) == 0);
        arena_free(arena);
    }
    free(cursor);
    return 0;
}
