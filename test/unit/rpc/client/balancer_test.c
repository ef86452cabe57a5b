/* balancer_test.c - an address that fails is rested, and probed before it is used again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "rpc/client/balancer.h"

static void after_its_rest_one_attempt_alone_finds_out_for_all(void **state)
{
    static struct subchannel one, other;
    struct subchannel *const both[] = {&one, &other};

    (void)state;
    for (int i = 0; i < 2; i++)
        atomic_init(&both[i]->connected, 1);
    balancer_enter(&one);
    balancer_leave(&one, ADDRESS_FAILED);
    assert_true(balancer_rests(&one, clock_monotonic_ms()));
    assert_ptr_equal(balancer_pick(both, 2, 0), &other);
    one.rest_until_ms = clock_monotonic_ms(); /* its rest is over */
    assert_false(balancer_rests(&one, clock_monotonic_ms()));
    assert_ptr_equal(balancer_pick(both, 2, 0), &one);
    balancer_enter(&one);
    assert_ptr_equal(balancer_pick(both, 2, 0), &other); /* one at a time */
    balancer_leave(&one, ADDRESS_FAILED);
    assert_true(one.rest_until_ms >= clock_monotonic_ms() + 50); /* twice as long */
    one.rest_until_ms = clock_monotonic_ms();
    balancer_enter(&one);
    balancer_leave(&one, ADDRESS_WELL);
    balancer_enter(&one);
    assert_false(balancer_rests(&one, clock_monotonic_ms()));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_its_rest_one_attempt_alone_finds_out_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
