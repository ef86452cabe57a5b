/* err_test.c - one table of codes, the same for wire, storefront and program. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/err.h"

static void every_code_has_its_own_reason_and_valid_statuses(void **state)
{
    (void)state;
    for (unsigned c = 0; c < ERR_CODES_COUNT; c++) {
        enum err_code code = (enum err_code)c;
        assert_int_equal(err_of_reason(err_reason(code)), code);
        assert_true(err_grpc_status(code) <= 16);
        assert_true(code == ERR_OK
                        ? err_http_status(code) == 200
                        : err_http_status(code) >= 400 && err_http_status(code) < 600);
        if (c < 17)
            assert_int_equal(err_grpc_status(code), c);
    }
    assert_int_equal(err_of_reason("no such reason"), ERR_UNKNOWN);
}

static void errors_that_a_retry_can_fix_are_retryable(void **state)
{
    (void)state;
    assert_true(err_retryable(ERR_UNAVAILABLE) && err_retryable(ERR_RESOURCE_EXHAUSTED) &&
                err_retryable(ERR_DEADLINE_EXCEEDED) &&
                err_retryable(ERR_CHECKOUT_IN_PROGRESS));
    assert_false(err_retryable(ERR_OK) || err_retryable(ERR_OUT_OF_STOCK) ||
                 err_retryable(ERR_PAYMENT_DECLINED) ||
                 err_retryable(ERR_INVALID_ARGUMENT));
}

static void an_error_message_is_cut_to_its_size(void **state)
{
    char large[1000];
    struct err e = err_make(ERR_NOT_FOUND, "There is no %s.", "cart");

    (void)state;
    assert_int_equal(e.code, ERR_NOT_FOUND);
    assert_int_equal(e.effect, EFFECT_NONE);
    assert_string_equal(e.message, "There is no cart.");
    assert_null(e.subject);
    assert_true(failed(e) && !failed(ERR_NONE));
    assert_int_equal(err_unknown(ERR_UNAVAILABLE, "x").effect, EFFECT_UNKNOWN);
    assert_int_equal(err_memory().code, ERR_RESOURCE_EXHAUSTED);
    memset(large, 'x', sizeof large);
    large[sizeof large - 1] = '\0';
    e = err_make(ERR_INTERNAL, "%s", large);
    assert_int_equal(strlen(e.message), sizeof e.message - 1);
}

static void money_states_have_the_same_words_both_ways(void **state)
{
    (void)state;
    for (int m = MONEY_UNKNOWN; m <= MONEY_REFUND_PENDING; m++)
        assert_int_equal(err_money_of(err_money_text((enum err_money)m)), m);
    assert_int_equal(err_money_of("stolen"), MONEY_UNKNOWN);
    assert_int_equal(err_money_of(""), MONEY_UNKNOWN);
    assert_int_equal(err_make(ERR_INTERNAL, "x").money, MONEY_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_its_own_reason_and_valid_statuses),
        cmocka_unit_test(errors_that_a_retry_can_fix_are_retryable),
        cmocka_unit_test(money_states_have_the_same_words_both_ways),
        cmocka_unit_test(an_error_message_is_cut_to_its_size),
    };

    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
