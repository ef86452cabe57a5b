/*
 * cursor.c - a cursor as a client gives it back.
 *
 * Only what was sealed opens: what opens is, sealed anew, the same cursor.
 */
#include "base/contract/cursor.h"
#include "fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t KEY[CURSOR_KEY_SIZE] = "of the fuzzer";
    const struct cursor_scope scope = {KEY, "orders", "user"};
    struct input in = {data, size};
    char *cursor = input_text(&in, '\0'), text[64];
    struct arena *arena = arena_new(4096);

    if (cursor_open(&scope, cursor, text, sizeof text)) {
        assert(strlen(text) < sizeof text);
        char *sealed = cursor_seal(arena, &scope, text);
        assert(sealed != NULL && strcmp(sealed, cursor) == 0);
    }
    arena_free(arena);
    free(cursor);
    return 0;
}
