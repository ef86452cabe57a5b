/* main.c - the orchestrator: reads its settings, serves, recovers, stops on SIGTERM. */
#include <stdlib.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"
#include "base/process.h"
#include "base/worker.h"
#include "db/db.h"
#include "orchestrator/orders.h"
#include "orchestrator/place.h"
#include "orchestrator/recover.h"
#include "orchestrator/saga.h"
#include "orchestrator/service.h"
#include "rpc/channel.h"
#include "rpc/server.h"

struct settings {
    const char *listen_url, *key_file, *callers_file, *services_file;
    const char *inventory_addresses, *payment_addresses, *database_url;
    int64_t lease_ms, recover_every_ms, step_timeout_ms, give_up_ms, in_flight_max, readers;
};

#define ROW(field, type, fallback, least, most, help)                                          \
    {                                                                                          \
        #field, type, offsetof(struct settings, field), fallback, least, most, help            \
    }

static const struct conf_row ROWS[] = {
    ROW(listen_url, CONF_TEXT, NULL, 0, 0, "where to serve RPC: ipc:///path or tcp://host:port"),
    ROW(key_file, CONF_TEXT, NULL, 0, 0, "this service's key pair"),
    ROW(callers_file, CONF_TEXT, NULL, 0, 0, "authorized callers: name, public key, methods"),
    ROW(services_file, CONF_TEXT, NULL, 0, 0, "public keys of the services it calls"),
    ROW(inventory_addresses, CONF_TEXT, NULL, 0, 0, "nng URLs of inventory, with commas"),
    ROW(payment_addresses, CONF_TEXT, NULL, 0, 0, "nng URLs of payment, with commas"),
    ROW(database_url, CONF_SECRET, NULL, 0, 0, "libpq URL of the orders database"),
    ROW(lease_ms, CONF_NUMBER, "10000", 500, 600000,
        "how long a checkout is left to a silent owner, milliseconds"),
    ROW(recover_every_ms, CONF_NUMBER, "1000", 10, 60000,
        "how often checkouts past their lease are looked for, milliseconds"),
    ROW(step_timeout_ms, CONF_NUMBER, "5000", 50, 60000,
        "how long one attempt at a step may take, milliseconds"),
    ROW(give_up_ms, CONF_NUMBER, "30000", 100, 3600000,
        "age at which a checkout that cannot go on is aborted, milliseconds"),
    ROW(in_flight_max, CONF_NUMBER, "4096", 1, 65536, "requests and checkouts at once"),
    ROW(readers, CONF_NUMBER, "2", 1, 16, "database connections for read-only queries"),
};

static const struct conf_table TABLE = {
    .program = "orchestrator",
    .summary = "turns carts into orders: claim, reserve, charge, confirm, persist",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

enum { EXPIRE_WAITERS_EVERY_MS = 50 };

struct environment {
    struct settings settings;
    struct key *key;
    struct peers *callers, *services;
    struct db *db;
    struct channel *inventory, *payment;
    struct sagas *sagas;
    struct orchestrator orchestrator;
    struct worker *expirer, *renewer, *recoverer;
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
        .name = "orchestrator",
        .queue_max = 8192,
        .batch_max = 512,
        .readers = (size_t)env->settings.readers,
    };

    orders_configure(&config);
    return db_open(&config, &env->db);
}

static struct err open_channel(struct environment *env, const char *service,
                               const char *addresses, struct channel **out)
{
    const struct channel_config config = {
        .service = service,
        .addresses = addresses,
        .key = env->key,
        .services = env->services,
        .in_flight_max = (size_t)env->settings.in_flight_max,
    };

    return channel_open(&config, out);
}

static struct err open_sagas(struct environment *env)
{
    struct sagas_config config = {
        .db = env->db,
        .inventory = env->inventory,
        .payment = env->payment,
        .lease_ms = env->settings.lease_ms,
        .step_timeout_ms = env->settings.step_timeout_ms,
        .give_up_ms = env->settings.give_up_ms,
        .most = (size_t)env->settings.in_flight_max,
    };

    config.steps = place_steps(&config.step_count);
    return sagas_open(&config, &env->sagas);
}

static struct err start_workers(struct environment *env)
{
    struct err e = worker_start("expirer", EXPIRE_WAITERS_EVERY_MS, sagas_expire_waiters,
                                env->sagas, &env->expirer);

    if (!failed(e))
        e = worker_start("renewer", env->settings.lease_ms / 4, sagas_renew_leases, env->sagas,
                         &env->renewer);
    if (!failed(e))
        e = worker_start("recoverer", env->settings.recover_every_ms, recover_checkouts,
                         env->sagas, &env->recoverer);
    return e;
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

    services[0] = &env->orchestrator.service.base;
    return rpc_server_start(&config, &env->server);
}

static struct err start(struct environment *env)
{
    const struct settings *s = &env->settings;
    struct err e = key_read(s->key_file, &env->key);

    if (!failed(e))
        e = peers_read(s->callers_file, true, env->key, &env->callers);
    if (!failed(e))
        e = peers_read(s->services_file, false, env->key, &env->services);
    if (!failed(e))
        e = open_database(env);
    if (!failed(e))
        e = open_channel(env, "inventory", s->inventory_addresses, &env->inventory);
    if (!failed(e))
        e = open_channel(env, "payment", s->payment_addresses, &env->payment);
    if (!failed(e))
        e = open_sagas(env);
    if (!failed(e))
        e = start_workers(env);
    if (failed(e))
        return e;
    orchestrator_init(&env->orchestrator, env->db, env->sagas);
    return serve(env);
}

/*
 * Calls being served get their answers if they come in time; sagas end their step and drop
 * out.  What is left then is durable, and its lease will run out.
 */
static void stop(struct environment *env)
{
    rpc_server_stop(env->server, 10000);
    worker_stop(env->recoverer);
    worker_stop(env->renewer);
    worker_stop(env->expirer);
    if (!sagas_stop(env->sagas, 10000)) {
        log_warn("stopped_with_checkouts_running", "note=\"they will be taken over\"");
        _exit(EXIT_SUCCESS); /* they hold what would be freed below */
    }
    channel_close(env->inventory);
    channel_close(env->payment);
    db_close(env->db);
    peers_free(env->services);
    peers_free(env->callers);
    key_free(env->key);
}

int main(int argc, char **argv)
{
    struct environment env = {0};

    process_start();
    log_start("orchestrator", LOG_INFO);
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
