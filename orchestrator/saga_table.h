/*
 * saga_table.h - the sagas that run in this process, by idempotency key, with who waits for
 * each; what the engine (saga.c) and the chores (saga_chores.c) share.
 *
 * All of it is under one lock, which is held for as long as memory is read and written and
 * never while anything is called that waits.
 */
#pragma once

#include <pthread.h>

#include "base/contract/ids.h"
#include "orchestrator/saga.h"

enum { SAGA_BUCKETS = 4096 };

struct sagas {
    struct sagas_config config;
    char owner[ULID_SIZE];
    pthread_mutex_t lock; /* guards what follows and every saga's waiters */
    pthread_cond_t emptied;
    size_t count; /* admitted */
    bool stopping;
    struct saga *buckets[SAGA_BUCKETS]; /* by idempotency key */
};

/* Puts an admitted saga into the table, where it can be joined. */
void saga_put(struct saga *saga);

/* Takes the saga out of the table; nobody joins it after.  Returns who waited. */
struct waiter *saga_take_out(struct saga *saga) __attribute__((warn_unused_result));

/* Takes over who waits for it; it stays in the table, and others may join. */
struct waiter *saga_take_waiters(struct saga *saga) __attribute__((warn_unused_result));

/* From now on who would join is told that it has failed, instead. */
void saga_set_refused(struct saga *saga);

/* Whether the process stops: the saga is then to drop out rather than to go on. */
bool saga_stopping(const struct saga *saga);
