/* main.c - the orchestrator: reads its settings, serves, recovers, stops on SIGTERM. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/worker.h"
#include "db/db.h"
#include "orchestrator/orders.h"
#include "orchestrator/place.h"
#include "orchestrator/prune.h"
#include "orchestrator/recover.h"
#include "orchestrator/saga.h"
#include "orchestrator/service.h"
#include "rpc/channel.h"
#include "rpc/host.h"

struct settings {
    const char *listen_url, *key_file, *callers_file, *services_file;
    const char *inventory_addresses, *payment_addresses, *database_url;
    int64_t lease_ms, recover_every_ms, step_timeout_ms, give_up_ms, attention_after,
        in_flight_max, readers, keys_kept_ms, prune_every_ms;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, NULL, "where to serve RPC: ipc:///path or tcp://host:port"),
    CONF_ROW_TEXT(key_file, NULL, "this service's key pair"),
    CONF_ROW_TEXT(callers_file, NULL, "authorized callers: name, public key, methods"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services it calls"),
    CONF_ROW_TEXT(inventory_addresses, NULL, "nng URLs of inventory, with commas"),
    CONF_ROW_TEXT(payment_addresses, NULL, "nng URLs of payment, with commas"),
    CONF_ROW_SECRET(database_url, "libpq URL of the orders database"),
    CONF_ROW_NUMBER(lease_ms, "10000", 500, 600000,
                    "how long a checkout is left to a silent owner, milliseconds"),
    CONF_ROW_NUMBER(recover_every_ms, "1000", 10, 60000,
                    "how often checkouts past their lease are looked for, milliseconds"),
    CONF_ROW_NUMBER(step_timeout_ms, "5000", 50, 60000,
                    "how long one attempt at a step may take, milliseconds"),
    CONF_ROW_NUMBER(give_up_ms, "30000", 100, 3600000,
                    "age at which a checkout that cannot go on is aborted, milliseconds"),
    CONF_ROW_NUMBER(attention_after, "10", 1, 1000000,
                    "failed attempts to undo a step, before an operator is called"),
    CONF_ROW_NUMBER(in_flight_max, "4096", 1, 65536, "requests and checkouts at once"),
    CONF_ROW_NUMBER(keys_kept_ms, "259200000", 1000, 31536000000,
                    "how long a finished checkout's key is kept; 72 hours, milliseconds"),
    CONF_ROW_NUMBER(prune_every_ms, "60000", 10, 3600000,
                    "how often older ones are looked for, milliseconds"),
    CONF_ROW_NUMBER(readers, "2", 1, 16, "database connections for read-only queries"),
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
    struct host host;
    struct peers *services;
    struct db *db;
    struct channel *inventory, *payment;
    struct sagas *sagas;
    struct orchestrator orchestrator;
    struct pruning pruning;
    struct worker *expirer, *recoverer, *pruner;
};

static struct err health(void *db)
{
    return db_health(db);
}

static struct err open_database(struct environment *env)
{
    struct db_config config = {
        .url = env->settings.database_url,
        .name = "orchestrator",
        .queue_max = 2 * (size_t)env->settings.in_flight_max + 1024,
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
        .key = env->host.key,
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
        .attention_after = env->settings.attention_after,
        /* Calls that wait for a checkout leave room for those that do not. */
        .most = (size_t)env->settings.in_flight_max * 3 / 4 + 1,
    };

    config.steps = place_steps(&config.step_count);
    return sagas_open(&config, &env->sagas);
}

static struct err start_workers(struct environment *env)
{
    /* Often enough, too, to keep the leases of what runs here. */
    int64_t quarter = env->settings.lease_ms / 4, every_ms = env->settings.recover_every_ms;

    if (every_ms > quarter)
        every_ms = quarter;
    struct err e = worker_start("expirer", EXPIRE_WAITERS_EVERY_MS, sagas_expire_waiters,
                                env->sagas, &env->expirer);

    if (!failed(e))
        e = worker_start("recoverer", every_ms, recover_checkouts,
                         env->sagas, &env->recoverer);
    env->pruning = (struct pruning){env->db, env->settings.keys_kept_ms};
    if (!failed(e))
        e = worker_start("pruner", env->settings.prune_every_ms, prune_checkouts,
                         &env->pruning, &env->pruner);
    return e;
}

static struct err start(void *arg)
{
    struct environment *env = arg;
    const struct settings *s = &env->settings;
    const struct host_settings host = {s->listen_url, s->key_file, s->callers_file,
                                       s->in_flight_max};
    struct err e = host_open(&env->host, &host);

    if (!failed(e))
        e = peers_read(s->services_file, false, env->host.key, &env->services);
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
    return host_serve(&env->host, &host, &env->orchestrator.service.base, health,
                      env->db);
}

/*
 * Calls being served get their answers if they come in time; sagas end their step and
 * drop out.  What is left then is durable, and its lease will run out.
 */
static void stop(void *arg)
{
    struct environment *env = arg;

    host_stop_serving(&env->host, 10000);
    worker_stop(env->pruner);
    worker_stop(env->recoverer);
    worker_stop(env->expirer);
    if (!sagas_stop(env->sagas, 10000)) {
        log_warn("stopped_with_checkouts_running", "note=\"they will be taken over\"");
        _exit(EXIT_SUCCESS); /* they hold what would be freed below */
    }
    channel_close(env->inventory);
    channel_close(env->payment);
    db_close(env->db);
    peers_free(env->services);
    host_close(&env->host);
}

int main(int argc, char **argv)
{
    struct environment env = {0};

    return host_main(&TABLE, argc, argv, &env.settings, start, stop, &env);
}
