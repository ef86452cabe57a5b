/* worker_test.c - a chore runs at once, again and again, and never after the stop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/program/worker.h"

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

static void a_task_runs_at_once_and_periodically(void **state)
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

static void stopping_does_not_wait_for_the_next_run(void **state)
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

/* ---- one that rests ---- */

enum { HOUR_MS = 3600000 };

static int64_t find_nothing(void *arg)
{
    run(arg);
    return HOUR_MS;
}

static int64_t find_something(void *arg)
{
    run(arg);
    return 0;
}

static void wait_runs(struct chore *chore, int runs)
{
    while (chore->runs < runs)
        sched_yield();
}

static void
a_chore_that_finds_something_is_run_again_as_often_as_it_was_said(void **state)
{
    struct chore chore = {0};
    struct worker *worker;

    (void)state;
    assert_int_equal(
        worker_start_with_backoff("chore", 1, find_something, &chore, &worker).code,
        ERR_OK);
    wait_runs(&chore, 50);
    worker_stop(worker);
}

static void a_task_that_finds_nothing_backs_off(void **state)
{
    struct chore chore = {0};
    struct worker *worker;

    (void)state;
    int64_t begun = clock_monotonic_ms();
    assert_int_equal(
        worker_start_with_backoff("chore", 1, find_nothing, &chore, &worker).code,
        ERR_OK);
    wait_runs(&chore, 6); /* after 2 + 4 + 8 + 16 + 32 ms */
    assert_true(clock_monotonic_ms() - begun >= 60);
    worker_stop(worker);
}

static void a_task_runs_by_the_time_that_was_set(void **state)
{
    struct chore chore = {0};
    struct worker *worker;

    (void)state;
    assert_int_equal(
        worker_start_with_backoff("chore", HOUR_MS / 2, find_nothing, &chore, &worker)
            .code,
        ERR_OK);
    wait_runs(&chore, 1);
    worker_run_by(worker, clock_monotonic_ms() + 10);
    wait_runs(&chore, 2);
    worker_run_now(worker);
    wait_runs(&chore, 3);
    worker_stop(worker);
    worker_reset_backoff(NULL);
    worker_run_by(NULL, 0);
    worker_run_now(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_runs_at_once_and_periodically),
        cmocka_unit_test(
            a_chore_that_finds_something_is_run_again_as_often_as_it_was_said),
        cmocka_unit_test(a_task_that_finds_nothing_backs_off),
        cmocka_unit_test(a_task_runs_by_the_time_that_was_set),
        cmocka_unit_test(stopping_does_not_wait_for_the_next_run),
    };

    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
