/* timers_test.c - deadlines of several kinds, on a clock that the test moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "http/loop.h"

enum { SHORT, LONG, NEVER_USED, KINDS };

static const int64_t AFTER_MS[KINDS] = {10, 1000, 5};

static void deadlines_expire_when_they_are_due_and_once(void **state)
{
    struct timers timers;
    struct timer a = {NULL}, b = {NULL}, c = {NULL};

    (void)state;
    timers_init(&timers, AFTER_MS, KINDS);
    assert_int_equal(timers_wait_ms(&timers, 0), -1);
    assert_null(timers_expired(&timers, INT64_MAX));
    timers_set(&timers, &a, LONG, 0);
    timers_set(&timers, &b, SHORT, 100);
    timers_set(&timers, &c, SHORT, 105);
    assert_int_equal(timers_wait_ms(&timers, 100), 10);
    assert_null(timers_expired(&timers, 109));
    assert_int_equal(timers_wait_ms(&timers, 110), 0);
    assert_ptr_equal(timers_expired(&timers, 110), &b);
    assert_null(timers_expired(&timers, 110));
    assert_false(timers_is(&b, SHORT));
    assert_int_equal(timers_wait_ms(&timers, 110), 5);
    assert_ptr_equal(timers_expired(&timers, 5000), &c);
    assert_ptr_equal(timers_expired(&timers, 5000), &a);
    assert_null(timers_expired(&timers, 5000));
    assert_int_equal(timers_wait_ms(&timers, 5000), -1);
}

static void a_new_deadline_takes_the_place_of_the_old_one(void **state)
{
    struct timers timers;
    struct timer a = {NULL}, b = {NULL};

    (void)state;
    timers_init(&timers, AFTER_MS, KINDS);
    timers_set(&timers, &a, SHORT, 0);
    timers_set(&timers, &b, SHORT, 1);
    timers_set(&timers, &a, SHORT, 5); /* behind b now */
    assert_ptr_equal(timers_first(&timers, SHORT), &b);
    assert_null(timers_expired(&timers, 10));
    assert_ptr_equal(timers_expired(&timers, 15), &b);
    assert_ptr_equal(timers_expired(&timers, 15), &a);
    timers_set(&timers, &a, SHORT, 0);
    timers_set(&timers, &a, LONG, 0);
    assert_true(timers_is(&a, LONG) && !timers_is(&a, SHORT));
    assert_null(timers_first(&timers, SHORT));
    assert_null(timers_expired(&timers, 999));
    assert_ptr_equal(timers_expired(&timers, 1000), &a);
}

static void a_cleared_timer_never_expires(void **state)
{
    struct timers timers;
    struct timer all[3];

    (void)state;
    memset(all, 0, sizeof all);
    timers_init(&timers, AFTER_MS, KINDS);
    timers_clear(&all[0]); /* not set: nothing */
    for (int i = 0; i < 3; i++)
        timers_set(&timers, &all[i], SHORT, i);
    timers_clear(&all[1]);
    timers_clear(&all[1]);
    assert_ptr_equal(timers_expired(&timers, 100), &all[0]);
    assert_ptr_equal(timers_expired(&timers, 100), &all[2]);
    assert_null(timers_expired(&timers, 100));
}

static void a_wait_of_weeks_is_cut_to_an_int(void **state)
{
    const int64_t after_ms[] = {INT64_C(1) << 40};
    struct timers timers;
    struct timer a = {NULL};

    (void)state;
    timers_init(&timers, after_ms, 1);
    timers_set(&timers, &a, 0, 0);
    assert_int_equal(timers_wait_ms(&timers, 0), INT32_MAX);
    timers_clear(&a);
    assert_int_equal(timers_wait_ms(&timers, 0), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_expire_when_they_are_due_and_once),
        cmocka_unit_test(a_new_deadline_takes_the_place_of_the_old_one),
        cmocka_unit_test(a_cleared_timer_never_expires),
        cmocka_unit_test(a_wait_of_weeks_is_cut_to_an_int),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
