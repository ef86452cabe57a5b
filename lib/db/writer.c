/*
 * writer.c - implements db.h: the group-commit writer, one thread with one connection.
 *
 *   submit --> queue --take--> batch --attempt--> committed: done
 *                               ^  ^---again / lost: until each deadline
 *                               |------data, locked: halves, until the bad one is alone
 *
 * Health: when the database could not write, and after each connect, a probe (batch.h)
 * runs before what is queued, and then once a second until one is committed.  Only a
 * committed probe makes the writer healthy again, because some operations succeed on a
 * full disk.
 */
#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cork.h"
#include "base/log.h"
#include "db/batch.h"
#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/connection/sqlstate.h"
#include "db/reader.h"

enum {
    CONNECT_MS = 3000,     /* one attempt to connect */
    BACKOFF_LEAST_MS = 20, /* between attempts, doubling, with jitter */
    BACKOFF_MOST_MS = 1000,
    TICK_MS = 50,       /* how often late operations are ended while waiting */
    IDLE_MS = 30000,    /* how often an idle writer checks its connection */
    UNIQUE_RETRIES = 2, /* retries after unique_violation before the batch is split */
    PROBE_EVERY_MS = 1000,
    SLOW_MS = 3000,  /* after so long without an answer the database is unhealthy */
    ANSWER_MS = 150, /* for an answer to reach a caller before its deadline */
    ASK_AGAIN_MS = 1000,
};

struct db {
    struct db_config config;
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows, up to the writer's own */
    pthread_cond_t wake;
    struct db_op *first, **last;
    size_t queued;
    bool closing;
    atomic_bool idle; /* the writer sleeps, or is about to; wake_fd wakes it */
    int wake_fd;      /* an eventfd */

    struct readers *readers;     /* NULL: none */
    pthread_mutex_t health_lock; /* guards `health` */
    struct err health;           /* ERR_OK: the database can write; else why it cannot */

    struct conn conn; /* from here on the writer thread's own */
    struct batch batch;
    struct slot *slots;           /* batch_max; those without an operation are free */
    const struct slot *attempted; /* attempted_count slots from here are being run */
    size_t attempted_count;
    int64_t backoff_ms;
    bool unproven;        /* a probe must find out whether the database can write */
    int64_t probe_ms;     /* not before */
    int64_t busy_from_ms; /* since when an answer is outstanding; or 0 */
    struct histogram *batch_operations, *batch_us;
};

/* ---- the queue ---------------------------------------------------------------------- */

static void finish_op(struct db_op *op, struct err error)
{
    struct slot slot = {.op = op};

    slot_finish(&slot, error, NULL);
}

/* Not under the lock: the woken thread would find it taken and sleep again. */
static void wake(void *arg)
{
    struct db *w = arg;
    const uint64_t one = 1;

    pthread_cond_signal(&w->wake);
    if (atomic_load(&w->idle))
        (void)!write(w->wake_fd, &one, sizeof one);
}

/* Sleeps until there is something to do or the connection is readable, mostly because it was
 * closed.  The lock is held. */
static void sleep_idle(struct db *w)
{
    struct pollfd fds[] = {
        {.fd = w->wake_fd, .events = POLLIN},
        {.fd = w->conn.pg != NULL ? PQsocket(w->conn.pg) : -1, .events = POLLIN}};
    int64_t until = clock_monotonic_ms() + IDLE_MS;
    uint64_t count;

    if (w->unproven && w->probe_ms < until)
        until = w->probe_ms;
    atomic_store(&w->idle, true);
    pthread_mutex_unlock(&w->lock);
    (void)poll(fds, 2, (int)clock_remaining_ms(until));
    pthread_mutex_lock(&w->lock);
    atomic_store(&w->idle, false);
    (void)!read(w->wake_fd, &count, sizeof count);
}

void db_submit(struct db *w, struct db_op *op)
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
    if (first && cork_hold(wake, w) == CORK_NONE) /* while corked, more may follow */
        wake(w);
    if (closing)
        finish_op(op, err_make(ERR_CANCELLED, "The service is stopping."));
    else if (full)
        finish_op(
            op, err_make(ERR_RESOURCE_EXHAUSTED,
                         "Too many operations are waiting for the database; try again."));
}

/* Takes up to batch_max operations, waiting a while for the first; 0 when none came. */
static size_t take(struct db *w)
{
    size_t count = 0;

    pthread_mutex_lock(&w->lock);
    if (w->first == NULL && !w->closing)
        sleep_idle(w);
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

/* Ends queued operations with a deadline up to `late_ms`. */
static void expire_queue(struct db *w, int64_t late_ms, struct err error)
{
    struct db_op *late = NULL;

    pthread_mutex_lock(&w->lock);
    struct db_op **link = &w->first;
    while (*link != NULL) {
        struct db_op *op = *link;
        if (op->deadline_ms <= late_ms) {
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

/* ---- health ------------------------------------------------------------------------- */

/* `why` is ERR_NONE when a write has just succeeded, else why none can; any failure counts
 * as UNAVAILABLE.  Its subject is static.  A change is logged. */
static void health_set(struct db *w, struct err why)
{
    if (failed(why)) {
        why.code = ERR_UNAVAILABLE;
        why.effect = EFFECT_NONE;
    }
    pthread_mutex_lock(&w->health_lock);
    bool changed =
        failed(why) != failed(w->health) || strcmp(why.message, w->health.message) != 0;
    w->health = why;
    pthread_mutex_unlock(&w->health_lock);
    if (changed && failed(why))
        log_line(LOG_ERROR, "database_not_serving", "database=%s error=%s",
                 w->config.name, why.message);
    else if (changed)
        log_info("database_serving", "database=%s", w->config.name);
}

struct err db_health(struct db *w)
{
    pthread_mutex_lock(&w->health_lock);
    struct err why = w->health;
    pthread_mutex_unlock(&w->health_lock);
    return why;
}

/* The database cannot write: unhealthy until a probe is committed. */
static void note_trouble(struct db *w, struct err why)
{
    health_set(w, why);
    if (!w->unproven)
        w->probe_ms = clock_monotonic_ms();
    w->unproven = true;
}

/* Notices a server that hangs. */
static void watch_answer(struct db *w)
{
    struct err why;

    if (w->busy_from_ms == 0 || clock_monotonic_ms() - w->busy_from_ms < SLOW_MS)
        return;
    if (w->batch.committing) {
        why =
            err_make(ERR_UNAVAILABLE,
                     "Cannot write: COMMIT is not answered for %d s. Is the synchronous "
                     "standby there, and does the disk answer?",
                     SLOW_MS / 1000);
        why.subject = "the database's synchronous standby or its disk does not answer";
    } else {
        why = err_make(ERR_UNAVAILABLE, "The database has not answered for %d s.",
                       SLOW_MS / 1000);
        why.subject = "the database does not answer";
    }
    note_trouble(w, why);
}

/* ---- deadlines ---------------------------------------------------------------------- */

/* How an operation ends that was not sent in time: if the database is unhealthy, with the
 * reason, and slightly before its deadline so that the caller still receives it. */
struct lateness {
    int64_t until_ms; /* deadlines up to here */
    struct err error;
};

static struct lateness lateness(struct db *w, const char *words)
{
    struct err why = db_health(w);
    int64_t now = clock_monotonic_ms();

    why.subject = NULL;
    /* Otherwise the caller's channel would retry in the time that is left. */
    why.retry_after_ms = ASK_AGAIN_MS;
    if (failed(why))
        return (struct lateness){now + ANSWER_MS, why};
    return (struct lateness){now, err_make(ERR_DEADLINE_EXCEEDED, "%s", words)};
}

static void finish_late(struct slot *slot, const struct lateness *late)
{
    slot_finish(slot,
                slot->in_doubt ? err_unknown(ERR_DEADLINE_EXCEEDED,
                                             "The database did not answer in time; the "
                                             "outcome is unknown.")
                               : late->error,
                NULL);
}

/* While connecting or waiting for an answer: ends late operations that were not sent. */
static void expire_waiting(void *arg)
{
    struct db *w = arg;

    watch_answer(w);
    const struct lateness late =
        lateness(w, "The database was too busy; nothing was done.");
    for (struct slot *slot = w->slots; slot < w->slots + w->config.batch_max; slot++) {
        bool attempted = slot >= w->attempted && slot < w->attempted + w->attempted_count;
        if (slot->op != NULL && !attempted && slot->op->deadline_ms <= late.until_ms)
            finish_late(slot, &late);
    }
    expire_queue(w, late.until_ms, late.error);
}

static bool is_closing(void *arg)
{
    struct db *w = arg;

    pthread_mutex_lock(&w->lock);
    bool closing = w->closing;
    pthread_mutex_unlock(&w->lock);
    return closing;
}

/* ---- the connection ----------------------------------------------------------------- */

static void disconnect(struct db *w, struct err why)
{
    conn_close(&w->conn);
    if (why.subject == NULL)
        why.subject = sqlstate_words(NULL);
    health_set(w, why);
}

/* Waits between attempts: doubling up to a maximum, with jitter against thundering
 * herds. */
static void back_off(struct db *w)
{
    int64_t ms = w->backoff_ms / 2 + randombytes_uniform((uint32_t)w->backoff_ms / 2 + 1);

    w->backoff_ms =
        w->backoff_ms * 2 > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : w->backoff_ms * 2;
    int64_t until = clock_monotonic_ms() + ms;
    pthread_mutex_lock(&w->lock);
    bool idle = w->first == NULL; /* the first operation ends the wait */
    while (!w->closing && clock_remaining_ms(until) > 0 && (!idle || w->first == NULL)) {
        int64_t tick = clock_monotonic_ms() + TICK_MS;
        (void)clock_cond_wait(&w->wake, &w->lock, tick < until ? tick : until);
        pthread_mutex_unlock(&w->lock);
        expire_waiting(w);
        pthread_mutex_lock(&w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

static bool connect_once(struct db *w)
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
    log_info("database_connected", "database=%s", w->config.name);
    w->unproven = true;
    w->probe_ms = 0;
    return true;
}

/* ---- probing ------------------------------------------------------------------------ */

static bool probe_due(const struct db *w)
{
    return w->unproven && w->conn.pg != NULL && clock_monotonic_ms() >= w->probe_ms;
}

static void probe(struct db *w)
{
    w->busy_from_ms = clock_monotonic_ms();
    struct verdict v = batch_probe(&w->batch, &w->config, &w->conn, is_closing, w);
    w->busy_from_ms = 0;
    w->probe_ms = clock_monotonic_ms() + PROBE_EVERY_MS;
    if (is_closing(w))
        return; /* which may be why it failed */
    switch (v.kind) {
    case VERDICT_COMMITTED:
        w->unproven = false;
        w->backoff_ms = BACKOFF_LEAST_MS;
        health_set(w, ERR_NONE);
        break;
    case VERDICT_AGAIN: /* another transaction got in the way: nothing new is known */
    case VERDICT_LOCKED:
        break;
    case VERDICT_LOST:
    case VERDICT_READ_ONLY:
        disconnect(w, v.why);
        back_off(w);
        break;
    case VERDICT_REFUSED:
    case VERDICT_UNIQUE:
    case VERDICT_DATA:
        note_trouble(w, v.why);
        break;
    }
}

/* ---- ends ------------------------------------------------------------------------------ */

static struct err stopping(bool in_doubt)
{
    return in_doubt
               ? err_unknown(ERR_CANCELLED, "The service is stopping; the outcome is "
                                            "unknown.")
               : err_make(ERR_CANCELLED, "The service is stopping.");
}

/* Drops finished slots and ends those past their deadline; returns how many are left. */
static size_t compact(struct db *w, struct slot *slots, size_t count, bool closing)
{
    const struct lateness late =
        lateness(w, "The database could not be reached in time; nothing was done.");
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        struct slot slot = slots[i];
        slots[i].op = NULL;
        if (slot.op == NULL)
            continue;
        if (!slot.in_doubt && cancel_requested(slot.op->cancel)) {
            slot_finish(&slot, err_make(ERR_CANCELLED, "The caller is gone; not done."),
                        NULL);
            continue;
        }
        if (closing)
            slot_finish(&slot, stopping(slot.in_doubt), NULL);
        else if (slot.op->deadline_ms > late.until_ms)
            slots[kept++] = slot;
        else
            finish_late(&slot, &late);
    }
    return kept;
}

/* A batch that is run again returns what it had committed.  The outcome of an operation in doubt
 * stays unknown only when it could not run or could not be read: INTERNAL is a cancelled
 * statement, or a fault of the server. */
static enum err_effect effect_of(const struct slot *slot, struct err error)
{
    bool refused = error.code == ERR_UNAVAILABLE ||
                   error.code == ERR_RESOURCE_EXHAUSTED || error.code == ERR_INTERNAL ||
                   error.effect == EFFECT_UNKNOWN;

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

static struct verdict attempt(struct db *w, struct slot *slots, size_t count)
{
    w->attempted = slots;
    w->attempted_count = count;
    w->busy_from_ms = clock_monotonic_ms();
    struct verdict v =
        batch_attempt(&w->batch, &w->config, &w->conn, slots, count, is_closing, w);
    w->busy_from_ms = 0;
    w->attempted_count = 0;
    return v;
}

static void log_retry(const struct db *w, const struct slot *slots, size_t count,
                      const struct err *error)
{
    const struct db_op *op = count == 1 ? slots[0].op : NULL;
    struct log_record line;

    if (!log_begin_limited(&line, LOG_WARN, "batch_retried"))
        return;
    if (op != NULL)
        log_subject(&line, op->request, op->order);
    log_pair(&line, "database", w->config.name);
    log_pair_number(&line, "operations", (int64_t)count);
    log_pair(&line, "error", error->message);
    log_end(&line);
}

/* ---- locked rows ---------------------------------------------------------------------- */

/* The key that the lock statement locks for an operation: its first line, or its id. */
static const char *key_of(const struct slot *slot)
{
    const struct db_op *op = slot->op;
    const char *key = op->line_count > 0 ? op->lines[0].text : op->head[0].text;

    return key != NULL ? key : "";
}

static int by_key(const void *a, const void *b)
{
    return strcmp(key_of(a), key_of(b));
}

/* Whether all need the same row and no other. */
static bool all_need_one(const struct slot *slots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (slots[i].op->line_count > 1 || by_key(&slots[i], &slots[0]) != 0)
            return false;
    return true;
}

static void run(struct db *w, struct slot *slots, size_t count);

static void run_halves(struct db *w, struct slot *slots, size_t count)
{
    run(w, slots, count / 2);
    run(w, slots + count / 2, count - count / 2);
}

/*
 * All have waited for lock_timeout.  The halves wait only briefly, so that the other
 * operations keep their deadlines.  Sorted by key, operations that need the same row are
 * in the same half and fail together.
 */
static void run_locked(struct db *w, struct slot *slots, size_t count,
                       const struct verdict *v)
{
    const bool hurried = w->batch.hurried;

    count = compact(w, slots, count, is_closing(w));
    if (count == 0)
        return;
    if (count == 1 || (v->in_lock && all_need_one(slots, count))) {
        finish_all(slots, count, v->error);
        return;
    }
    if (w->config.lock != NULL)
        qsort(slots, count, sizeof *slots, by_key);
    w->batch.hurried = true;
    run_halves(w, slots, count);
    w->batch.hurried = hurried;
}

/* ---- running ------------------------------------------------------------------------- */

/* Runs operations to their ends: every `done` was called when it returns. */
static void run(struct db *w, struct slot *slots, size_t count)
{
    int retries = 0;

    for (;;) {
        expire_waiting(w); /* first: an attempt must have no ended operation */
        count = compact(w, slots, count, is_closing(w));
        if (count == 0)
            return;
        if (w->conn.pg == NULL) { /* takes time: then check deadlines again */
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
        case VERDICT_READ_ONLY:
            disconnect(w, v.why);
            back_off(w);
            break;
        case VERDICT_AGAIN:
            log_retry(w, slots, count, &v.error);
            back_off(w);
            break;
        case VERDICT_LOCKED:
            run_locked(w, slots, count, &v);
            return;
        case VERDICT_REFUSED:
            note_trouble(w, v.why); /* before `done`, which may ask for the health */
            finish_all(slots, count, v.error);
            return;
        case VERDICT_UNIQUE:
            if (retries++ < UNIQUE_RETRIES)
                break;
            /* fall through */
        case VERDICT_DATA:
            if (count == 1) {
                /* Perhaps not the operation's fault. */
                w->unproven |= v.error.code == ERR_INTERNAL;
                finish_all(slots, count, v.error);
                return;
            }
            run_halves(w, slots, count);
            return;
        }
    }
}

static bool has_work(struct db *w)
{
    pthread_mutex_lock(&w->lock);
    bool work = w->first != NULL;
    pthread_mutex_unlock(&w->lock);
    return work;
}

static void *writer_main(void *arg)
{
    struct db *w = arg;

    while (!is_closing(w)) {
        if (!connect_once(w) && !has_work(w)) {
            back_off(w);
            continue;
        }
        if (probe_due(w)) {
            probe(w);
            continue;
        }
        size_t count = take(w);
        if (count > 0)
            run(w, w->slots, count);
        else if (w->conn.pg != NULL && !conn_alive(&w->conn))
            disconnect(w, err_make(ERR_UNAVAILABLE, "The database connection was lost."));
    }
    expire_queue(w, INT64_MAX, err_make(ERR_CANCELLED, "The service is stopping."));
    conn_end(&w->conn);
    return NULL;
}

/* ---- what is counted ---------------------------------------------------------------- */

static int64_t queue_length(void *arg)
{
    struct db *w = arg;

    pthread_mutex_lock(&w->lock);
    size_t queued = w->queued;
    pthread_mutex_unlock(&w->lock);
    return (int64_t)queued;
}

static void open_metrics(struct db *w)
{
    struct metrics *metrics = w->config.metrics;
    char label[METRIC_LABELS_SIZE];

    snprintf(label, sizeof label, "database=%s", w->config.name);
    w->batch_operations = metrics_histogram(metrics, "db_batch_operations", label);
    w->batch_us = metrics_histogram(metrics, "db_batch_us", label);
    metrics_gauge_read(metrics, "db_queue_operations", label, queue_length, w);
}

/* ---- starting and stopping ---------------------------------------------------------- */

static void free_all(struct db *w)
{
    if (w->wake_fd >= 0)
        close(w->wake_fd);
    metrics_forget(w->config.metrics, w);
    batch_free(&w->batch);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    pthread_mutex_destroy(&w->health_lock);
    free(w->slots);
    free(w);
}

static struct err start_threads(struct db *w, const struct db_config *config)
{
    w->slots = calloc(config->batch_max, sizeof *w->slots);
    w->batch.by_id.slots = calloc(config->batch_max, sizeof *w->batch.by_id.slots);
    if (w->slots == NULL || w->batch.by_id.slots == NULL)
        return err_memory();
    w->attempted = w->slots;
    if (w->wake_fd < 0 || pthread_create(&w->thread, NULL, writer_main, w) != 0)
        return err_make(ERR_RESOURCE_EXHAUSTED,
                        "Cannot start the database writer's thread.");
    pthread_setname_np(w->thread, "writer");
    return ERR_NONE;
}

struct err db_open(const struct db_config *config, struct db **out)
{
    struct db *w = calloc(1, sizeof *w);

    assert(config->kind_count <= DB_KINDS_MAX);
    if (w == NULL)
        return err_memory();
    w->config = *config;
    w->last = &w->first;
    w->backoff_ms = BACKOFF_LEAST_MS;
    w->conn = (struct conn){.url = config->url,
                            .name = config->name,
                            .of = SETTINGS_WRITER,
                            .meanwhile = expire_waiting,
                            .arg = w};
    w->health = err_make(ERR_UNAVAILABLE, "Not yet connected to the database.");
    w->health.subject = sqlstate_words(NULL);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&w->health_lock, NULL);
    pthread_mutex_init(&w->lock, NULL);
    clock_cond_init(&w->wake);
    open_metrics(w);
    struct err e = start_threads(w, config);
    if (failed(e)) {
        free_all(w);
        return e;
    }
    if (config->readers > 0)
        e = readers_start(config, &w->readers);
    if (failed(e))
        db_close(w);
    else
        *out = w;
    return e;
}

void db_close(struct db *w)
{
    if (w == NULL)
        return;
    pthread_mutex_lock(&w->lock);
    w->closing = true;
    pthread_mutex_unlock(&w->lock);
    wake(w);
    pthread_join(w->thread, NULL);
    readers_stop(w->readers);
    free_all(w);
}

void db_read(struct db *w, struct db_query *query)
{
    assert(w->readers != NULL);
    readers_submit(w->readers, query);
}

/* ---- waiting for the answer --------------------------------------------------------- */

struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    size_t waiting; /* for so many answers */
    struct err error;
    void (*on_rows)(void *arg, const struct db_rows *rows);
    void *arg;
};

static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct waiter *waiter = arg;

    if (!failed(error) && waiter->on_rows != NULL)
        waiter->on_rows(waiter->arg, rows);
    pthread_mutex_lock(&waiter->lock);
    if (failed(error) && !failed(waiter->error))
        waiter->error = error;
    if (--waiter->waiting == 0)
        pthread_cond_signal(&waiter->wake);
    pthread_mutex_unlock(&waiter->lock);
}

/* Needs no deadline: `done` is called soon after the operation's. */
static struct err wait_done(struct waiter *waiter)
{
    pthread_mutex_lock(&waiter->lock);
    while (waiter->waiting > 0)
        pthread_cond_wait(&waiter->wake, &waiter->lock);
    pthread_mutex_unlock(&waiter->lock);
    pthread_cond_destroy(&waiter->wake);
    pthread_mutex_destroy(&waiter->lock);
    return waiter->error;
}

static struct waiter waiter_for(size_t count,
                                void (*on_rows)(void *arg, const struct db_rows *rows),
                                void *arg)
{
    return (struct waiter){PTHREAD_MUTEX_INITIALIZER,
                           PTHREAD_COND_INITIALIZER,
                           count,
                           ERR_NONE,
                           on_rows,
                           arg};
}

struct err db_read_wait(struct db *db, struct db_query *query,
                        void (*on_rows)(void *arg, const struct db_rows *rows), void *arg)
{
    struct waiter waiter = waiter_for(1, on_rows, arg);

    query->done = on_done;
    query->arg = &waiter;
    db_read(db, query);
    return wait_done(&waiter);
}

struct err db_submit_wait(struct db *db, struct db_op *ops, size_t count,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg)
{
    struct waiter waiter = waiter_for(count, on_rows, arg);

    for (size_t i = 0; i < count; i++) {
        ops[i].done = on_done;
        ops[i].arg = &waiter;
        db_submit(db, &ops[i]);
    }
    return wait_done(&waiter);
}
