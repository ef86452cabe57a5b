/*
 * saga_chores.c - what is done to all the sagas at once, now and then; see saga.h.
 *
 * Works on what it found under the table's lock, after giving it back: a saga may end
 * meanwhile, so nothing here holds on to one.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "db/db.h"
#include "orchestrator/orders.h"
#include "orchestrator/saga_table.h"
#include "orchestrator/waiter.h"

enum { NOBODY_WAITS_MS = 60000 }; /* to rest; whoever begins to wait ends it */

int64_t sagas_expire_waiters(void *arg)
{
    struct sagas *sagas = arg;
    int64_t now = clock_monotonic_ms(), rest_ms = NOBODY_WAITS_MS;
    struct waiter *late = NULL;

    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (struct saga *saga = sagas->buckets[b]; saga != NULL; saga = saga->next)
            for (struct waiter **link = &saga->waiters; *link != NULL;) {
                struct waiter *waiter = *link;
                if (waiter->deadline_ms > now) {
                    link = &waiter->next;
                    rest_ms = 0;
                    continue;
                }
                *link = waiter->next;
                waiter->next = late;
                late = waiter;
            }
    pthread_mutex_unlock(&sagas->lock);
    while (late != NULL) {
        struct waiter *next = late->next;
        waiter_expire(late);
        late = next;
    }
    return rest_ms;
}

typedef char order_name[ULID_SIZE];

/* Copies whose lease is to be renewed; the sagas themselves go on meanwhile. */
static size_t list_due(struct sagas *sagas, order_name *ids, struct db_op *ops)
{
    int64_t now = clock_monotonic_ms();
    size_t count = 0;

    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (struct saga *s = sagas->buckets[b]; s != NULL; s = s->next) {
            if (now - s->renewed_ms < sagas->config.lease_ms / 4)
                continue;
            assert(count < sagas->config.most);
            s->renewed_ms = now;
            memcpy(ids[count], s->checkout.order_id, ULID_SIZE);
            orders_renew(&ops[count], ids[count], s->checkout.epoch,
                         sagas->config.lease_ms);
            ops[count].deadline_ms = now + sagas->config.lease_ms;
            count++;
        }
    pthread_mutex_unlock(&sagas->lock);
    return count;
}

/* A round failed: who was in it is due again. */
static void all_are_due(struct sagas *sagas)
{
    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (struct saga *s = sagas->buckets[b]; s != NULL; s = s->next)
            s->renewed_ms = 0;
    pthread_mutex_unlock(&sagas->lock);
}

struct err sagas_renew_leases(struct sagas *sagas)
{
    order_name *ids = calloc(sagas->config.most, sizeof *ids);
    struct db_op *ops = calloc(sagas->config.most, sizeof *ops);
    struct err e = ids == NULL || ops == NULL ? err_memory() : ERR_NONE;

    if (!failed(e)) {
        size_t count = list_due(sagas, ids, ops);
        if (count > 0)
            e = db_submit_wait(sagas->config.db, ops, count, NULL, NULL);
    }
    if (failed(e))
        all_are_due(sagas);
    free(ids);
    free(ops);
    return e;
}
