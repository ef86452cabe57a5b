/* worker.c - see worker.h. */
#include "base/worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, now;
    int64_t every_ms;
    void (*chore)(void *arg);
    void *arg;
};

/* Waits; true when it is time to stop. */
static bool pause_worker(struct worker *w)
{
    int64_t until = clock_monotonic_ms() + w->every_ms;

    pthread_mutex_lock(&w->lock);
    while (!w->stopping && !w->now && clock_cond_wait(&w->wake, &w->lock, until))
        ;
    w->now = false;
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    do
        w->chore(w->arg);
    while (!pause_worker(w));
    return NULL;
}

struct err worker_start(const char *name, int64_t every_ms, void (*chore)(void *arg), void *arg,
                        struct worker **out)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_memory();
    w->every_ms = every_ms;
    w->chore = chore;
    w->arg = arg;
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->wake);
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
        free(w);
        return err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", name);
    }
    pthread_setname_np(w->thread, name);
    *out = w;
    return ERR_NONE;
}

void worker_now(struct worker *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->now = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_stop(struct worker *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->stopping = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
