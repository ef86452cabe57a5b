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
    LOOK_MS = 500, /* between two tries for the lock */
    AFTER_FAILURE_MS = 200,
    COMPLAIN_EVERY_MS = 10000,
};

struct duty {
    struct duty_config config;
    struct dedicated *connection;
    bool held;
    int64_t complained_ms;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    atomic_bool stopping;
};

bool duty_stopping(const struct duty *duty)
{
    return atomic_load(&duty->stopping);
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
        .sql = "SELECT pg_try_advisory_lock($1)",
        .values = {db_i(duty->config.lock)},
        .deadline_ms = clock_monotonic_ms() + QUERY_MS,
    };

    return dedicated_run(duty->connection, &query, false, on_lock, &duty->held);
}

/* Connects and takes the duty, if it can be had. */
static struct err take(struct duty *duty)
{
    char settings[64];

    duty->held = false;
    snprintf(settings, sizeof settings, "SET idle_session_timeout = %lld",
             (long long)duty->config.takeover_ms);
    struct err e =
        dedicated_connect(duty->connection, settings, clock_monotonic_ms() + CONNECT_MS);
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

    if (duty->held || now - duty->complained_ms > COMPLAIN_EVERY_MS) {
        log_warn(duty->held ? "duty_lost" : "duty_not_sought", "duty=%s error=%s",
                 duty->config.name, why.message);
        duty->complained_ms = now;
    }
    if (duty->held && duty->config.end != NULL)
        duty->config.end(duty->config.arg);
    duty->held = false;
    dedicated_close(duty->connection);
}

/* One round; how long to wait until the next. */
static int64_t go_round(struct duty *duty)
{
    bool more = false;
    struct err e = ERR_NONE;

    if (!duty->held || !dedicated_connected(duty->connection)) {
        if (duty->held)
            give_up(duty, err_make(ERR_UNAVAILABLE, "the connection was lost"));
        e = take(duty);
    }
    if (!failed(e) && !duty->held)
        return LOOK_MS;
    if (!failed(e))
        e = duty->config.work(duty->config.arg, duty->connection, &more);
    if (failed(e)) {
        give_up(duty, e);
        return AFTER_FAILURE_MS;
    }
    return more ? 0 : duty->config.every_ms;
}

static void *duty_main(void *arg)
{
    struct duty *duty = arg;

    while (!duty_stopping(duty)) {
        int64_t ms = go_round(duty);
        if (ms > 0)
            pause_for(duty, ms);
    }
    if (duty->held && duty->config.end != NULL)
        duty->config.end(duty->config.arg);
    return NULL;
}

static void duty_free(struct duty *duty)
{
    dedicated_free(duty->connection);
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
    duty->complained_ms = clock_monotonic_ms() - COMPLAIN_EVERY_MS;
    pthread_mutex_init(&duty->lock, NULL);
    clock_cond_init(&duty->wake);
    duty->connection = dedicated_new(config->database_url, config->name);
    struct err e = duty->connection == NULL ? err_memory() : ERR_NONE;
    if (!failed(e) && pthread_create(&duty->thread, NULL, duty_main, duty) != 0)
        e = err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", config->name);
    if (failed(e)) {
        duty_free(duty);
        return e;
    }
    pthread_setname_np(duty->thread, config->name);
    *out = duty;
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
