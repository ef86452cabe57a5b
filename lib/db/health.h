/*
 * health.h - whether a writer can write now, for whoever asks from another thread.
 *
 * Private to lib/db.  The writer says what it knows; db_health tells it.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

struct health {
    const char *database; /* in logs; borrowed */
    pthread_mutex_t lock; /* guards what follows */
    struct err why;       /* ERR_OK: it can write */
};

/* Begins as not serving, as it is not known yet. */
void health_open(struct health *health, const char *database);
void health_close(struct health *health);

/* `why` is ERR_NONE when a write has just succeeded, else why none can; any failure counts
 * as UNAVAILABLE.  Its subject lives for good.  A change is logged. */
void health_set(struct health *health, struct err why);

/* As it was set last. */
struct err health_get(struct health *health) __attribute__((warn_unused_result));
