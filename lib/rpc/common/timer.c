/* timer.c - see timer.h. */
#include "rpc/common/timer.h"

#include <nng/nng.h>
#include <stdlib.h>

struct timer {
    nng_aio *aio;
    void (*fn)(void *arg);
    void *arg;
};

static void on_time(void *arg)
{
    struct timer *timer = arg;

    timer->fn(timer->arg);
    nng_aio_reap(timer->aio); /* an aio cannot be freed in its own callback */
    free(timer);
}

struct err timer_after(int64_t ms, void (*fn)(void *arg), void *arg)
{
    struct timer *timer = malloc(sizeof *timer);

    if (timer == NULL)
        return err_memory();
    timer->fn = fn;
    timer->arg = arg;
    if (nng_aio_alloc(&timer->aio, on_time, timer) != 0) {
        free(timer);
        return err_memory();
    }
    nng_sleep_aio((nng_duration)ms, timer->aio);
    return ERR_NONE;
}
