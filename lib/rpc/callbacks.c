/* callbacks.c - see callbacks.h. */
#include "rpc/callbacks.h"

#include <nng/nng.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    A_CORE = 2, /* nng's callback threads, as nni_taskq_sys_init starts them */
    THREADS_MAX = 16,
    PATIENCE_MS = 2000, /* for threads just started to take up their callbacks */
};

struct callbacks {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool released;
    size_t begun; /* callbacks under way: threads that are held */
    bool passed;  /* the last callback ran: a thread is left for it */
    size_t count; /* aios; all but the last hold a thread */
    nng_aio *aios[THREADS_MAX];
};

static void on_held(void *arg)
{
    struct callbacks *c = arg;

    pthread_mutex_lock(&c->lock);
    c->begun++;
    pthread_cond_broadcast(&c->changed);
    while (!c->released)
        pthread_cond_wait(&c->changed, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void on_passed(void *arg)
{
    struct callbacks *c = arg;

    pthread_mutex_lock(&c->lock);
    c->passed = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static size_t nng_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t threads = cores < 1 ? A_CORE : (size_t)cores * A_CORE;

    return threads < THREADS_MAX ? threads : THREADS_MAX;
}

/* Has nng call back, each callback on a thread that is free.  False when memory is short.
 */
static bool call_back(struct callbacks *c, size_t count)
{
    while (c->count < count) {
        bool last = c->count + 1 == count;
        nng_aio *aio;
        if (nng_aio_alloc(&aio, last ? on_passed : on_held, c) != 0)
            return false;
        c->aios[c->count++] = aio;
        nng_aio_begin(aio);
        nng_aio_finish(aio, 0);
    }
    return true;
}

/* Whether all but one thread are held, and that one is there. */
static bool one_is_left(struct callbacks *c)
{
    int64_t deadline = clock_monotonic_ms() + PATIENCE_MS;

    pthread_mutex_lock(&c->lock);
    while ((c->begun + 1 < c->count || !c->passed) &&
           clock_cond_wait(&c->changed, &c->lock, deadline))
        ;
    bool left = c->begun + 1 == c->count && c->passed;
    pthread_mutex_unlock(&c->lock);
    return left;
}

struct callbacks *callbacks_on_one_thread(void)
{
    struct callbacks *c = calloc(1, sizeof *c);

    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    clock_cond_init(&c->changed);
    if (call_back(c, nng_threads()) && one_is_left(c))
        return c;
    log_warn("callbacks_on_many_threads", "held=%zu of=%zu", c->begun, c->count);
    callbacks_release(c);
    return NULL;
}

void callbacks_release(struct callbacks *c)
{
    if (c == NULL)
        return;
    pthread_mutex_lock(&c->lock);
    c->released = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; i < c->count; i++)
        nng_aio_free(c->aios[i]); /* waits for its callback */
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}
