/* worker.c - see worker.h. */
#include "base/worker.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"

enum { PACE_MOST_MS = 3600000 };

struct worker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, now;
    atomic_bool resting; /* the pause is longer than every_ms */
    int64_t every_ms, pause_ms;
    int64_t pace_ms;          /* doubling; the pause is this, or what the chore allows */
    int64_t by_ms;            /* the end of the pause at the latest; clock_monotonic_ms */
    void (*chore)(void *arg); /* one of them; the other is NULL */
    int64_t (*resting_chore)(void *arg);
    void *arg;
};

/* Waits; true when it is time to stop. */
static bool pause_worker(struct worker *w)
{
    int64_t begun = clock_monotonic_ms();

    pthread_mutex_lock(&w->lock);
    while (
        !w->stopping && !w->now && /* pause and by may become earlier meanwhile */
        clock_cond_wait(&w->wake, &w->lock,
                        begun + w->pause_ms < w->by_ms ? begun + w->pause_ms : w->by_ms))
        ;
    w->now = false;
    w->by_ms = INT64_MAX;
    bool stopping = w->stopping;
    pthread_mutex_unlock(&w->lock);
    return stopping;
}

static void set_pause(struct worker *w, int64_t rest_ms) /* 0: it does not rest */
{
    pthread_mutex_lock(&w->lock);
    if (rest_ms == 0)
        w->pace_ms = w->every_ms;
    else if (w->pace_ms < PACE_MOST_MS)
        w->pace_ms *= 2;
    int64_t pause_ms = w->pace_ms < rest_ms ? w->pace_ms : rest_ms;
    w->pause_ms = pause_ms > w->every_ms ? pause_ms : w->every_ms;
    atomic_store(&w->resting, w->pause_ms > w->every_ms);
    pthread_mutex_unlock(&w->lock);
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;

    do
        if (w->chore != NULL)
            w->chore(w->arg);
        else
            set_pause(w, w->resting_chore(w->arg));
    while (!pause_worker(w));
    return NULL;
}

static struct err start(const char *name, const struct worker *like, struct worker **out)
{
    struct worker *w = calloc(1, sizeof *w);

    if (w == NULL)
        return err_memory();
    w->every_ms = w->pace_ms = w->pause_ms = like->every_ms;
    w->by_ms = INT64_MAX;
    w->chore = like->chore;
    w->resting_chore = like->resting_chore;
    w->arg = like->arg;
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->wake);
    *out = w; /* before the chore runs, which may be one that stirs it */
    if (pthread_create(&w->thread, NULL, worker_main, w) != 0) {
        *out = NULL;
        free(w);
        return err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", name);
    }
    pthread_setname_np(w->thread, name);
    return ERR_NONE;
}

struct err worker_start(const char *name, int64_t every_ms, void (*chore)(void *arg),
                        void *arg, struct worker **out)
{
    return start(name, &(struct worker){.every_ms = every_ms, .chore = chore, .arg = arg},
                 out);
}

struct err worker_start_resting(const char *name, int64_t every_ms,
                                int64_t (*chore)(void *arg), void *arg,
                                struct worker **out)
{
    return start(
        name, &(struct worker){.every_ms = every_ms, .resting_chore = chore, .arg = arg},
        out);
}

void worker_stir(struct worker *w)
{
    if (w == NULL || !atomic_load(&w->resting))
        return;
    pthread_mutex_lock(&w->lock);
    w->pace_ms = w->pause_ms = w->every_ms;
    atomic_store(&w->resting, false);
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
}

void worker_by(struct worker *w, int64_t at_ms)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    if (at_ms < w->by_ms) {
        w->by_ms = at_ms;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
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
