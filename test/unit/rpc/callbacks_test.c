/* callbacks_test.c - nng's callbacks run on one thread, and on all of them again after.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nng/nng.h>
#include <pthread.h>
#include <stdbool.h>

#include "rpc/callbacks.h"

enum { ROUNDS = 200 };

struct seen {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t first;
    bool any, others;
    int count;
};

static void on_called(void *arg)
{
    struct seen *seen = arg;

    pthread_mutex_lock(&seen->lock);
    if (!seen->any)
        seen->first = pthread_self();
    seen->any = true;
    seen->others |= !pthread_equal(seen->first, pthread_self());
    seen->count++;
    pthread_cond_signal(&seen->changed);
    pthread_mutex_unlock(&seen->lock);
}

/* Many callbacks at once; every one is called. */
static void call_back(struct seen *seen)
{
    nng_aio *aios[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        assert_int_equal(nng_aio_alloc(&aios[i], on_called, seen), 0);
        nng_aio_begin(aios[i]);
        nng_aio_finish(aios[i], 0);
    }
    pthread_mutex_lock(&seen->lock);
    while (seen->count < ROUNDS)
        pthread_cond_wait(&seen->changed, &seen->lock);
    pthread_mutex_unlock(&seen->lock);
    for (int i = 0; i < ROUNDS; i++)
        nng_aio_free(aios[i]);
}

static void test_every_callback_runs_on_one_thread(void **state)
{
    struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER,
                        .changed = PTHREAD_COND_INITIALIZER};
    struct callbacks *callbacks = callbacks_on_one_thread();

    (void)state;
    assert_non_null(callbacks);
    call_back(&seen);
    assert_false(seen.others);
    callbacks_release(callbacks);
}

static void test_after_the_release_callbacks_go_on_and_it_can_be_done_again(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct seen seen = {.lock = PTHREAD_MUTEX_INITIALIZER,
                            .changed = PTHREAD_COND_INITIALIZER};
        callbacks_release(callbacks_on_one_thread());
        call_back(&seen);
    }
    callbacks_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_callback_runs_on_one_thread),
        cmocka_unit_test(test_after_the_release_callbacks_go_on_and_it_can_be_done_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
