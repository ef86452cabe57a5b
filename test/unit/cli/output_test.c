/* output_test.c - what people read: money, times, names of statuses, errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/output.h"

static void money_has_its_currencys_decimals(void **state)
{
    static const struct {
        int64_t units;
        const char *currency, *text;
    } cases[] = {
        {1234, "EUR", "12.34 EUR"},
        {5, "USD", "0.05 USD"},
        {-5, "USD", "-0.05 USD"},
        {0, "EUR", "0.00 EUR"},
        {1234, "JPY", "1234 JPY"},
        {1234, "KWD", "1.234 KWD"},
        {100, "", "1.00 "},
        {100, " ", "1.00  "},
        {INT64_MIN, "EUR", "-92233720368547758.08 EUR"},
    };
    char out[MONEY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(money_text(cases[i].units, cases[i].currency, out),
                            cases[i].text);
}

static void times_are_in_utc(void **state)
{
    char out[TIME_SIZE];

    (void)state;
    assert_string_equal(time_text(1769860800123, out), "2026-01-31 12:00:00 UTC");
    assert_string_equal(time_text(-1000, out), "1969-12-31 23:59:59 UTC");
}

static void statuses_have_grpcs_names(void **state)
{
    (void)state;
    assert_string_equal(status_name(0), "OK");
    assert_string_equal(status_name(9), "FAILED_PRECONDITION");
    assert_string_equal(status_name(16), "UNAUTHENTICATED");
    assert_string_equal(status_name(17), "UNKNOWN");
}

static char *error_text(struct outcome end)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    output_error(out, end);
    fclose(out);
    return text;
}

static void an_error_is_one_line_whatever_it_holds(void **state)
{
    (void)state;
    struct err e = err_make(ERR_OUT_OF_STOCK, "Not enough\nof \x1b[31mit.");
    e.subject = "sku-1,sku-2";
    char *text = error_text(remote(e));

    assert_string_equal(text,
                        "checkoutctl: FAILED_PRECONDITION: out_of_stock: Not enough?of "
                        "?[31mit. [sku-1,sku-2]\n");
    free(text);
    text = error_text(local(err_make(ERR_NOT_FOUND, "no such file")));
    assert_string_equal(text, "checkoutctl: no such file\n");
    free(text);
    text = error_text(remote(err_unknown(ERR_DEADLINE_EXCEEDED, "no answer")));
    assert_non_null(strstr(text, "may have taken effect"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(money_has_its_currencys_decimals),
        cmocka_unit_test(times_are_in_utc),
        cmocka_unit_test(statuses_have_grpcs_names),
        cmocka_unit_test(an_error_is_one_line_whatever_it_holds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
