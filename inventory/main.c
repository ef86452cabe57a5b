/* main.c - the inventory service: serves, expires reservations, stops on SIGTERM. */
#include "base/program/worker.h"
#include "db/db.h"
#include "inventory/service.h"
#include "inventory/stock.h"
#include "rpc/service/runtime.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *listen_url, *key_file, *callers_file, *database_url;
    int64_t reservation_ttl_ms, reap_every_ms, in_flight_max, caller_in_flight_max,
        caller_per_second, readers, drain_ms;
    bool access_log;
    const char *log_format;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, NULL, "where to serve RPC: ipc:///path or tcp://host:port"),
    CONF_ROW_TEXT(key_file, NULL, "this service's key pair"),
    CONF_ROW_TEXT(callers_file, NULL, "authorized callers: name, public key, methods"),
    CONF_ROW_SECRET(database_url, "libpq URL of the inventory's database"),
    CONF_ROW_NUMBER(reservation_ttl_ms, "900000", 100, 86400000,
                    "how long a reservation is held, milliseconds"),
    CONF_ROW_NUMBER(
        reap_every_ms, "1000", 10, 3600000,
        "how often expired reservations are released, milliseconds; less often "
        "while there are none, but every 10 s"),
    CONF_ROW_NUMBER(in_flight_max, "1024", 1, 65536, "requests served at once"),
    RUNTIME_ROWS_LIMITS,
    RUNTIME_ROW_ACCESS_LOG,
    RUNTIME_ROW_LOG_FORMAT,
    RUNTIME_ROWS_TLS,
    RUNTIME_ROW_DRAIN,
    CONF_ROW_NUMBER(readers, "2", 1, 16, "database connections for read-only queries"),
};

static const struct conf_table TABLE = {
    .program = "inventory",
    .summary = "keeps stock and reservations, and serves them by RPC",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

struct environment {
    struct settings settings;
    struct runtime runtime;
    struct db *db;
    struct inventory inventory;
    struct worker *reaper;
};

static const char CURSORS[] = "inventory.cursor"; /* of key_derive */

static struct err health(void *db)
{
    return db_health(db);
}

static struct err open_database(struct environment *env)
{
    struct db_config config = {
        .url = env->settings.database_url,
        .name = "inventory",
        .queue_max = 8192,
        .batch_max = 512,
        .readers = (size_t)env->settings.readers,
        .metrics = env->runtime.metrics,
    };

    stock_configure(&config);
    return db_open(&config, &env->db);
}

static struct err start(void *arg)
{
    struct environment *env = arg;
    const struct settings *s = &env->settings;
    const struct runtime_settings rpc = {
        .listen_url = s->listen_url,
        .key_file = s->key_file,
        .callers_file = s->callers_file,
        .in_flight_max = s->in_flight_max,
        .caller_in_flight_max = s->caller_in_flight_max,
        .caller_per_second = s->caller_per_second,
        .access_log = s->access_log,
        .tls = {s->tls_cert, s->tls_key, s->tls_ca},
    };
    struct err e = runtime_open(&env->runtime, &rpc);

    if (!failed(e))
        e = open_database(env);
    if (!failed(e))
        e = worker_start_with_backoff("reaper", s->reap_every_ms, stock_reap, env->db,
                                      &env->reaper);
    if (failed(e))
        return e;
    const uint8_t *cursor_key = runtime_derive(&env->runtime, CURSORS);
    if (cursor_key == NULL)
        return err_memory();
    inventory_init(&env->inventory, env->db, s->reservation_ttl_ms, cursor_key);
    env->inventory.reaper = env->reaper;
    e = runtime_serve(&env->runtime, &rpc, &env->inventory.service.base, health, env->db);
    return failed(e) ? e : runtime_follow_tls(&env->runtime, &rpc, NULL, NULL);
}

/* The same key that a newly started replica derives. */
static void renew_cursors(struct environment *env)
{
    const uint8_t *key = runtime_derive(&env->runtime, CURSORS);

    if (key != NULL)
        env->inventory.cursor_key = key;
}

static void reload(void *arg)
{
    struct environment *env = arg;

    if (runtime_reload(&env->runtime))
        renew_cursors(env);
}

static int64_t stop_ms(const void *arg)
{
    const struct environment *env = arg;

    return env->settings.drain_ms;
}

static bool stop(void *arg)
{
    struct environment *env = arg;

    bool whole = runtime_stop_serving(&env->runtime, env->settings.drain_ms);
    worker_stop(env->reaper);
    db_close(env->db);
    runtime_close(&env->runtime);
    return whole;
}

int main(int argc, char **argv)
{
    struct environment env = {0};

    return runtime_main(&(struct runtime_program){&TABLE, &env.settings, &env, start,
                                                  reload, stop, stop_ms},
                        argc, argv);
}
