/* cursor_test.c - a cursor opens where it was made, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/contract/cursor.h"

static const uint8_t KEY[CURSOR_KEY_SIZE] = "a key of thirty-two bytes, no m";
static const uint8_t OTHER_KEY[CURSOR_KEY_SIZE] = "A key of thirty-two bytes, no m";
static const struct cursor_scope SCOPE = {KEY, "orders", "user-1"};
static const char TEXT[] = "1700000000000000.01HF0000000000000000000000";

static void a_sealed_cursor_opens(void **state)
{
    static const char *const TEXTS[] = {"", "a", "ab", "abc", "a.b/\xc3\xa9", TEXT};
    struct arena *arena = arena_new(1 << 16);
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        const char *cursor = cursor_seal(arena, &SCOPE, TEXTS[i]);
        assert_non_null(cursor);
        assert_true(cursor_open(&SCOPE, cursor, out, sizeof out));
        assert_string_equal(out, TEXTS[i]);
        assert_string_equal(cursor, cursor_seal(arena, &SCOPE, TEXTS[i]));
    }
    arena_free(arena);
}

static void a_cursor_opens_only_in_its_scope(void **state)
{
    static const struct cursor_scope OTHERS[] = {
        {OTHER_KEY, "orders", "user-1"}, {KEY, "products", "user-1"},
        {KEY, "orders", "user-2"},       {KEY, "orders", ""},
        {KEY, "ordersuser-1", ""},       {KEY, "", "ordersuser-1"},
    };
    struct arena *arena = arena_new(1 << 16);
    const char *cursor = cursor_seal(arena, &SCOPE, TEXT);
    char out[64];

    (void)state;
    for (size_t i = 0; i < sizeof OTHERS / sizeof *OTHERS; i++)
        assert_false(cursor_open(&OTHERS[i], cursor, out, sizeof out));
    arena_free(arena);
}

static void a_changed_or_cut_cursor_does_not_open(void **state)
{
    struct arena *arena = arena_new(1 << 20);
    const char *cursor = cursor_seal(arena, &SCOPE, TEXT);
    size_t length = strlen(cursor);
    char out[64];

    (void)state;
    for (size_t i = 0; i < length; i++) {
        for (int byte = 1; byte < 256; byte++) {
            char *changed = arena_strdup(arena, cursor);
            if (changed == NULL) {
                arena_reset(arena);
                cursor = cursor_seal(arena, &SCOPE, TEXT);
                changed = arena_strdup(arena, cursor);
            }
            changed[i] = (char)byte;
            if (changed[i] != cursor[i])
                assert_false(cursor_open(&SCOPE, changed, out, sizeof out));
        }
        char *cut = arena_strdup(arena, cursor);
        if (cut != NULL) {
            cut[i] = '\0';
            assert_false(cursor_open(&SCOPE, cut, out, sizeof out));
        }
    }
    arena_free(arena);
}

static void a_text_without_room_or_with_a_nul_does_not_open(void **state)
{
    struct arena *arena = arena_new(1 << 16);
    char longest[CURSOR_TEXT_MAX + 1] = "", out[CURSOR_TEXT_MAX + 1];
    char four_nuls[] = "AAAAAAAAAAAAAAAAAAAAAAAAAAA"; /* a MAC and four bytes, all zero */
    char too_long[1024];

    (void)state;
    memset(longest, 'x', CURSOR_TEXT_MAX);
    const char *cursor = cursor_seal(arena, &SCOPE, longest);
    assert_true(cursor_open(&SCOPE, cursor, out, sizeof out));
    assert_false(cursor_open(&SCOPE, cursor, out, sizeof out - 1));
    assert_false(cursor_open(&SCOPE, four_nuls, out, sizeof out));
    memset(too_long, 'A', sizeof too_long - 1);
    too_long[sizeof too_long - 1] = '\0';
    assert_false(cursor_open(&SCOPE, too_long, out, sizeof out));
    assert_false(cursor_open(&SCOPE, "", out, sizeof out));
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_cursor_opens),
        cmocka_unit_test(a_cursor_opens_only_in_its_scope),
        cmocka_unit_test(a_changed_or_cut_cursor_does_not_open),
        cmocka_unit_test(a_text_without_room_or_with_a_nul_does_not_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
