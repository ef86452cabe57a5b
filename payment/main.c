/* main.c - the payment service: serves, stops on SIGTERM. */
#include "db/db.h"
#include "payment/ledger.h"
#include "payment/provider.h"
#include "payment/sandbox.h"
#include "payment/service.h"
#include "rpc/service/runtime.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *listen_url, *key_file, *callers_file, *database_url,
        *provider_database_url;
    int64_t in_flight_max, caller_in_flight_max, caller_per_second, readers, drain_ms;
    bool access_log;
    const char *log_format;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, NULL, "where to serve RPC: ipc:///path or tcp://host:port"),
    CONF_ROW_TEXT(key_file, NULL, "this service's key pair"),
    CONF_ROW_TEXT(callers_file, NULL, "authorized callers: name, public key, methods"),
    CONF_ROW_SECRET(database_url, "libpq URL of payment's database"),
    CONF_ROW_SECRET(provider_database_url, "libpq URL of the sandbox provider's ledger"),
    CONF_ROW_NUMBER(in_flight_max, "1024", 1, 65536, "requests served at once"),
    RUNTIME_ROWS_LIMITS,
    RUNTIME_ROW_ACCESS_LOG,
    RUNTIME_ROW_LOG_FORMAT,
    RUNTIME_ROWS_TLS,
    RUNTIME_ROW_DRAIN,
    CONF_ROW_NUMBER(readers, "2", 1, 16, "database connections for read-only queries"),
};

static const struct conf_table TABLE = {
    .program = "payment",
    .summary = "charges and refunds, and keeps the ledger of both",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

struct environment {
    struct settings settings;
    struct runtime runtime;
    struct db *db;
    struct provider *provider; /* opened here: the sandbox */
    struct payment payment;
};

/* A charge needs both the database and the provider. */
static struct err health(void *arg)
{
    struct environment *env = arg;
    struct err e = db_health(env->db);

    return failed(e) ? e : env->provider->health(env->provider);
}

static struct err open_database(struct environment *env)
{
    struct db_config config = {
        .url = env->settings.database_url,
        .name = "payment",
        .queue_max = 8192,
        .batch_max = 512,
        .readers = (size_t)env->settings.readers,
        .metrics = env->runtime.metrics,
    };

    ledger_configure(&config);
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
        e = sandbox_open(s->provider_database_url, &env->provider);
    if (failed(e))
        return e;
    struct provider *provider = env->provider;
#ifdef CHECKOUT_FAILPOINTS
    provider = provider_faults(provider);
#endif
    payment_init(&env->payment, env->db, provider);
    e = runtime_serve(&env->runtime, &rpc, &env->payment.service.base, health, env);
    return failed(e) ? e : runtime_follow_tls(&env->runtime, &rpc, NULL, NULL);
}

static void reload(void *arg)
{
    struct environment *env = arg;

    runtime_reload(&env->runtime);
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
    sandbox_close(env->provider);
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
