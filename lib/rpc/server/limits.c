/*
 * limits.c - see limits.h.
 *
 * The bucket is kept as a single time: when it would be full again.  A call moves that
 * ahead by one interval, and may do so as long as it is not more than a second ahead of
 * now. https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
#include "rpc/server/limits.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/auth/keys.h"

enum {
    BUCKETS = 256,
    CALLERS_MAX = 4096, /* names remembered; those beyond share what is left of one */
    SECOND_US = 1000000,
    IN_FLIGHT_HINT_MS = 50,
};

struct limited {
    struct limited *next; /* in its bucket */
    char name[KEY_NAME_MAX + 1];
    size_t in_flight;
    int64_t full_again_us;
};

struct limits {
    pthread_mutex_t lock;
    size_t in_flight_max, count;
    uint32_t per_second;
    struct limited *buckets[BUCKETS];
    struct limited others;
};

struct limits *limits_new(size_t in_flight_max, uint32_t per_second)
{
    struct limits *limits = calloc(1, sizeof *limits);

    if (limits == NULL)
        return NULL;
    pthread_mutex_init(&limits->lock, NULL);
    limits->in_flight_max = in_flight_max;
    limits->per_second = per_second;
    return limits;
}

void limits_free(struct limits *limits)
{
    if (limits == NULL)
        return;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct limited *l = limits->buckets[b], *next; l != NULL; l = next) {
            next = l->next;
            free(l);
        }
    pthread_mutex_destroy(&limits->lock);
    free(limits);
}

static struct limited *find(struct limits *limits, const char *name)
{
    unsigned hash = 5381;

    for (const char *c = name; *c != '\0'; c++)
        hash = hash * 33 + (unsigned char)*c;
    struct limited **bucket = &limits->buckets[hash % BUCKETS];
    for (struct limited *l = *bucket; l != NULL; l = l->next)
        if (strcmp(l->name, name) == 0)
            return l;
    struct limited *l = limits->count < CALLERS_MAX ? calloc(1, sizeof *l) : NULL;
    if (l == NULL)
        return &limits->others;
    snprintf(l->name, sizeof l->name, "%s", name);
    l->next = *bucket;
    *bucket = l;
    limits->count++;
    return l;
}

static struct err too_many(const char *caller, const char *what, int64_t after_ms)
{
    struct err e = err_make(ERR_RESOURCE_EXHAUSTED, "%s has as many calls %s as it may",
                            caller, what);

    e.retry_after_ms = (uint32_t)after_ms;
    return e;
}

/* The lock is held. */
static struct err admit(struct limits *limits, struct limited *l, const char *caller,
                        int64_t now_us)
{
    if (limits->in_flight_max > 0 && l->in_flight >= limits->in_flight_max)
        return too_many(caller, "under way", IN_FLIGHT_HINT_MS);
    if (limits->per_second > 0) {
        int64_t from = l->full_again_us > now_us ? l->full_again_us : now_us;
        int64_t then = from + SECOND_US / limits->per_second;
        if (then - now_us > SECOND_US)
            return too_many(caller, "a second", (then - now_us - SECOND_US + 999) / 1000);
        l->full_again_us = then;
    }
    l->in_flight++;
    return ERR_NONE;
}

struct err limits_enter(struct limits *limits, const char *caller, int64_t now_us,
                        struct limited **out)
{
    *out = NULL;
    if (limits->in_flight_max == 0 && limits->per_second == 0)
        return ERR_NONE;
    pthread_mutex_lock(&limits->lock);
    struct limited *l = find(limits, caller);
    struct err e = admit(limits, l, caller, now_us);
    pthread_mutex_unlock(&limits->lock);
    if (!failed(e))
        *out = l;
    return e;
}

void limits_leave(struct limits *limits, struct limited *limited)
{
    if (limited == NULL)
        return;
    pthread_mutex_lock(&limits->lock);
    limited->in_flight--;
    pthread_mutex_unlock(&limits->lock);
}
