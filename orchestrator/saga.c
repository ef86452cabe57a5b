/* saga.c - see saga.h. */
#include "orchestrator/saga.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/wait.h"
#include "orchestrator/orders.h"
#include "orchestrator/waiter.h"
#include "rpc/timer.h"

enum {
    BUCKETS = 4096,
    SCRATCH_MAX = 1 << 20,
    BACKOFF_LEAST_MS = 50,   /* between attempts, doubling, with jitter */
    BACKOFF_MOST_MS = 5000,
};

struct sagas {
    struct sagas_config config;
    char owner[ULID_SIZE];
    pthread_mutex_t lock; /* guards what follows and every saga's waiters */
    pthread_cond_t emptied;
    size_t count; /* admitted */
    bool stopping;
    struct saga *buckets[BUCKETS]; /* by idempotency key */
};

/* ---- the table ---------------------------------------------------------------------- */

static struct saga **bucket_of(struct sagas *sagas, const char *key)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a; keys are random, and counted */

    for (const char *c = key; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return &sagas->buckets[hash % BUCKETS];
}

/*
 * The newest of this key.  There are two while a checkout that this very process let slip
 * and took over again runs on: the older one then finds itself lost.
 */
static struct saga *find(struct sagas *sagas, const char *key)
{
    struct saga *saga = *bucket_of(sagas, key);

    while (saga != NULL && strcmp(saga->checkout.idempotency_key, key) != 0)
        saga = saga->next;
    return saga;
}

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

static void join(struct saga *saga, struct waiter *waiter)
{
    waiter->joined = saga->call_id == NULL ||
                     strcmp(saga->call_id, rpc_call_id(waiter->call)) != 0;
    waiter->next = saga->waiters;
    saga->waiters = waiter;
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
        *refusal = saga->checkout.failure;
        refusal->subject = arena_strdup(rpc_call_arena(waiter->call), refusal->subject);
        result = SAGA_REFUSED;
    } else {
        join(saga, waiter);
    }
    pthread_mutex_unlock(&sagas->lock);
    return result;
}

static void set_refused(struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    saga->refused = true;
    pthread_mutex_unlock(&saga->sagas->lock);
}

static struct waiter *take_waiters(struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    struct waiter *waiters = saga->waiters;
    saga->waiters = NULL;
    pthread_mutex_unlock(&saga->sagas->lock);
    return waiters;
}

/* Takes the saga out of the table; nobody joins it after. */
static struct waiter *take_out(struct saga *saga)
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

static void free_saga(struct saga *saga)
{
    struct sagas *sagas = saga->sagas;

    arena_free(saga->scratch);
    arena_free(saga->arena);
    free(saga);
    sagas_leave(sagas);
}

/* ---- ends --------------------------------------------------------------------------- */

static void finish_waiters(struct waiter *waiter, const struct checkout *checkout)
{
    while (waiter != NULL) {
        struct waiter *next = waiter->next;
        waiter_finish(waiter, checkout);
        waiter = next;
    }
}

static void finish(struct saga *saga)
{
    const struct checkout *c = &saga->checkout;

    log_info("checkout_finished", "order=%s outcome=%s epoch=%lld", c->order_id,
             c->state == CHECKOUT_COMPLETED ? "completed" : err_reason(c->failure.code),
             (long long)c->epoch);
    finish_waiters(take_out(saga), c);
    free_saga(saga);
}

void saga_lost(struct saga *saga)
{
    log_info("checkout_lost", "order=%s epoch=%lld", saga->checkout.order_id,
             (long long)saga->checkout.epoch);
    for (struct waiter *waiter = take_out(saga), *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        waiter_poll(waiter);
    }
    free_saga(saga);
}

/* The process stops: the checkout is as durable as it was, and another owner goes on. */
static void drop(struct saga *saga)
{
    for (struct waiter *waiter = take_out(saga), *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        waiter_fail(waiter, err_unknown(ERR_UNAVAILABLE,
                                        "The service is stopping; ask again with the same key."));
    }
    free_saga(saga);
}

/* ---- pauses ------------------------------------------------------------------------- */

static bool stopping(const struct saga *saga)
{
    pthread_mutex_lock(&saga->sagas->lock);
    bool stopping = saga->sagas->stopping;
    pthread_mutex_unlock(&saga->sagas->lock);
    return stopping;
}

/* Goes on at `then` after a pause that grows with the attempts. */
static void pause_then(struct saga *saga, void (*then)(void *saga))
{
    int64_t most = BACKOFF_LEAST_MS;

    for (int i = 1; i < saga->attempts && most < BACKOFF_MOST_MS; i++)
        most *= 2;
    if (most > BACKOFF_MOST_MS)
        most = BACKOFF_MOST_MS;
    int64_t ms = most / 2 + randombytes_uniform((uint32_t)most / 2 + 1);
    if (failed(timer_after(ms, then, saga)))
        drop(saga); /* no memory even for a timer: the lease runs out, and it is resumed */
}

int64_t saga_deadline(const struct saga *saga)
{
    return clock_monotonic_ms() + saga->sagas->config.step_timeout_ms;
}

static void submit(struct saga *saga, db_done *done)
{
    saga->op.deadline_ms = saga_deadline(saga);
    saga->op.done = done;
    saga->op.arg = saga;
    db_submit(saga->sagas->config.db, &saga->op);
}

/* Keeps what an attempt came to: the shopper is told less than an operator wants to know. */
static void note_trouble(struct saga *saga, struct err error)
{
    saga->trouble = error;
    saga->troubled_step = saga->step;
    saga->tries = saga->attempts + 1;
}

static struct incident incident_of(const struct saga *saga)
{
    return (struct incident){saga->sagas->config.steps[saga->troubled_step].name, saga->tries,
                             saga->trouble.message};
}

/* ---- undoing ------------------------------------------------------------------------ */

static void write_turn(void *arg);

static void undo_next(void *arg)
{
    struct saga *saga = arg;
    const struct saga_step *steps = saga->sagas->config.steps;

    while (saga->step >= 0 && steps[saga->step].undo == NULL)
        saga->step--;
    if (stopping(saga)) {
        drop(saga);
    } else if (saga->step < 0) {
        write_turn(saga);
    } else {
        arena_reset(saga->scratch);
        steps[saga->step].undo(saga);
    }
}

static void on_flagged(void *arg, struct err error, const struct db_rows *rows)
{
    struct saga *saga = arg;

    (void)rows;
    if (failed(error))
        log_warn("flag_not_written", "order=%s error=\"%s\"", saga->checkout.order_id,
                 error.message);
    pause_then(saga, undo_next);
}

void saga_undo_done(struct saga *saga, struct err error)
{
    if (!failed(error)) {
        saga->attempts = 0;
        saga->step--;
        undo_next(saga);
        return;
    }
    note_trouble(saga, error);
    log_warn("undo_failed", "order=%s step=%s attempt=%d reason=%s error=\"%s\"",
             saga->checkout.order_id, saga->sagas->config.steps[saga->step].name,
             saga->attempts + 1, err_reason(error.code), error.message);
    /* The failure is durable: nobody need wait for the rest, now or later. */
    set_refused(saga);
    finish_waiters(take_waiters(saga), &saga->checkout);
    if (++saga->attempts != saga->sagas->config.attention_after) {
        pause_then(saga, undo_next);
        return;
    }
    log_error("needs_attention", "order=%s step=%s", saga->checkout.order_id,
              saga->sagas->config.steps[saga->step].name);
    const struct incident why = incident_of(saga);
    orders_need_attention(&saga->op, saga->checkout.order_id, saga->checkout.epoch, &why);
    submit(saga, on_flagged);
}

/* ---- turning ------------------------------------------------------------------------ */

/* Where a turn leads: to aborting first, when there is anything to undo. */
static enum checkout_state turn_to(const struct saga *saga)
{
    bool undone = saga->step < 0 || saga->undo_from < 0;

    return saga->checkout.state == CHECKOUT_RUNNING && !undone ? CHECKOUT_ABORTING
                                                               : CHECKOUT_FAILED;
}

static void on_turn_written(void *arg, struct err error, const struct db_rows *rows)
{
    struct saga *saga = arg;
    enum checkout_state to = turn_to(saga);

    if (failed(error)) {
        log_warn("turn_not_written", "order=%s to=%s attempt=%d error=\"%s\"",
                 saga->checkout.order_id, to == CHECKOUT_ABORTING ? "aborting" : "failed",
                 saga->attempts + 1, error.message);
        saga->attempts++;
        pause_then(saga, write_turn);
        return;
    }
    struct turned now = orders_turned(rows);
    if (now.epoch != saga->checkout.epoch || now.state != to) {
        saga_lost(saga);
        return;
    }
    saga->checkout.state = to;
    saga->attempts = 0;
    if (to == CHECKOUT_FAILED) {
        finish(saga);
        return;
    }
    saga->step = saga->undo_from;
    undo_next(saga);
}

static void write_turn(void *arg)
{
    struct saga *saga = arg;

    if (stopping(saga)) {
        drop(saga);
        return;
    }
    const struct incident why = incident_of(saga);
    orders_turn(&saga->op, &saga->checkout, turn_to(saga),
                saga->checkout.state == CHECKOUT_RUNNING ? &why : NULL);
    submit(saga, on_turn_written);
}

/* Refuses the checkout for good.  `undo_from` is the last step that may have taken effect. */
static void abort_saga(struct saga *saga, struct err failure, int undo_from)
{
    saga->checkout.failure = failure;
    saga->checkout.failure.effect = EFFECT_NONE; /* once undone, or nothing to undo */
    if (failure.subject != NULL)
        saga->checkout.failure.subject = arena_strdup(saga->arena, failure.subject);
    /* Of an earlier owner we know only that it may have come as far as any step. */
    saga->undo_from =
        saga->checkout.epoch > 1 ? saga->sagas->config.step_count - 1 : undo_from;
    saga->attempts = 0;
    write_turn(saga);
}

/* ---- doing -------------------------------------------------------------------------- */

static void act(void *arg)
{
    struct saga *saga = arg;

    if (stopping(saga)) {
        drop(saga);
        return;
    }
    arena_reset(saga->scratch);
    saga->sagas->config.steps[saga->step].act(saga);
}

/* What a client may be told for good; anything else is our own trouble, not its order's. */
static struct err final_failure(struct err error)
{
    switch (error.code) {
    case ERR_OUT_OF_STOCK:
    case ERR_UNKNOWN_SKU:
    case ERR_PRICE_CHANGED:
    case ERR_PAYMENT_DECLINED:
    case ERR_RESERVATION_EXPIRED:
    case ERR_FAILED_PRECONDITION:
        return error;
    default:
        return err_make(ERR_CHECKOUT_FAILED,
                        "The order could not be completed and is undone. Place it again "
                        "with a new key.");
    }
}

void saga_step_done(struct saga *saga, struct err error)
{
    const struct sagas_config *config = &saga->sagas->config;

    if (!failed(error)) {
        saga->attempts = 0;
        saga->touched = false;
        if (++saga->step < config->step_count) {
            act(saga);
        } else {
            saga->checkout.state = CHECKOUT_COMPLETED;
            finish(saga);
        }
        return;
    }
    bool open = error.effect == EFFECT_UNKNOWN || err_retryable(error.code);
    /* What one attempt may have done, a later one's answer does not take back. */
    saga->touched |= error.effect != EFFECT_NONE;
    note_trouble(saga, error);
    log_info("step_failed", "order=%s step=%s attempt=%d reason=%s effect=%d",
             saga->checkout.order_id, config->steps[saga->step].name, saga->attempts + 1,
             err_reason(error.code), (int)error.effect);
    if (open && clock_monotonic_ms() < saga->give_up_ms) {
        saga->attempts++;
        pause_then(saga, act);
        return;
    }
    abort_saga(saga, final_failure(error),
               open || saga->touched ? saga->step : saga->step - 1);
}

/* ---- running ------------------------------------------------------------------------ */

static void start(struct saga *saga)
{
    if (saga->checkout.state == CHECKOUT_RUNNING) {
        act(saga);
        return;
    }
    saga->undo_from = saga->sagas->config.step_count - 1;
    saga->step = saga->undo_from;
    undo_next(saga);
}

static void note_call(struct saga *saga, const struct rpc_call *call)
{
    saga->call_id = arena_strdup(saga->arena, rpc_call_id(call));
    saga->traceparent = arena_strdup(saga->arena, rpc_call_traceparent(call));
}

void sagas_run(struct sagas *sagas, const struct checkout *checkout, struct arena *arena,
               struct waiter *waiter)
{
    struct saga *saga = calloc(1, sizeof *saga);
    struct arena *scratch = arena_new(SCRATCH_MAX);

    if (saga == NULL || scratch == NULL) { /* the lease runs out, and it is resumed */
        if (waiter != NULL)
            waiter_poll(waiter);
        free(saga);
        arena_free(scratch);
        arena_free(arena);
        sagas_leave(sagas);
        return;
    }
    *saga = (struct saga){
        .sagas = sagas,
        .checkout = *checkout,
        .arena = arena,
        .scratch = scratch,
        .renewed_ms = clock_monotonic_ms(),
        .give_up_ms = clock_monotonic_ms() + sagas->config.give_up_ms - checkout->age_ms,
        .waiters = waiter,
    };
    if (waiter != NULL)
        note_call(saga, waiter->call);
    pthread_mutex_lock(&sagas->lock);
    struct saga **link = bucket_of(sagas, checkout->idempotency_key);
    saga->next = *link;
    *link = saga;
    pthread_mutex_unlock(&sagas->lock);
    start(saga);
}

/* ---- chores ------------------------------------------------------------------------- */

void sagas_expire_waiters(void *arg)
{
    struct sagas *sagas = arg;
    int64_t now = clock_monotonic_ms();
    struct waiter *late = NULL;

    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct saga *saga = sagas->buckets[b]; saga != NULL; saga = saga->next)
            for (struct waiter **link = &saga->waiters; *link != NULL;) {
                struct waiter *waiter = *link;
                if (waiter->deadline_ms > now) {
                    link = &waiter->next;
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
}

typedef char order_name[ULID_SIZE];

/* Copies whose lease is to be renewed; the sagas themselves go on meanwhile. */
static size_t list_due(struct sagas *sagas, order_name *ids, struct db_op *ops)
{
    int64_t now = clock_monotonic_ms();
    size_t count = 0;

    pthread_mutex_lock(&sagas->lock);
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct saga *s = sagas->buckets[b]; s != NULL; s = s->next) {
            if (now - s->renewed_ms < sagas->config.lease_ms / 4)
                continue;
            assert(count < sagas->config.most);
            s->renewed_ms = now;
            memcpy(ids[count], s->checkout.order_id, ULID_SIZE);
            orders_renew(&ops[count], ids[count], s->checkout.epoch, sagas->config.lease_ms);
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
    for (size_t b = 0; b < BUCKETS; b++)
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

/* ---- opening and stopping ----------------------------------------------------------- */

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
