/* sweeper.c - see sweeper.h. */
#include "rpc/client/sweeper.h"

#include <stdbool.h>

#include "base/clock.h"

enum { SLEEP_LEAST_MS = 1, SLEEP_MOST_MS = 10000 };

/* The lock is held; at_ms was set. */
static void sleep_on(struct sweeper *sweeper)
{
    int64_t left = clock_remaining_ms(atomic_load(&sweeper->at_ms));

    if (left < SLEEP_LEAST_MS)
        left = SLEEP_LEAST_MS;
    nng_sleep_aio((nng_duration)(left < SLEEP_MOST_MS ? left : SLEEP_MOST_MS),
                  sweeper->aio);
}

static void on_time(void *arg)
{
    struct sweeper *sweeper = arg;

    pthread_mutex_lock(&sweeper->lock);
    bool stopped = sweeper->stopped;
    sweeper->running = true;
    atomic_store(&sweeper->at_ms, INT64_MAX);
    pthread_mutex_unlock(&sweeper->lock);
    if (stopped)
        return;
    int64_t next_ms = sweeper->sweep(sweeper->arg);
    pthread_mutex_lock(&sweeper->lock);
    sweeper->running = false;
    if (next_ms < atomic_load(&sweeper->at_ms)) /* none was wanted earlier meanwhile */
        atomic_store(&sweeper->at_ms, next_ms);
    if (atomic_load(&sweeper->at_ms) != INT64_MAX && !sweeper->stopped)
        sleep_on(sweeper);
    pthread_mutex_unlock(&sweeper->lock);
}

struct err sweeper_open(struct sweeper *sweeper, int64_t (*sweep)(void *arg), void *arg)
{
    sweeper->sweep = sweep;
    sweeper->arg = arg;
    atomic_init(&sweeper->at_ms, INT64_MAX);
    pthread_mutex_init(&sweeper->lock, NULL);
    return nng_aio_alloc(&sweeper->aio, on_time, sweeper) == 0 ? ERR_NONE : err_memory();
}

void sweeper_want(struct sweeper *sweeper, int64_t at_ms)
{
    if (at_ms >= atomic_load(&sweeper->at_ms))
        return;
    pthread_mutex_lock(&sweeper->lock);
    int64_t before = atomic_load(&sweeper->at_ms);
    if (at_ms < before && !sweeper->stopped) {
        atomic_store(&sweeper->at_ms, at_ms);
        if (sweeper->running)
            ; /* on_time reads at_ms when it is done */
        else if (before == INT64_MAX)
            sleep_on(sweeper);
        else
            nng_aio_cancel(sweeper->aio); /* on_time runs now, and sweeps */
    }
    pthread_mutex_unlock(&sweeper->lock);
}

void sweeper_stop(struct sweeper *sweeper)
{
    if (sweeper->aio == NULL)
        return;
    pthread_mutex_lock(&sweeper->lock);
    sweeper->stopped = true;
    pthread_mutex_unlock(&sweeper->lock);
    nng_aio_stop(sweeper->aio);
}

void sweeper_close(struct sweeper *sweeper)
{
    if (sweeper->aio == NULL)
        return;
    nng_aio_free(sweeper->aio);
    pthread_mutex_destroy(&sweeper->lock);
}
