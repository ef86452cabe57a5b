/* duty.c - see duty.h. */
#include "orchestrator/duty.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    CONNECT_MS = 3000,
    QUERY_MS = 5000,
    LOOK_LEAST_MS = 500, /* between two tries for the lock, or a quarter of takeover_ms */
    AFTER_FAILURE_MS = 200,
    COMPLAIN_EVERY_MS = 10000,
};

struct duty {
    struct duty_config config;
    struct db_session *connection;
    bool held;
    int64_t complained_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the health */
    pthread_cond_t wake;
    struct err health;
    atomic_bool stopping;
    atomic_bool resting; /* the pause is longer than every_ms */
    int64_t pause_ms;    /* under the lock */
};

bool duty_stopping(const struct duty *duty)
{
    return atomic_load(&duty->stopping);
}

static void set_health(struct duty *duty, struct err health)
{
    pthread_mutex_lock(&duty->lock);
    duty->health = health;
    pthread_mutex_unlock(&duty->lock);
}

struct err duty_health(struct duty *duty)
{
    pthread_mutex_lock(&duty->lock);
    struct err health = duty->health;
    pthread_mutex_unlock(&duty->lock);
    return health;
}

/* How long the connection may be silent, with time to spare: takeover_ms ends it. */
static int64_t keeps_lock_ms(const struct duty *duty)
{
    return duty->config.takeover_ms * 7 / 10;
}

void duty_stir(struct duty *duty)
{
    if (duty == NULL)
        return;
    pthread_mutex_lock(&duty->lock);
    duty->pause_ms = duty->config.every_ms;
    if (atomic_exchange(&duty->resting, false))
        pthread_cond_signal(&duty->wake);
    pthread_mutex_unlock(&duty->lock);
}

/* Half as often each time, but often enough to keep the lock. */
static void rest(struct duty *duty)
{
    int64_t begun = clock_monotonic_ms(), most = keeps_lock_ms(duty);

    pthread_mutex_lock(&duty->lock);
    const int64_t pause = duty->pause_ms, next = 2 * pause < most ? 2 * pause : most;
    atomic_store(&duty->resting, duty->pause_ms > duty->config.every_ms);
    while (!duty_stopping(duty) && /* whoever stirs it makes the pause shorter */
           clock_cond_wait(&duty->wake, &duty->lock, begun + duty->pause_ms))
        ;
    if (duty->pause_ms == pause && pause < next)
        duty->pause_ms = next;
    pthread_mutex_unlock(&duty->lock);
}

static void pause_for(struct duty *duty, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;

    pthread_mutex_lock(&duty->lock);
    while (!duty_stopping(duty) && clock_cond_wait(&duty->wake, &duty->lock, until))
        ;
    pthread_mutex_unlock(&duty->lock);
}

static void on_lock(void *held, const struct db_rows *rows)
{
    *(bool *)held = rows->count == 1 && db_bool(rows, 0, 0);
}

static struct err try_lock(struct duty *duty)
{
    const struct db_query query = {
        .name = "take_duty",
        .types = "i",
        .rows = "+b",
        .sql = "SELECT pg_try_advisory_lock($1)",
        .values = {db_i(duty->config.lock)},
        .deadline_ms = clock_monotonic_ms() + QUERY_MS,
    };

    return db_session_run(duty->connection, &query, false, on_lock, &duty->held);
}

/* Connects and takes the duty, if it can be had. */
static struct err take(struct duty *duty)
{
    char settings[64];

    duty->held = false;
    snprintf(settings, sizeof settings, "SET idle_session_timeout = %lld",
             (long long)duty->config.takeover_ms);
    struct err e =
        db_session_connect(duty->connection, settings, clock_monotonic_ms() + CONNECT_MS);
    if (!failed(e))
        e = try_lock(duty);
    if (failed(e) || !duty->held)
        return e;
    log_info("duty_taken", "duty=%s", duty->config.name);
    return duty->config.begin(duty->config.arg, duty->connection);
}

/* Gives it up; the next try is on a new connection. */
static void give_up(struct duty *duty, struct err why)
{
    int64_t now = clock_monotonic_ms();

    set_health(duty, err_make(ERR_UNAVAILABLE, "%s", why.message));
    if (duty->held || now - duty->complained_ms > COMPLAIN_EVERY_MS) {
        log_warn(duty->held ? "duty_lost" : "duty_not_sought", "duty=%s error=%s",
                 duty->config.name, why.message);
        duty->complained_ms = now;
    }
    if (duty->held && duty->config.end != NULL)
        duty->config.end(duty->config.arg);
    duty->held = false;
    db_session_close(duty->connection);
}

enum { AT_REST = -1 };

/* One round; how long to wait until the next, or AT_REST. */
static int64_t go_round(struct duty *duty)
{
    bool more = false;
    struct err e = ERR_NONE;

    if (!duty->held || !db_session_connected(duty->connection)) {
        if (duty->held)
            give_up(duty, err_make(ERR_UNAVAILABLE, "the connection was lost"));
        e = take(duty);
    }
    if (!failed(e) && !duty->held) {
        set_health(duty, ERR_NONE);
        return duty->config.takeover_ms / 4 > LOOK_LEAST_MS ? duty->config.takeover_ms / 4
                                                            : LOOK_LEAST_MS;
    }
    if (!failed(e))
        e = duty->config.work(duty->config.arg, duty->connection, &more);
    if (failed(e)) {
        give_up(duty, e);
        return AFTER_FAILURE_MS;
    }
    set_health(duty, ERR_NONE);
    return more ? 0 : AT_REST;
}

static void *duty_main(void *arg)
{
    struct duty *duty = arg;

    while (!duty_stopping(duty)) {
        int64_t ms = go_round(duty);
        if (ms > 0)
            pause_for(duty, ms);
        else if (ms == AT_REST)
            rest(duty);
    }
    if (duty->held && duty->config.end != NULL)
        duty->config.end(duty->config.arg);
    return NULL;
}

static void duty_free(struct duty *duty)
{
    db_session_free(duty->connection);
    pthread_cond_destroy(&duty->wake);
    pthread_mutex_destroy(&duty->lock);
    free(duty);
}

struct err duty_start(const struct duty_config *config, struct duty **out)
{
    struct duty *duty = calloc(1, sizeof *duty);

    if (duty == NULL)
        return err_memory();
    duty->config = *config;
    if (duty->config.every_ms > keeps_lock_ms(duty))
        duty->config.every_ms = keeps_lock_ms(duty);
    duty->pause_ms = duty->config.every_ms;
    duty->complained_ms = clock_monotonic_ms() - COMPLAIN_EVERY_MS;
    duty->health = err_make(ERR_UNAVAILABLE, "It has just been started.");
    pthread_mutex_init(&duty->lock, NULL);
    clock_cond_init(&duty->wake);
    duty->connection = db_session_new(config->database_url, config->name);
    struct err e = duty->connection == NULL ? err_memory() : ERR_NONE;
    *out = duty;
    if (!failed(e) && pthread_create(&duty->thread, NULL, duty_main, duty) != 0)
        e = err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", config->name);
    if (failed(e)) {
        *out = NULL;
        duty_free(duty);
        return e;
    }
    pthread_setname_np(duty->thread, config->name);
    return ERR_NONE;
}

void duty_stop(struct duty *duty)
{
    if (duty == NULL)
        return;
    pthread_mutex_lock(&duty->lock);
    atomic_store(&duty->stopping, true);
    pthread_cond_signal(&duty->wake);
    pthread_mutex_unlock(&duty->lock);
    pthread_join(duty->thread, NULL);
    duty_free(duty);
}
