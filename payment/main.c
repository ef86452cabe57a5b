/* main.c - the payment service: reads its settings, serves, stops on SIGTERM. */
#include <stdio.h>
#include <stdlib.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/process.h"
#include "db/db.h"
#include "payment/ledger.h"
#include "payment/provider_faults.h"
#include "payment/sandbox.h"
#include "payment/service.h"
#include "rpc/server.h"

struct settings {
    const char *listen_url, *key_file, *callers_file, *database_url, *provider_database_url;
    int64_t in_flight_max, readers;
};

#define ROW(field, type, fallback, least, most, help)                                          \
    {                                                                                          \
        #field, type, offsetof(struct settings, field), fallback, least, most, help            \
    }

static const struct conf_row ROWS[] = {
    ROW(listen_url, CONF_TEXT, NULL, 0, 0, "where to serve RPC: ipc:///path or tcp://host:port"),
    ROW(key_file, CONF_TEXT, NULL, 0, 0, "this service's key pair"),
    ROW(callers_file, CONF_TEXT, NULL, 0, 0, "authorized callers: name, public key, methods"),
    ROW(database_url, CONF_SECRET, NULL, 0, 0, "libpq URL of payment's database"),
    ROW(provider_database_url, CONF_SECRET, NULL, 0, 0,
        "libpq URL of the sandbox provider's own ledger"),
    ROW(in_flight_max, CONF_NUMBER, "1024", 1, 65536, "requests served at once"),
    ROW(readers, CONF_NUMBER, "2", 1, 16, "database connections for read-only queries"),
};

static const struct conf_table TABLE = {
    .program = "payment",
    .summary = "charges and refunds, and keeps the ledger of both",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

struct environment {
    struct settings settings;
    struct key *key;
    struct peers *callers;
    struct db *db;
    struct provider *provider;
    struct payment payment;
    struct rpc_server *server;
};

static struct err database_health(void *db)
{
    return db_health(db);
}

static struct err open_database(struct environment *env)
{
    struct db_config config = {
        .url = env->settings.database_url,
        .name = "payment",
        .queue_max = 8192,
        .batch_max = 512,
        .readers = (size_t)env->settings.readers,
    };

    ledger_configure(&config);
    return db_open(&config, &env->db);
}

static struct err serve(struct environment *env)
{
    static ProtobufCService *services[1];
    struct rpc_server_config config = {
        .url = env->settings.listen_url,
        .key = env->key,
        .callers = env->callers,
        .services = services,
        .service_count = 1,
        .in_flight_max = (size_t)env->settings.in_flight_max,
        .health = database_health,
        .health_arg = env->db,
    };

    services[0] = &env->payment.service.base;
    return rpc_server_start(&config, &env->server);
}

static struct err start(struct environment *env)
{
    struct err e = key_read(env->settings.key_file, &env->key);

    if (!failed(e))
        e = peers_read(env->settings.callers_file, true, env->key, &env->callers);
    if (!failed(e))
        e = open_database(env);
    if (!failed(e))
        e = sandbox_open(env->settings.provider_database_url, &env->provider);
    if (failed(e))
        return e;
    struct provider *provider = env->provider;
#ifdef CHECKOUT_FAILPOINTS
    provider = provider_faults(provider);
#endif
    payment_init(&env->payment, env->db, provider);
    return serve(env);
}

static void stop(struct environment *env)
{
    rpc_server_stop(env->server, 5000);
    sandbox_close(env->provider);
    db_close(env->db);
    peers_free(env->callers);
    key_free(env->key);
}

int main(int argc, char **argv)
{
    struct environment env = {0};

    process_start();
    log_start("payment", LOG_INFO);
    struct err e = conf_read(&TABLE, argc, argv, &env.settings);
    if (!failed(e))
        e = start(&env);
    if (!failed(e)) {
        log_info("serving", "url=%s", env.settings.listen_url);
        log_info("stopping", "signal=%d", process_wait_stop());
    } else {
        log_error("cannot_start", "error=\"%s\"", e.message);
    }
    stop(&env);
    return failed(e) ? EXIT_FAILURE : EXIT_SUCCESS;
}
