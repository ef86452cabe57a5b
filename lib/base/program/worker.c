/* worker.c - see worker.h. */
#include "base/program/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"

enum { BACKOFF_MAX_MS = 3600000 };

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, run_now;
    atomic_bool idle; /* the pause is longer than every_ms */
    int64_t every_ms, pause_ms;
    int64_t backoff_ms;      /* doubles; the pause is this, or what the task allows */
    int64_t run_by_ms;       /* the latest end of the pause; clock_monotonic_ms */
    void (*task)(void *arg); /* one of the two; the other is NULL */
    int64_t (*backoff_task)(void *arg);
    void *arg;
};

/* Waits until the next run is due; true: stop instead. */
static bool pause_worker(struct worker *w)
{
    const int64_t begun_ms = clock_monotonic_ms();
    int64_t until_ms;

    pthread_mutex_lock(&w->lock);
    do { /* pause_ms and run_by_ms may change meanwhile */
        until_ms = begun_ms + w->pause_ms;
        until_ms = until_ms < w->run_by_ms ? until_ms : w->run_by_ms;
    } while (!w->stopping && !w->run_now &&
             clock_cond_wait(&w->wake, &w->lock, until_ms));
    w->run_now = false;
    w->run_by_ms = INT64_MAX;
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

/* most_ms: the longest pause that the task allows; 0: it found work. */
static void set_pause(struct worker *w, int64_t most_ms)
{
    pthread_mutex_lock(&w->lock);
    if (most_ms == 0)
        w->backoff_ms = w->every_ms;
    else if (w->backoff_ms < BACKOFF_MAX_MS)
        w->backoff_ms *= 2;
    int64_t pause_ms = w->backoff_ms < most_ms ? w->backoff_ms : most_ms;
    w->pause_ms = pause_ms > w->every_ms ? pause_ms : w->every_ms;
    atomic_store(&w->idle, w->pause_ms > w->every_ms);
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    do
        if (w->task != NULL)
            w->task(w->arg);
        else
            set_pause(w, w->backoff_task(w->arg));
    while (!pause_worker(w));
    return NULL;
}

static struct err start(const char *name, struct worker settings, struct worker **out)
{
    struct worker *w = malloc(sizeof *w);

    if (w == NULL)
        return err_memory();
    *w = settings;
    w->backoff_ms = w->pause_ms = w->every_ms;
    w->run_by_ms = INT64_MAX;
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->wake);
    *out = w; /* before the first run, which may use it */
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
        *out = NULL;
        free(w);
        return err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", name);
    }
    pthread_setname_np(w->thread, name);
    return ERR_NONE;
}

struct err worker_start(const char *name, int64_t every_ms, void (*task)(void *arg),
                        void *arg, struct worker **out)
{
    return start(name, (struct worker){.every_ms = every_ms, .task = task, .arg = arg},
                 out);
}

struct err worker_start_with_backoff(const char *name, int64_t every_ms,
                                     int64_t (*task)(void *arg), void *arg,
                                     struct worker **out)
{
    return start(name,
                 (struct worker){.every_ms = every_ms, .backoff_task = task, .arg = arg},
                 out);
}

void worker_reset_backoff(struct worker *w)
{
    if (w == NULL || !atomic_load(&w->idle))
        return;
    pthread_mutex_lock(&w->lock);
    w->backoff_ms = w->pause_ms = w->every_ms;
    atomic_store(&w->idle, false);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_run_by(struct worker *w, int64_t at_ms)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    if (at_ms < w->run_by_ms) {
        w->run_by_ms = at_ms;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
}

/* Sets one of the worker's flags and wakes it. */
static void signal_worker(struct worker *w, bool *flag)
{
    pthread_mutex_lock(&w->lock);
    *flag = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_run_now(struct worker *w)
{
    if (w != NULL)
        signal_worker(w, &w->run_now);
}

void worker_stop(struct worker *w)
{
    if (w == NULL)
        return;
    signal_worker(w, &w->stopping);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
