/*
 * rate_limiter.c - see rate_limiter.h.
 *
 * The bucket is kept as a single time: when it would be full again.  A call moves that
 * ahead by one interval, and may do so as long as it is not more than a second ahead of
 * now. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
#include "rpc/server/rate_limiter.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/auth/keys.h"

enum {
    CHAINS = 256,
    CALLERS_MAX = 4096, /* names remembered; the others share the limits of one */
    SECOND_US = 1000000,
    IN_FLIGHT_HINT_MS = 50,
};

struct caller_usage {
    struct caller_usage *next; /* in its chain */
    char name[KEY_NAME_MAX + 1];
    size_t in_flight;
    int64_t full_again_us;
};

struct rate_limiter {
    pthread_mutex_t lock;
    size_t in_flight_max, count;
    uint32_t per_second;
    struct caller_usage *chains[CHAINS];
    struct caller_usage others;
};

struct rate_limiter *rate_limiter_new(size_t in_flight_max, uint32_t per_second)
{
    struct rate_limiter *limiter = calloc(1, sizeof *limiter);

    if (limiter == NULL)
        return NULL;
    pthread_mutex_init(&limiter->lock, NULL);
    limiter->in_flight_max = in_flight_max;
    limiter->per_second = per_second;
    return limiter;
}

void rate_limiter_free(struct rate_limiter *limiter)
{
    if (limiter == NULL)
        return;
    for (size_t b = 0; b < CHAINS; b++)
        for (struct caller_usage *l = limiter->chains[b], *next; l != NULL; l = next) {
            next = l->next;
            free(l);
        }
    pthread_mutex_destroy(&limiter->lock);
    free(limiter);
}

static struct caller_usage *find(struct rate_limiter *limiter, const char *name)
{
    unsigned hash = 5381;

    for (const char *c = name; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    struct caller_usage **chain = &limiter->chains[hash % CHAINS];
    for (struct caller_usage *l = *chain; l != NULL; l = l->next)
        if (strcmp(l->name, name) == 0)
            return l;
    struct caller_usage *l = limiter->count < CALLERS_MAX ? calloc(1, sizeof *l) : NULL;
    if (l == NULL)
        return &limiter->others;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->next = *chain;
    *chain = l;
    limiter->count++;
    return l;
}

static struct err too_many(const char *caller, const char *what, int64_t after_ms)
{
    struct err e =
        err_make(ERR_RESOURCE_EXHAUSTED, "%s is at its limit of calls %s", caller, what);

    e.retry_after_ms = (uint32_t)after_ms;
    return e;
}

/* The lock is held. */
static struct err admit(struct rate_limiter *limiter, struct caller_usage *l,
                        const char *caller, int64_t now_us)
{
    if (limiter->in_flight_max > 0 && l->in_flight >= limiter->in_flight_max)
        return too_many(caller, "in progress", IN_FLIGHT_HINT_MS);
    if (limiter->per_second > 0) {
        int64_t from = l->full_again_us > now_us ? l->full_again_us : now_us;
        int64_t then = from + SECOND_US / limiter->per_second;
        if (then - now_us > SECOND_US)
            return too_many(caller, "a second", (then - now_us - SECOND_US + 999) / 1000);
        l->full_again_us = then;
    }
    l->in_flight++;
    return ERR_NONE;
}

struct err rate_limiter_enter(struct rate_limiter *limiter, const char *caller,
                              int64_t now_us, struct caller_usage **out)
{
    *out = NULL;
    if (limiter->in_flight_max == 0 && limiter->per_second == 0)
        return ERR_NONE;
    pthread_mutex_lock(&limiter->lock);
    struct caller_usage *l = find(limiter, caller);
    struct err e = admit(limiter, l, caller, now_us);
    pthread_mutex_unlock(&limiter->lock);
    if (!failed(e))
        *out = l;
    return e;
}

void rate_limiter_leave(struct rate_limiter *limiter, struct caller_usage *usage)
{
    if (usage == NULL)
        return;
    pthread_mutex_lock(&limiter->lock);
    usage->in_flight--;
    pthread_mutex_unlock(&limiter->lock);
}
