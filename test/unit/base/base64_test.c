/* base64_test.c - each value has one text, and no other is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/base64.h"

static const struct {
    int variant;
    const char *text;
} CASES[] = {
    {sodium_base64_VARIANT_ORIGINAL, "/+//+w=="},
    {sodium_base64_VARIANT_ORIGINAL_NO_PADDING, "/+//+w"},
    {sodium_base64_VARIANT_URLSAFE, "_-__-w=="},
    {sodium_base64_VARIANT_URLSAFE_NO_PADDING, "_-__-w"},
};
static const uint8_t VALUE[] = {0xff, 0xef, 0xff, 0xfb};

static bool is_value(const char *text, size_t size, int variant)
{
    uint8_t out[16];
    size_t out_size;

    return base64_decode(text, size, variant, out, sizeof out, &out_size) &&
           out_size == sizeof VALUE && memcmp(out, VALUE, sizeof VALUE) == 0;
}

/* Every byte in every place: only the letter itself is read as that letter. */
static void a_value_has_one_text(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof CASES / sizeof CASES[0]; c++) {
        char text[16];
        size_t size = strlen(CASES[c].text);
        strcpy(text, CASES[c].text);
        for (size_t i = 0; i < size; i++)
            for (int byte = 0; byte < 256; byte++) {
                text[i] = (char)byte;
                bool same = text[i] == CASES[c].text[i];
                if (is_value(text, size, CASES[c].variant) != same)
                    fail_msg("\"%s\" with byte %zu as %#x", CASES[c].text, i, byte);
                text[i] = CASES[c].text[i];
            }
    }
}

static void what_does_not_fit_is_refused(void **state)
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
        cmocka_unit_test(a_value_has_one_text),
        cmocka_unit_test(what_does_not_fit_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
