/* checkout_test.c - lines and their JSON: checkout/checkout.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those above */
#include <string.h>

#include "orchestrator/checkout/checkout.h"

#define assert_ok(expression) assert_false(failed(expression))

static void lines_survive_their_json(void **state)
{
    enum { LINES_COUNT = 100 };
    struct line items[LINES_COUNT];
    struct lines lines = {items, LINES_COUNT}, back;
    char skus[LINES_COUNT][65], quotes[TITLE_SIZE_MAX + 1];
    const char *const titles[] = {quotes, NULL, "T\xc3\xa4sse \\ \"gro\xc3\x9f\"", ""};
    enum { TITLES_COUNT = sizeof titles / sizeof *titles };
    struct arena *arena = arena_new(8 << 20);

    (void)state;
    memset(quotes, '"', TITLE_SIZE_MAX);
    quotes[TITLE_SIZE_MAX] = '\0';
    for (int i = 0; i < LINES_COUNT; i++) {
        memset(skus[i], 'A' + i % 26, 64);
        skus[i][64] = '\0';
        items[i] =
            (struct line){skus[i], INT64_MAX, INT64_MAX - i, titles[i % TITLES_COUNT]};
    }
    char *json = lines_to_json(arena, &lines, true);
    assert_non_null(json);
    assert_ok(lines_from_json(arena, json, &back));
    assert_int_equal(back.count, LINES_COUNT);
    for (int i = 0; i < LINES_COUNT; i++) {
        assert_string_equal(back.items[i].sku, skus[i]);
        assert_int_equal(back.items[i].quantity, INT64_MAX);
        assert_int_equal(back.items[i].unit_price_cents, INT64_MAX - i);
        if (items[i].title == NULL)
            assert_null(back.items[i].title);
        else
            assert_string_equal(back.items[i].title, items[i].title);
    }
    lines.count = 0;
    assert_string_equal(lines_to_json(arena, &lines, false), "[]");
    assert_int_equal(lines_from_json(arena, "{}", &back).code, ERR_DATA_LOSS);
    assert_int_equal(lines_from_json(arena, "[{}]", &back).code, ERR_DATA_LOSS);
    assert_int_equal(lines_from_json(arena, "[", &back).code, ERR_DATA_LOSS);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_survive_their_json),
    };

    return cmocka_run_group_tests_name("checkout", tests, NULL, NULL);
}
