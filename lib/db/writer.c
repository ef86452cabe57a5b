/*
 * writer.c - see writer.h.
 *
 *   submit --> queue --take--> batch --attempt--> committed: done
 *                               ^  ^---again / lost: until each deadline
 *                               |------data: halves, until the bad one stands alone
 */
#include "db/writer.h"

#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/log.h"
#include "db/batch.h"

enum {
    CONNECT_MS = 3000,     /* one attempt to connect */
    BACKOFF_LEAST_MS = 20, /* between attempts, doubling, with jitter */
    BACKOFF_MOST_MS = 1000,
    TICK_MS = 50,   /* how often late operations are looked for meanwhile */
    IDLE_MS = 1000, /* how often an idle writer looks after its connection */
    TWINS_MOST = 2, /* how often a taken key is believed to be a twin's */
};

struct writer {
    struct db_config config;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows, up to the writer's own */
    pthread_cond_t wake;
    struct db_op *first, **last;
    size_t queued;
    bool closing;
    bool connected;
    struct err health;

    struct conn conn; /* from here on the writer thread's own */
    struct batch batch;
    struct slot *slots;           /* batch_max; those without an operation are free */
    const struct slot *attempted; /* so many of them are with the database: the batch's */
    size_t attempted_count;
    int64_t backoff_ms;
    struct histogram *batch_operations, *batch_us;
};

/* ---- the queue ---------------------------------------------------------------------- */

static void finish_op(struct db_op *op, struct err error)
{
    struct slot slot = {.op = op};

    slot_finish(&slot, error, NULL);
}

/* Not under the lock: who is woken would find it taken, and sleep once more. */
static void wake(void *arg)
{
    struct writer *w = arg;

    pthread_cond_signal(&w->wake);
}

void writer_submit(struct writer *w, struct db_op *op)
{
    bool first = false;

    op->next = NULL;
    pthread_mutex_lock(&w->lock);
    bool closing = w->closing, full = w->queued >= w->config.queue_max;
    if (!closing && !full) {
        *w->last = op;
        w->last = &op->next;
        first = w->queued++ == 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (first && cork_hold(wake, w) == CORK_NONE) /* corked, more may come with it */
        wake(w);
    if (closing)
        finish_op(op, err_make(ERR_CANCELLED, "The service is stopping."));
    else if (full)
        finish_op(
            op, err_make(ERR_RESOURCE_EXHAUSTED,
                         "Too many operations are waiting for the database; try again."));
}

/* Takes up to batch_max operations, waiting a while for the first.  0 may be for closing. */
static size_t take(struct writer *w)
{
    size_t count = 0;

    pthread_mutex_lock(&w->lock);
    if (w->first == NULL && !w->closing)
        (void)clock_cond_wait(&w->wake, &w->lock, clock_monotonic_ms() + IDLE_MS);
    while (w->first != NULL && count < w->config.batch_max) {
        w->slots[count++] = (struct slot){.op = w->first};
        w->first = w->first->next;
        w->queued--;
    }
    if (w->first == NULL)
        w->last = &w->first;
    pthread_mutex_unlock(&w->lock);
    return count;
}

/* Ends what waits in the queue past its deadline, or all of it. */
static void expire_queue(struct writer *w, bool all, struct err error)
{
    int64_t now = clock_monotonic_ms();
    struct db_op *late = NULL;

    pthread_mutex_lock(&w->lock);
    struct db_op **link = &w->first;
    while (*link != NULL) {
        struct db_op *op = *link;
        if (all || op->deadline_ms <= now) {
            *link = op->next;
            op->next = late;
            late = op;
            w->queued--;
        } else {
            link = &op->next;
        }
    }
    w->last = link;
    pthread_mutex_unlock(&w->lock);
    while (late != NULL) {
        struct db_op *op = late;
        late = op->next;
        finish_op(op, error);
    }
}

static void finish_slot(struct slot *slot, enum err_code code)
{
    slot_finish(slot,
                slot->in_doubt
                    ? err_unknown(code,
                                  "The database did not answer in time; the outcome "
                                  "is unknown.")
                    : err_make(code, "The database could not be reached in time; nothing "
                                     "was done."),
                NULL);
}

/* While the database is waited for, to connect or to answer, all those it does not have
 * are told in time as well. */
static void expire_waiting(void *arg)
{
    struct writer *w = arg;
    int64_t now = clock_monotonic_ms();

    for (struct slot *slot = w->slots; slot < w->slots + w->config.batch_max; slot++) {
        bool attempted = slot >= w->attempted && slot < w->attempted + w->attempted_count;
        if (slot->op != NULL && !attempted && slot->op->deadline_ms <= now)
            finish_slot(slot, ERR_DEADLINE_EXCEEDED);
    }
    expire_queue(
        w, false,
        err_make(ERR_DEADLINE_EXCEEDED, "The database was too busy; nothing was done."));
}

static bool is_closing(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool closing = w->closing;
    pthread_mutex_unlock(&w->lock);
    return closing;
}

/* ---- the connection ----------------------------------------------------------------- */

static void set_health(struct writer *w, bool connected, struct err error)
{
    pthread_mutex_lock(&w->lock);
    bool changed =
        connected != w->connected || strcmp(error.message, w->health.message) != 0;
    w->connected = connected;
    w->health = error;
    pthread_mutex_unlock(&w->lock);
    if (!changed)
        return;
    if (connected)
        log_info("database_connected", "database=%s", w->config.name);
    else
        log_error("database_unreachable", "database=%s error=%s", w->config.name,
                  error.message);
}

static void disconnect(struct writer *w, struct err why)
{
    conn_close(&w->conn);
    set_health(w, false, why);
}

/* Waits between attempts: capped, doubling, jittered, so that many do not come as one. */
static void back_off(struct writer *w)
{
    int64_t ms = w->backoff_ms / 2 + randombytes_uniform((uint32_t)w->backoff_ms / 2 + 1);

    w->backoff_ms =
        w->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : w->backoff_ms * 2;
    int64_t until = clock_monotonic_ms() + ms;
    pthread_mutex_lock(&w->lock);
    bool idle = w->first == NULL; /* the first to come ends it */
    while (!w->closing && clock_remaining_ms(until) > 0 && (!idle || w->first == NULL)) {
        int64_t tick = clock_monotonic_ms() + TICK_MS;
        (void)clock_cond_wait(&w->wake, &w->lock, tick < until ? tick : until);
        pthread_mutex_unlock(&w->lock);
        expire_waiting(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

static bool connect_once(struct writer *w)
{
    int64_t deadline = clock_monotonic_ms() + CONNECT_MS;

    if (w->conn.pg != NULL)
        return true;
    struct err e = conn_open(&w->conn, deadline);
    if (!failed(e))
        e = batch_prepare(&w->config, &w->conn, deadline);
    if (failed(e)) {
        disconnect(w, e);
        return false;
    }
    set_health(w, true, ERR_NONE);
    return true;
}

/* ---- running ------------------------------------------------------------------------ */

/* Drops finished slots, ending those past their deadline; gives how many are left. */
static size_t compact(struct slot *slots, size_t count, bool closing)
{
    int64_t now = clock_monotonic_ms();
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct slot slot = slots[i];
        slots[i].op = NULL;
        if (slot.op == NULL)
            continue;
        if (!slot.in_doubt && cancel_asked(slot.op->cancel)) {
            slot_finish(&slot, err_make(ERR_CANCELLED, "Nobody waits for it; not done."),
                        NULL);
            continue;
        }
        if (slot.op->deadline_ms > now && !closing)
            slots[kept++] = slot;
        else
            finish_slot(&slot, closing ? ERR_CANCELLED : ERR_DEADLINE_EXCEEDED);
    }
    return kept;
}

/* Run again, what had committed answers as it did; only a refusal to run, or to tell what
 * became of it, leaves doubt. */
static enum err_effect effect_of(const struct slot *slot, struct err error)
{
    bool refused = error.code == ERR_RESOURCE_EXHAUSTED || error.effect == EFFECT_UNKNOWN;

    return slot->in_doubt && refused ? EFFECT_UNKNOWN : EFFECT_NONE;
}

static void finish_all(struct slot *slots, size_t count, struct err error)
{
    for (size_t i = 0; i < count; i++)
        if (slots[i].op != NULL) {
            struct err own = error;
            own.effect = effect_of(&slots[i], error);
            slot_finish(&slots[i], own, NULL);
        }
}

static struct verdict attempt(struct writer *w, struct slot *slots, size_t count)
{
    w->attempted = slots;
    w->attempted_count = count;
    struct verdict v = batch_attempt(&w->batch, &w->config, &w->conn, slots, count);
    w->attempted_count = 0;
    return v;
}

static void tell_again(const struct writer *w, const struct slot *slots, size_t count,
                       const struct err *error)
{
    const struct db_op *op = count == 1 ? slots[0].op : NULL;
    struct log_record line;

    if (!log_begin(&line, LOG_WARN, "batch_again"))
        return;
    if (op != NULL)
        log_subject(&line, op->request, op->order);
    log_pair(&line, "database", w->config.name);
    log_pair_number(&line, "operations", (int64_t)count);
    log_pair(&line, "error", error->message);
    log_end(&line);
}

/* Runs operations to their ends: every `done` was called when it returns. */
static void run(struct writer *w, struct slot *slots, size_t count)
{
    int twins = 0;

    for (;;) {
        expire_waiting(
            w); /* first: it may end some of ours, and an attempt wants none ended */
        count = compact(slots, count, is_closing(w));
        if (count == 0)
            return;
        if (w->conn.pg == NULL) { /* takes its time: see then who is left */
            if (!connect_once(w))
                back_off(w);
            continue;
        }
        int64_t begun_us = clock_monotonic_us();
        struct verdict v = attempt(w, slots, count);
        histogram_record(w->batch_operations, count);
        histogram_record(w->batch_us, (uint64_t)(clock_monotonic_us() - begun_us));
        switch (v.kind) {
        case VERDICT_COMMITTED:
            w->backoff_ms = BACKOFF_LEAST_MS;
            return;
        case VERDICT_LOST:
            disconnect(w, v.error);
            back_off(w);
            break;
        case VERDICT_AGAIN:
            tell_again(w, slots, count, &v.error);
            back_off(w);
            break;
        case VERDICT_REFUSED:
            finish_all(slots, count, v.error);
            return;
        case VERDICT_TWIN:
            if (twins++ < TWINS_MOST)
                break;
            /* fall through */
        case VERDICT_DATA:
            if (count == 1) {
                finish_all(slots, count, v.error);
                return;
            }
            run(w, slots, count / 2);
            run(w, slots + count / 2, count - count / 2);
            return;
        }
    }
}

static bool has_work(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool work = w->first != NULL;
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void *writer_main(void *arg)
{
    struct writer *w = arg;

    while (!is_closing(w)) {
        if (!connect_once(w) && !has_work(w)) {
            back_off(w);
            continue;
        }
        size_t count = take(w);
        if (count > 0)
            run(w, w->slots, count);
        else if (w->conn.pg != NULL && !conn_alive(&w->conn))
            disconnect(w, err_make(ERR_UNAVAILABLE, "The database connection was lost."));
    }
    expire_queue(w, true, err_make(ERR_CANCELLED, "The service is stopping."));
    conn_close(&w->conn);
    return NULL;
}

/* ---- what is counted ---------------------------------------------------------------- */

static int64_t queue_length(void *arg)
{
    struct writer *w = arg;

    pthread_mutex_lock(&w->lock);
    size_t queued = w->queued;
    pthread_mutex_unlock(&w->lock);
    return (int64_t)queued;
}

static void open_metrics(struct writer *w)
{
    struct metrics *metrics = w->config.metrics;
    char label[METRIC_LABELS_SIZE];

    snprintf(label, sizeof label, "database=%s", w->config.name);
    w->batch_operations = metrics_histogram(metrics, "db_batch_operations", label);
    w->batch_us = metrics_histogram(metrics, "db_batch_us", label);
    metrics_gauge_read(metrics, "db_queue_operations", label, queue_length, w);
}

/* ---- starting and stopping ---------------------------------------------------------- */

struct err writer_start(const struct db_config *config, struct writer **out)
{
    struct writer *w = calloc(1, sizeof *w);
    struct slot *slots = calloc(config->batch_max, sizeof *slots);
    struct slot **by_id = calloc(config->batch_max, sizeof *by_id);

    assert(config->kind_count <= DB_KINDS_MAX);
    if (w == NULL || slots == NULL || by_id == NULL) {
        free(w);
        free(slots);
        free(by_id);
        return err_memory();
    }
    w->config = *config;
    w->slots = slots;
    w->batch.by_id.slots = by_id;
    w->attempted = slots;
    w->last = &w->first;
    w->backoff_ms = BACKOFF_LEAST_MS;
    w->conn = (struct conn){
        .url = config->url, .name = config->name, .meanwhile = expire_waiting, .arg = w};
    w->health = err_make(ERR_UNAVAILABLE, "Not yet connected to the database.");
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->wake);
    open_metrics(w);
    if (pthread_create(&w->thread, NULL, writer_main, w) != 0) {
        metrics_forget(config->metrics, w);
        free(slots);
        free(by_id);
        free(w);
        return err_make(ERR_RESOURCE_EXHAUSTED,
                        "Cannot start the database writer's thread.");
    }
    pthread_setname_np(w->thread, "writer");
    *out = w;
    return ERR_NONE;
}

void writer_stop(struct writer *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    metrics_forget(w->config.metrics, w);
    batch_free(&w->batch);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w->slots);
    free(w);
}

struct err writer_health(struct writer *w)
{
    pthread_mutex_lock(&w->lock);
    struct err health = w->connected ? ERR_NONE : w->health;
    pthread_mutex_unlock(&w->lock);
    return health;
}
