/* text_test.c - JSON written into an arena, and base64 read strictly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

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

static void a_text_larger_than_its_arena_is_marked_broken(void **state)
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

static const struct {
    int variant;
    const char *text;
} BASE64[] = {
    {sodium_base64_VARIANT_ORIGINAL, "/+//+w=="},
    {sodium_base64_VARIANT_ORIGINAL_NO_PADDING, "/+//+w"},
    {sodium_base64_VARIANT_URLSAFE, "_-__-w=="},
    {sodium_base64_VARIANT_URLSAFE_NO_PADDING, "_-__-w"},
};
static const uint8_t BASE64_VALUE[] = {0xff, 0xef, 0xff, 0xfb};

static bool is_value(const char *text, size_t size, int variant)
{
    uint8_t out[16];
    size_t out_size;

    return base64_decode(text, size, variant, out, sizeof out, &out_size) &&
           out_size == sizeof BASE64_VALUE &&
           memcmp(out, BASE64_VALUE, sizeof BASE64_VALUE) == 0;
}

/* Every byte in every place: only the letter itself is read as that letter. */
static void a_value_has_one_base64_text(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof BASE64 / sizeof BASE64[0]; c++) {
        char text[16];
        size_t size = strlen(BASE64[c].text);
        strcpy(text, BASE64[c].text);
        for (size_t i = 0; i < size; i++)
            for (int byte = 0; byte < 256; byte++) {
                text[i] = (char)byte;
                bool same = text[i] == BASE64[c].text[i];
                if (is_value(text, size, BASE64[c].variant) != same)
                    fail_msg("\"%s\" with byte %zu as %#x", BASE64[c].text, i, byte);
                text[i] = BASE64[c].text[i];
            }
    }
}

static void base64_that_does_not_fit_is_refused(void **state)
{
    uint8_t out[3];
    size_t size;

    (void)state;
    assert_false(base64_decode("_-__-w", 6, sodium_base64_VARIANT_URLSAFE_NO_PADDING, out,
                               sizeof out, &size));
    assert_true(base64_decode("_-__-w", 4, sodium_base64_VARIANT_URLSAFE_NO_PADDING, out,
                              sizeof out, &size));
    assert_int_equal(size, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(text_is_escaped_and_made_well_formed, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_text_larger_than_its_arena_is_marked_broken,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers_are_written_whole, set_up, tear_down),
        cmocka_unit_test(a_value_has_one_base64_text),
        cmocka_unit_test(base64_that_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
