/* leader.c - see leader.h. */
#include "orchestrator/events/leader.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

enum {
    CONNECT_MS = 3000,
    LOCK_QUERY_MS = 5000,
    WORK_QUERY_MS = 10000,
    LOCK_LEAST_MS = 500, /* between two tries for the lock, or a quarter of takeover_ms */
    AFTER_FAILURE_MS = 200,
    WARN_EVERY_MS = 10000,
};

struct leader {
    struct leader_config config;
    struct db_session *connection;
    bool held;
    int64_t warned_ms;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the health */
    pthread_cond_t wake;
    struct err health;
    atomic_bool stopping;
    atomic_bool resting; /* in a pause longer than every_ms */
    int64_t pause_ms;    /* under the lock */
};

struct db_query leader_query(const char *name, const char *types, const char *rows,
                             const char *sql)
{
    return (struct db_query){.name = name,
                             .types = types,
                             .rows = rows,
                             .sql = sql,
                             .deadline_ms = clock_monotonic_ms() + WORK_QUERY_MS};
}

static bool stopping(const struct leader *leader)
{
    return atomic_load(&leader->stopping);
}

static void set_health(struct leader *leader, struct err health)
{
    pthread_mutex_lock(&leader->lock);
    leader->health = health;
    pthread_mutex_unlock(&leader->lock);
}

struct err leader_health(struct leader *leader)
{
    pthread_mutex_lock(&leader->lock);
    struct err health = leader->health;
    pthread_mutex_unlock(&leader->lock);
    return health;
}

/* How long the connection may be idle, with a margin. */
static int64_t keeps_lock_ms(const struct leader *leader)
{
    return leader->config.takeover_ms * 7 / 10;
}

void leader_wake(struct leader *leader)
{
    if (leader == NULL)
        return;
    pthread_mutex_lock(&leader->lock);
    leader->pause_ms = leader->config.every_ms;
    if (atomic_exchange(&leader->resting, false))
        pthread_cond_signal(&leader->wake);
    pthread_mutex_unlock(&leader->lock);
}

/* Doubles the pause each time, but stays below what would lose the lock. */
static void rest(struct leader *leader)
{
    int64_t begun = clock_monotonic_ms(), most = keeps_lock_ms(leader);

    pthread_mutex_lock(&leader->lock);
    const int64_t pause = leader->pause_ms, next = 2 * pause < most ? 2 * pause : most;
    atomic_store(&leader->resting, leader->pause_ms > leader->config.every_ms);
    while (!stopping(leader) && /* leader_wake makes the pause shorter */
           clock_cond_wait(&leader->wake, &leader->lock, begun + leader->pause_ms))
        ;
    if (leader->pause_ms == pause && pause < next)
        leader->pause_ms = next;
    pthread_mutex_unlock(&leader->lock);
}

static void pause_for(struct leader *leader, int64_t ms)
{
    int64_t until = clock_monotonic_ms() + ms;

    pthread_mutex_lock(&leader->lock);
    while (!stopping(leader) && clock_cond_wait(&leader->wake, &leader->lock, until))
        ;
    pthread_mutex_unlock(&leader->lock);
}

static void on_lock(void *held, const struct db_rows *rows)
{
    *(bool *)held = rows->count == 1 && db_bool(rows, 0, 0);
}

static struct err try_lock(struct leader *leader)
{
    const struct db_query query = {
        .name = "take_lock",
        .types = "i",
        .rows = "+b",
        .sql = "SELECT pg_try_advisory_lock($1)",
        .values = {db_i(leader->config.lock)},
        .deadline_ms = clock_monotonic_ms() + LOCK_QUERY_MS,
    };

    return db_session_run(leader->connection, &query, false, on_lock, &leader->held);
}

/* Connects and takes the lock, if it is free. */
static struct err try_to_lead(struct leader *leader)
{
    char settings[64];

    leader->held = false;
    snprintf(settings, sizeof settings, "SET idle_session_timeout = %lld",
             (long long)leader->config.takeover_ms);
    struct err e = db_session_connect(leader->connection, settings,
                                      clock_monotonic_ms() + CONNECT_MS);
    if (!failed(e))
        e = try_lock(leader);
    if (failed(e) || !leader->held)
        return e;
    log_info("leader_elected", "task=%s", leader->config.name);
    return leader->config.begin(leader->config.arg, leader->connection);
}

/* Releases the lock; the next attempt uses a new connection. */
static void give_up(struct leader *leader, struct err why)
{
    int64_t now = clock_monotonic_ms();

    set_health(leader, err_make(ERR_UNAVAILABLE, "%s", why.message));
    if (leader->held || now - leader->warned_ms > WARN_EVERY_MS) {
        log_warn(leader->held ? "leader_lost" : "leader_lock_failed", "task=%s error=%s",
                 leader->config.name, why.message);
        leader->warned_ms = now;
    }
    if (leader->held)
        leader->config.end(leader->config.arg);
    leader->held = false;
    db_session_close(leader->connection);
}

enum { AT_REST = -1 };

/* One round; how long to wait until the next, or AT_REST. */
static int64_t go_round(struct leader *leader)
{
    bool more = false;
    struct err e = ERR_NONE;

    if (!leader->held || !db_session_connected(leader->connection)) {
        if (leader->held)
            give_up(leader, err_make(ERR_UNAVAILABLE, "the connection was lost"));
        e = try_to_lead(leader);
    }
    if (!failed(e) && !leader->held) {
        set_health(leader, ERR_NONE);
        return leader->config.takeover_ms / 4 > LOCK_LEAST_MS
                   ? leader->config.takeover_ms / 4
                   : LOCK_LEAST_MS;
    }
    if (!failed(e))
        e = leader->config.work(leader->config.arg, leader->connection, &more);
    if (failed(e)) {
        give_up(leader, e);
        return AFTER_FAILURE_MS;
    }
    set_health(leader, ERR_NONE);
    return more ? 0 : AT_REST;
}

static void *leader_main(void *arg)
{
    struct leader *leader = arg;

    while (!stopping(leader)) {
        int64_t ms = go_round(leader);
        if (ms > 0)
            pause_for(leader, ms);
        else if (ms == AT_REST)
            rest(leader);
    }
    if (leader->held)
        leader->config.end(leader->config.arg);
    return NULL;
}

static void leader_free(struct leader *leader)
{
    db_session_free(leader->connection);
    pthread_cond_destroy(&leader->wake);
    pthread_mutex_destroy(&leader->lock);
    free(leader);
}

struct err leader_start(const struct leader_config *config, struct leader **out)
{
    struct leader *leader = calloc(1, sizeof *leader);

    if (leader == NULL)
        return err_memory();
    leader->config = *config;
    if (leader->config.every_ms > keeps_lock_ms(leader))
        leader->config.every_ms = keeps_lock_ms(leader);
    leader->pause_ms = leader->config.every_ms;
    leader->warned_ms = clock_monotonic_ms() - WARN_EVERY_MS;
    leader->health = err_make(ERR_UNAVAILABLE, "It has just been started.");
    pthread_mutex_init(&leader->lock, NULL);
    clock_cond_init(&leader->wake);
    leader->connection = db_session_new(config->database_url, config->name);
    struct err e = leader->connection == NULL ? err_memory() : ERR_NONE;
    *out = leader;
    if (!failed(e) && pthread_create(&leader->thread, NULL, leader_main, leader) != 0)
        e = err_make(ERR_RESOURCE_EXHAUSTED, "Cannot start the thread %s.", config->name);
    if (failed(e)) {
        *out = NULL;
        leader_free(leader);
        return e;
    }
    pthread_setname_np(leader->thread, config->name);
    return ERR_NONE;
}

void leader_stop(struct leader *leader)
{
    if (leader == NULL)
        return;
    pthread_mutex_lock(&leader->lock);
    atomic_store(&leader->stopping, true);
    pthread_cond_signal(&leader->wake);
    pthread_mutex_unlock(&leader->lock);
    pthread_join(leader->thread, NULL);
    leader_free(leader);
}
