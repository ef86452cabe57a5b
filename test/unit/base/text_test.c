/* JSON written into an arena. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/text.h"

static int set_up(void **state)
{
    *state = arena_new(1 << 20);
    return *state == NULL;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

static void text_is_escaped_and_made_well_formed(void **state)
{
    static const struct {
        const char *value, *written;
    } CASES[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"a\"b\\c\n\x7f", "\"a\\\"b\\\\c\\u000a\\u007f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
         "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"\xc0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {"cut \xe2\x82", "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct text text = text_start(*state, 1);
        text_string(&text, CASES[i].value);
        assert_false(text.broken);
        assert_int_equal(text.size, strlen(CASES[i].written));
        assert_memory_equal(text.bytes, CASES[i].written, text.size);
    }
}

static void a_text_the_arena_cannot_hold_says_so(void **state)
{
    struct arena *small = arena_new(8192);
    struct text text = text_start(small, 16);

    (void)state;
    for (int i = 0; i < 1000; i++)
        text_raw(&text, "0123456789");
    assert_true(text.broken);
    arena_free(small);
}

static void numbers_are_written_whole(void **state)
{
    struct text text = text_start(*state, 16);

    text_number(&text, 0);
    text_raw(&text, " ");
    text_number(&text, -120);
    text_raw(&text, " ");
    text_number(&text, INT64_MAX);
    text_raw(&text, " ");
    text_number(&text, INT64_MIN);
    text_raw_of(&text, "!?", 1);
    assert_int_equal(text.size, 48);
    assert_memory_equal(text.bytes, "0 -120 9223372036854775807 -9223372036854775808!",
                        48);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_is_escaped_and_made_well_formed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_text_the_arena_cannot_hold_says_so, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(numbers_are_written_whole, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
