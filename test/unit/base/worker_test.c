/* worker_test.c - a chore runs at once, again and again, and never after the stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/worker.h"

struct chore {
    atomic_int runs, inside;
    atomic_bool overlapped;
};

static void run(void *arg)
{
    struct chore *chore = arg;

    if (chore->inside++ != 0)
        chore->overlapped = true;
    chore->runs++;
    chore->inside--;
}

static void a_chore_runs_at_once_and_again(void **state)
{
    struct chore chore = {0};
    struct worker *worker;

    (void)state;
    assert_int_equal(worker_start("chore", 1, run, &chore, &worker).code, ERR_OK);
    while (chore.runs < 5)
        sched_yield();
    worker_stop(worker);
    assert_int_equal(chore.inside, 0);
    assert_false(chore.overlapped);
}

static void stopping_does_not_wait_for_the_next_time(void **state)
{
    struct chore chore = {0};
    struct worker *worker;

    (void)state;
    /* In an hour: a stop that waited for it would never end this test. */
    assert_int_equal(worker_start("chore", 3600000, run, &chore, &worker).code, ERR_OK);
    while (chore.runs < 1)
        sched_yield();
    worker_stop(worker);
    assert_int_equal(chore.runs, 1);
    worker_stop(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chore_runs_at_once_and_again),
        cmocka_unit_test(stopping_does_not_wait_for_the_next_time),
    };

    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
