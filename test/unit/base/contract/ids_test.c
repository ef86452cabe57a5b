/* ids_test.c - ULIDs, and what an id from outside may look like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void ulids_are_valid_and_never_repeat(void **state)
{
    enum { COUNT = 20000 };
    char(*ids)[ULID_SIZE] = calloc(COUNT, ULID_SIZE);

    (void)state;
    for (int i = 0; i < COUNT; i++) {
        ulid_make(ids[i]);
        assert_true(ulid_valid(ids[i]));
    }
    qsort(ids, COUNT, ULID_SIZE, by_text);
    for (int i = 1; i < COUNT; i++)
        assert_string_not_equal(ids[i - 1], ids[i]);
    free(ids);
}

static void a_later_millisecond_sorts_later(void **state)
{
    char early[ULID_SIZE], later[ULID_SIZE];

    (void)state;
    ulid_make(early);
    do /* until the clock has moved on */
        ulid_make(later);
    while (strncmp(early, later, 10) == 0);
    assert_true(strcmp(early, later) < 0);
}

static void ulids_have_one_canonical_form(void **state)
{
    (void)state;
    assert_true(ulid_valid("01ARZ3NDEKTSV4RRFFQ69G5FAV"));
    assert_true(ulid_valid("7ZZZZZZZZZZZZZZZZZZZZZZZZZ"));
    assert_false(ulid_valid("8ZZZZZZZZZZZZZZZZZZZZZZZZZ")); /* past 48 bits of time */
    assert_false(ulid_valid("01arz3ndektsv4rrffq69g5fav"));
    assert_false(ulid_valid("01ARZ3NDEKTSV4RRFFQ69G5FA"));
    assert_false(ulid_valid("01ARZ3NDEKTSV4RRFFQ69G5FAVA"));
    assert_false(ulid_valid("01ARZ3NDEKTSV4RRFFQ69G5FAI")); /* I, L, O, U are not in it */
    assert_false(ulid_valid("01ARZ3NDEKTSV4RRFFQ69G5FAU"));
    assert_false(ulid_valid(""));
}

static void uuids_have_one_canonical_form(void **state)
{
    (void)state;
    assert_true(uuid_valid("00000000-0000-0000-0000-000000000000"));
    assert_true(uuid_valid("123e4567-e89b-12d3-a456-426614174000"));
    assert_false(uuid_valid("123E4567-e89b-12d3-a456-426614174000"));
    assert_false(uuid_valid("123e4567e89b12d3a456426614174000"));
    assert_false(uuid_valid("123e4567-e89b-12d3-a456-42661417400"));
    assert_false(uuid_valid("123e4567-e89b-12d3-a456-4266141740000"));
    assert_false(uuid_valid("123e4567-e89b-12d3-a456-42661417400g"));
    assert_false(uuid_valid("{23e4567-e89b-12d3-a456-426614174000"));
}

static void names_and_skus_are_1_to_64_of_their_letters(void **state)
{
    char text[66];

    (void)state;
    memset(text, 'x', sizeof text);
    text[64] = '\0';
    assert_true(name_valid(text) && sku_valid(text));
    text[64] = 'x';
    text[65] = '\0';
    assert_false(name_valid(text) || sku_valid(text));
    assert_false(name_valid("") || sku_valid(""));
    for (int c = 1; c < 256; c++) {
        char one[] = {(char)c, '\0'};
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
                     (c >= 'A' && c <= 'Z') || c == '_' || c == '-';
        assert_int_equal(name_valid(one), plain);
        assert_int_equal(sku_valid(one), plain || c == '.');
    }
}

static void texts_are_held_to_their_alphabets_and_lengths(void **state)
{
    (void)state;
    assert_true(visible_ascii("!~", 1, 2));
    assert_false(visible_ascii("", 1, 2));
    assert_false(visible_ascii("abc", 1, 2));
    assert_false(visible_ascii("a b", 1, 9));
    assert_false(visible_ascii("a\x7f", 1, 9));
    assert_false(visible_ascii("\xc3\xa9", 1, 9));
    assert_true(utf8_valid("", 0));
    assert_true(utf8_valid("gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x91\x8b", 30));
    assert_false(utf8_valid("\xc3\xbc", 1)); /* bytes, not letters */
    assert_false(utf8_valid("a\nb", 9));
    assert_false(utf8_valid("a\x7f", 9));
    assert_false(utf8_valid("\xff", 9));
    assert_false(utf8_valid("\xc0\x80", 9));         /* overlong */
    assert_false(utf8_valid("\xed\xa0\x80", 9));     /* half a surrogate */
    assert_false(utf8_valid("\xc3", 9));             /* cut */
    assert_false(utf8_valid("\xf5\x80\x80\x80", 9)); /* past U+10FFFF */
    assert_true(currency_valid("EUR"));
    assert_false(currency_valid("eur"));
    assert_false(currency_valid("EU"));
    assert_false(currency_valid("EURO"));
    assert_false(currency_valid("E1R"));
}

static bool holds(const struct ulid_range *range, const char *id)
{
    return strcmp(id, range->least) >= 0 && strcmp(id, range->end) < 0;
}

static void a_range_can_be_of_one_id_alone(void **state)
{
    const char *before = "01ARZ3NDEKTSV4RRFFQ69G5FAU",
               *one = "01ARZ3NDEKTSV4RRFFQ69G5FAV", *next = "01ARZ3NDEKTSV4RRFFQ69G5FAW";
    struct ulid_range all = ulid_range(0, 0, ""), older = ulid_range(0, 0, one),
                      newer = ulid_range(ulid_ms(one) + 1, 0, "");

    (void)state;
    ulid_range_only(&all, one);
    assert_true(holds(&all, one));
    assert_false(holds(&all, before));
    assert_false(holds(&all, next));
    ulid_range_only(&older, one);
    assert_false(holds(&older, one));
    assert_false(holds(&older, before));
    ulid_range_only(&newer, one);
    assert_false(holds(&newer, one));
    assert_false(holds(&newer, next));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ulids_are_valid_and_never_repeat),
        cmocka_unit_test(a_later_millisecond_sorts_later),
        cmocka_unit_test(ulids_have_one_canonical_form),
        cmocka_unit_test(uuids_have_one_canonical_form),
        cmocka_unit_test(names_and_skus_are_1_to_64_of_their_letters),
        cmocka_unit_test(texts_are_held_to_their_alphabets_and_lengths),
        cmocka_unit_test(a_range_can_be_of_one_id_alone),
    };

    return cmocka_run_group_tests_name("ids", tests, NULL, NULL);
}
