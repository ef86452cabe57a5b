/* registry.c - see registry.h. */
#include "orchestrator/saga/registry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* ---- opening and stopping ---------------------------------------------------------- */

static void check_steps(const struct sagas_config *config)
{
    for (int i = 0; i < config->step_count; i++) {
        const struct saga_step *step = &config->steps[i];
        assert(step->undo != NULL || step->undone_by != NULL || step->pivot);
    }
}

struct err sagas_open(const struct sagas_config *config, struct sagas **out)
{
    struct sagas *sagas = calloc(1, sizeof *sagas);

    if (sagas == NULL)
        return err_memory();
    check_steps(config);
    sagas->config = *config;
    ulid_make(sagas->owner);
    pthread_mutex_init(&sagas->lock, NULL);
    clock_cond_init(&sagas->emptied);
    *out = sagas;
    return ERR_NONE;
}

/* The lock is held. */
static void log_cut(const struct sagas *sagas)
{
    for (size_t b = 0; b < SAGA_BUCKETS; b++)
        for (const struct saga *s = sagas->buckets[b]; s != NULL; s = s->next)
            log_line(
                LOG_ERROR, "checkout_cut",
                "request=%s order=%s note=\"it was still running when the time to stop was over; "
                "it is taken over when its lease has run out\"",
                s->request, s->checkout.order_id);
}

void sagas_unsubscribe(struct sagas *sagas)
{
    if (sagas == NULL)
        return;
    pthread_mutex_lock(&sagas->lock);
    sagas->config.on_work = sagas->config.on_order = NULL;
    pthread_mutex_unlock(&sagas->lock);
}

/* The lock is held. */
static void wake_workers(const struct sagas *sagas)
{
    if (sagas->config.on_work != NULL)
        sagas->config.on_work(sagas->config.arg);
}

void saga_ordered(struct saga *saga)
{
    struct sagas *sagas = saga->sagas;

    pthread_mutex_lock(&sagas->lock);
    if (sagas->config.on_order != NULL)
        sagas->config.on_order(sagas->config.arg);
    pthread_mutex_unlock(&sagas->lock);
}

bool sagas_stop(struct sagas *sagas, int64_t drain_ms)
{
    int64_t until = clock_monotonic_ms() + drain_ms;

    if (sagas == NULL)
        return true;
    pthread_mutex_lock(&sagas->lock);
    sagas->stopping = true;
    while (sagas->count > 0 && clock_cond_wait(&sagas->emptied, &sagas->lock, until))
        ;
    bool empty = sagas->count == 0;
    log_cut(sagas);
    pthread_mutex_unlock(&sagas->lock);
    if (empty) {
        pthread_cond_destroy(&sagas->emptied);
        pthread_mutex_destroy(&sagas->lock);
        free(sagas);
    }
    return empty;
}

const struct sagas_config *sagas_config(const struct sagas *sagas)
{
    return &sagas->config;
}

const char *sagas_owner(const struct sagas *sagas)
{
    return sagas->owner;
}

/* ---- room -------------------------------------------------------------------------- */

bool sagas_admit(struct sagas *sagas)
{
    pthread_mutex_lock(&sagas->lock);
    bool room = !sagas->stopping && sagas->count < sagas->config.most;
    sagas->count += room ? 1 : 0;
    pthread_mutex_unlock(&sagas->lock);
    return room;
}

size_t sagas_room(struct sagas *sagas)
{
    pthread_mutex_lock(&sagas->lock);
    size_t room = sagas->stopping ? 0 : sagas->config.most - sagas->count;
    pthread_mutex_unlock(&sagas->lock);
    return room;
}

void sagas_leave(struct sagas *sagas)
{
    pthread_mutex_lock(&sagas->lock);
    if (--sagas->count == 0)
        pthread_cond_broadcast(&sagas->emptied);
    pthread_mutex_unlock(&sagas->lock);
}

/* ---- its entries ------------------------------------------------------------------ */

static struct saga **bucket_of(struct sagas *sagas, const char *key)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a; keys are random, and counted */

    for (const char *c = key; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return &sagas->buckets[hash % SAGA_BUCKETS];
}

/*
 * The newest saga of this key.  There are two if this process lost a lease and took over
 * its own checkout; the older saga then finds a higher epoch and ends.
 */
static struct saga *find(struct sagas *sagas, const char *key)
{
    struct saga *saga = *bucket_of(sagas, key);

    while (saga != NULL && strcmp(saga->checkout.idempotency_key, key) != 0)
        saga = saga->next;
    return saga;
}

void saga_put(struct saga *saga)
{
    struct sagas *sagas = saga->sagas;

    pthread_mutex_lock(&sagas->lock);
    struct saga **link = bucket_of(sagas, saga->checkout.idempotency_key);
    saga->next = *link;
    *link = saga;
    wake_workers(sagas);
    pthread_mutex_unlock(&sagas->lock);
}

void saga_set_refused(struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    saga->refused = true;
    pthread_mutex_unlock(&saga->sagas->lock);
}

void saga_set_money(struct saga *saga, enum err_money money)
{
    pthread_mutex_lock(&saga->sagas->lock);
    saga->checkout.failure.money = money;
    pthread_mutex_unlock(&saga->sagas->lock);
}

struct waiter *saga_take_waiters(struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    struct waiter *waiters = saga->waiters;
    saga->waiters = NULL;
    pthread_mutex_unlock(&saga->sagas->lock);
    return waiters;
}

struct waiter *saga_take_out(struct saga *saga)
{
    struct sagas *sagas = saga->sagas;

    pthread_mutex_lock(&sagas->lock);
    struct saga **link = bucket_of(sagas, saga->checkout.idempotency_key);
    while (*link != saga)
        link = &(*link)->next;
    *link = saga->next;
    struct waiter *waiters = saga->waiters;
    pthread_mutex_unlock(&sagas->lock);
    return waiters;
}

bool saga_stopping(const struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    bool stopping = saga->sagas->stopping;
    pthread_mutex_unlock(&saga->sagas->lock);
    return stopping;
}

/* ---- joining ----------------------------------------------------------------------- */

static void join(struct saga *saga, struct waiter *waiter)
{
    waiter->joined =
        saga->call_id == NULL || strcmp(saga->call_id, rpc_call_id(waiter->call)) != 0;
    waiter->next = saga->waiters;
    saga->waiters = waiter;
    rpc_call_set_order(waiter->call, saga->checkout.order_id);
    wake_workers(saga->sagas);
}

static bool same_request(const struct checkout *c, const char *user_id,
                         const uint8_t *fingerprint)
{
    return strcmp(c->user_id, user_id) == 0 &&
           memcmp(c->fingerprint, fingerprint, FINGERPRINT_SIZE) == 0;
}

enum saga_join sagas_join(struct sagas *sagas, const char *key, const char *user_id,
                          const uint8_t *fingerprint, struct waiter *waiter,
                          struct err *refusal)
{
    enum saga_join result = SAGA_JOINED;

    pthread_mutex_lock(&sagas->lock);
    struct saga *saga = find(sagas, key);
    if (saga == NULL) {
        result = SAGA_NOT_HERE;
    } else if (!same_request(&saga->checkout, user_id, fingerprint)) {
        result = SAGA_OTHER_REQUEST;
    } else if (saga->refused) {
        rpc_call_set_order(waiter->call, saga->checkout.order_id);
        *refusal = saga->checkout.failure;
        refusal->subject = arena_strdup(rpc_call_arena(waiter->call), refusal->subject);
        result = SAGA_REFUSED;
    } else {
        join(saga, waiter);
    }
    pthread_mutex_unlock(&sagas->lock);
    return result;
}

/* ---- waiters whose time is up ------------------------------------------------------- */

enum { NO_WAITER_MS = 60000 }; /* to pause; a new waiter ends the pause */

int64_t sagas_expire_waiters(void *arg)
{
    struct sagas *sagas = arg;
    int64_t now = clock_monotonic_ms(), rest_ms = NO_WAITER_MS;
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
