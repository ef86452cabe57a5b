/* cork_test.c - what is held is called once, at the end of the outermost cork. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cork.h"

enum { MANY = 100 };

static int calls[MANY];
static int order[MANY], told;

static void flush(void *arg)
{
    int *count = arg;

    ++*count;
    order[told++ % MANY] = (int)(count - calls);
}

static void flush_again(void *arg)
{
    int *count = arg;

    if (++*count < 3)
        assert_int_equal(cork_hold(flush_again, arg), CORK_NEW);
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < MANY; i++)
        calls[i] = 0;
    told = 0;
    return 0;
}

static void without_a_cork_nothing_is_held(void **state)
{
    (void)state;
    assert_int_equal(cork_hold(flush, &calls[0]), CORK_NONE);
    cork_begin();
    cork_end();
    assert_int_equal(cork_hold(flush, &calls[0]), CORK_NONE);
    assert_int_equal(calls[0], 0);
}

static void each_flush_runs_once_in_order_at_the_outermost_end(void **state)
{
    (void)state;
    cork_begin();
    assert_int_equal(cork_hold(flush, &calls[1]), CORK_NEW);
    cork_begin();
    assert_int_equal(cork_hold(flush, &calls[0]), CORK_NEW);
    assert_int_equal(cork_hold(flush, &calls[1]), CORK_HELD);
    cork_end();
    assert_int_equal(told, 0);
    cork_end();
    assert_int_equal(calls[0], 1);
    assert_int_equal(calls[1], 1);
    assert_int_equal(order[0], 1);
    assert_int_equal(order[1], 0);
}

static void a_flush_may_hold_again(void **state)
{
    (void)state;
    cork_begin();
    assert_int_equal(cork_hold(flush_again, &calls[0]), CORK_NEW);
    cork_end();
    assert_int_equal(calls[0], 3);
}

static void at_a_full_cork_the_caller_must_flush(void **state)
{
    int held = 0;

    (void)state;
    cork_begin();
    while (held < MANY && cork_hold(flush, &calls[held]) == CORK_NEW)
        held++;
    assert_true(held > 0 && held < MANY);
    cork_end();
    assert_int_equal(told, held);
}

static void each_outermost_cork_has_its_own_id(void **state)
{
    (void)state;
    assert_int_equal(cork_id(), 0);
    cork_begin();
    uint64_t first = cork_id();
    assert_true(first != 0);
    cork_begin();
    assert_int_equal(cork_id(), first);
    cork_end();
    assert_int_equal(cork_id(), first);
    cork_end();
    cork_begin();
    assert_true(cork_id() != first && cork_id() != 0);
    cork_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(without_a_cork_nothing_is_held, set_up),
        cmocka_unit_test_setup(each_flush_runs_once_in_order_at_the_outermost_end,
                               set_up),
        cmocka_unit_test_setup(a_flush_may_hold_again, set_up),
        cmocka_unit_test_setup(each_outermost_cork_has_its_own_id, set_up),
        cmocka_unit_test_setup(at_a_full_cork_the_caller_must_flush, set_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
