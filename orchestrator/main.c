/* main.c - the orchestrator: reads its settings, serves, recovers, stops on SIGTERM. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/program/worker.h"
#include "db/db.h"
#include "orchestrator/events/sequencer.h"
#include "orchestrator/events_service.h"
#include "orchestrator/kinds.h"
#include "orchestrator/orders/prune.h"
#include "orchestrator/saga/engine.h"
#include "orchestrator/saga/recovery.h"
#include "orchestrator/saga/steps.h"
#include "orchestrator/service.h"
#include "rpc/auth/reload.h"
#include "rpc/client/channel.h"
#include "rpc/service/runtime.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *listen_url, *key_file, *callers_file, *services_file;
    const char *inventory_addresses, *payment_addresses, *database_url;
    int64_t lease_ms, recover_every_ms, step_timeout_ms, give_up_ms, attention_after,
        in_flight_max, caller_in_flight_max, caller_per_second, readers, keys_kept_ms,
        keys_prune_every_ms, drain_ms;
    bool access_log;
    const char *log_format;
    const char *events_url, *nats_url, *nats_stream, *nats_prefix, *nats_credentials_file,
        *nats_ca_file, *nats_certificate_file, *nats_key_file;
    int64_t relay_every_ms, relay_takeover_ms, events_keep_ms, events_prune_every_ms,
        events_backlog_max, nats_replicas, nats_keep_ms, nats_attempts;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_url, NULL, "where to serve RPC: ipc:///path or tcp://host:port"),
    CONF_ROW_TEXT(key_file, NULL, "this service's key pair"),
    CONF_ROW_TEXT(callers_file, NULL, "authorized callers: name, public key, methods"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services it calls"),
    CONF_ROW_TEXT(inventory_addresses, NULL, "nng URLs of inventory, with commas"),
    CONF_ROW_TEXT(payment_addresses, NULL, "nng URLs of payment, with commas"),
    CONF_ROW_SECRET(database_url, "libpq URL of the orders database"),
    CONF_ROW_NUMBER(
        lease_ms, "10000", 500, 600000,
        "silence after which an owner's checkout is taken over, milliseconds"),
    CONF_ROW_NUMBER(
        recover_every_ms, "1000", 10, 60000,
        "how often expired leases are checked, milliseconds; less often while none runs "
        "here, but once per lease"),
    CONF_ROW_NUMBER(step_timeout_ms, "5000", 50, 60000,
                    "how long one attempt at a step may take, milliseconds"),
    CONF_ROW_NUMBER(give_up_ms, "30000", 100, 3600000,
                    "age at which a failing checkout is aborted, milliseconds"),
    CONF_ROW_NUMBER(attention_after, "10", 1, 1000000,
                    "failed attempts to undo a step before it needs an operator"),
    CONF_ROW_NUMBER(in_flight_max, "4096", 1, 65536, "requests and checkouts at once"),
    RUNTIME_ROWS_LIMITS,
    RUNTIME_ROW_ACCESS_LOG,
    RUNTIME_ROW_LOG_FORMAT,
    RUNTIME_ROWS_TLS,
    RUNTIME_ROW_DRAIN,
    CONF_ROW_NUMBER(keys_kept_ms, "259200000", 1000, 31536000000,
                    "how long a finished checkout's key is kept; 72 hours, milliseconds"),
    CONF_ROW_NUMBER(keys_prune_every_ms, "60000", 10, 3600000,
                    "how often older keys are deleted, milliseconds"),
    CONF_ROW_NUMBER(readers, "2", 1, 16, "database connections for read-only queries"),
    CONF_ROW_TEXT(events_url, "",
                  "address for live listeners to events: ipc:///path; or none"),
    CONF_ROW_NUMBER(
        relay_every_ms, "25", 1, 60000,
        "poll interval for new events, milliseconds; grows while there are none, up to "
        "seven tenths of relay_takeover_ms"),
    CONF_ROW_NUMBER(relay_takeover_ms, "5000", 500, 600000,
                    "silence after which another replica relays events, milliseconds"),
    CONF_ROW_NUMBER(events_keep_ms, "1209600000", 1000, 315360000000,
                    "how long published events are kept, milliseconds"),
    CONF_ROW_NUMBER(events_prune_every_ms, "60000", 10, 86400000,
                    "how often older events are deleted, milliseconds"),
    CONF_ROW_NUMBER(events_backlog_max, "10000", 1, 1000000000,
                    "events waiting for the relay, above which the health check fails"),
    {"nats_url", CONF_SECRET, offsetof(struct settings, nats_url), "", 0, 0,
     "NATS servers that events are published to, with commas; or none"},
    CONF_ROW_TEXT(nats_stream, "CHECKOUT",
                  "JetStream stream of events, created if missing"),
    CONF_ROW_TEXT(nats_prefix, "checkout",
                  "subjects are this, a dot, and the event's type"),
    CONF_ROW_TEXT(nats_credentials_file, "", "NATS .creds file, or none"),
    CONF_ROW_TEXT(nats_ca_file, "",
                  "CAs that NATS servers are checked with: turns TLS on"),
    CONF_ROW_TEXT(nats_certificate_file, "", "our certificate for NATS, or none"),
    CONF_ROW_TEXT(nats_key_file, "", "and its key"),
    CONF_ROW_NUMBER(nats_replicas, "1", 1, 5, "of a stream that is made"),
    CONF_ROW_NUMBER(nats_keep_ms, "1209600000", 0, 315360000000,
                    "how long a stream keeps events, at least, milliseconds; 0: forever"),
    CONF_ROW_NUMBER(nats_attempts, "10", 1, 1000000,
                    "attempts at an event that NATS refuses while it stores others"),
};

static const struct conf_table TABLE = {
    .program = "orchestrator",
    .summary = "turns carts into orders: claim, reserve, charge, confirm, persist",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

enum {
    EXPIRE_WAITERS_EVERY_MS = 50,
    LOOK_FOR_EVENTS_EVERY_MS = 20,
    STEP_SPARE_MS = 5000,
    EVENTS_STOP_MS = 15000, /* for the relay's statement and the bus's acknowledgements */
};

struct environment {
    struct settings settings;
    struct runtime runtime;
    struct principals *services;
    struct db *db;
    struct channel *inventory, *payment;
    struct sagas *sagas;
    struct orchestrator orchestrator;
    struct bus_local *bus_local;
    struct bus_nats *bus_nats;
    struct sequencer *sequencer;
    struct feed *feed;
    struct events_service events;
    struct pruning pruning;
    struct worker *expirer, *recoverer, *pruner;
    struct follow *follow; /* updates the channels' keys from the services' file */
};

static const char CURSORS[] = "orders.cursor"; /* of key_derive */

static struct err health(void *arg)
{
    const struct environment *env = arg;

    return db_health(env->db);
}

/* Orders do not depend on the relay, so it is a health part of its own. */
static size_t health_parts(void *arg, struct rpc_health_part *parts)
{
    const struct environment *env = arg;
    struct sequencer_health relay = sequencer_health(env->sequencer);
    size_t count = 0;

    parts[count++] = (struct rpc_health_part){"events", relay.events};
    if (env->bus_nats != NULL)
        parts[count++] = (struct rpc_health_part){"nats", relay.nats};
    return count;
}

static struct err open_database(struct environment *env)
{
    struct db_config config = {
        .url = env->settings.database_url,
        .name = "orchestrator",
        .queue_max = 2 * (size_t)env->settings.in_flight_max + 1024,
        .batch_max = 512,
        .readers = (size_t)env->settings.readers,
        .metrics = env->runtime.metrics,
    };

    orchestrator_configure(&config);
    return db_open(&config, &env->db);
}

static struct err open_channel(struct environment *env, const char *service,
                               const char *addresses, struct channel **out)
{
    const struct channel_config config = {
        .service = service,
        .addresses = addresses,
        .key = env->runtime.key,
        .services = env->services,
        .in_flight_max = (size_t)env->settings.in_flight_max,
        .tls = {env->settings.tls_cert, env->settings.tls_key, env->settings.tls_ca},
        .metrics = env->runtime.metrics,
    };

    return channel_open(&config, out);
}

static struct err use_services(void *arg, const struct principals *services)
{
    struct environment *env = arg;
    struct err e = channel_set_services(env->inventory, services);

    return failed(e) ? e : channel_set_services(env->payment, services);
}

static struct err follow_services(struct environment *env)
{
    return follow_start(&(struct follow_config){.path = env->settings.services_file,
                                                .key = env->runtime.key,
                                                .settle_ms = FOLLOW_SETTLE_MS,
                                                .use = use_services,
                                                .arg = env},
                        &env->follow);
}

static struct err use_certificates(void *arg, const struct tls_pem *pem)
{
    const struct environment *env = arg;
    struct err e = channel_set_tls(env->inventory, pem);

    return failed(e) ? e : channel_set_tls(env->payment, pem);
}

static int64_t count_sagas(void *sagas)
{
    return (int64_t)(sagas_config(sagas)->most - sagas_room(sagas));
}

/* Wakes the background tasks that have something to do. */
static void on_work(void *arg)
{
    struct environment *env = arg;

    worker_reset_backoff(env->expirer);
    worker_reset_backoff(env->recoverer);
}

static void on_order(void *arg)
{
    struct environment *env = arg;

    sequencer_wake(env->sequencer);
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
        /* Calls that wait for a checkout must leave room for other calls. */
        .most = (size_t)env->settings.in_flight_max * 3 / 4 + 1,
        .on_work = on_work,
        .on_order = on_order,
        .arg = env,
    };

    config.steps = steps_of_checkout(&config.step_count);
    struct err e = sagas_open(&config, &env->sagas);
    if (!failed(e))
        metrics_gauge_read(env->runtime.metrics, "sagas_running", "", count_sagas,
                           env->sagas);
    return e;
}

/* The recoverer starts last, because its sagas wake the others. */
static struct err start_workers(struct environment *env)
{
    /* Often enough to renew the leases of the sagas here, too. */
    int64_t quarter = env->settings.lease_ms / 4,
            every_ms = env->settings.recover_every_ms;

    if (every_ms > quarter)
        every_ms = quarter;
    env->pruning = (struct pruning){env->db, env->settings.keys_kept_ms};
    struct err e = worker_start("pruner", env->settings.keys_prune_every_ms,
                                prune_checkouts, &env->pruning, &env->pruner);
    if (!failed(e))
        e = worker_start_with_backoff("expirer", EXPIRE_WAITERS_EVERY_MS,
                                      sagas_expire_waiters, env->sagas, &env->expirer);
    if (!failed(e))
        e = worker_start_with_backoff("recoverer", every_ms, recovery_run, env->sagas,
                                      &env->recoverer);
    return e;
}

static struct err open_nats(struct environment *env)
{
    const struct settings *s = &env->settings;
    const struct bus_nats_config config = {
        .url = s->nats_url,
        .stream = s->nats_stream,
        .prefix = s->nats_prefix,
        .replicas = s->nats_replicas,
        .keep_ms = s->nats_keep_ms,
        .credentials_file = s->nats_credentials_file,
        .ca_file = s->nats_ca_file,
        .certificate_file = s->nats_certificate_file,
        .key_file = s->nats_key_file,
    };

    return bus_nats_open(&config, &env->bus_nats);
}

/* The buses, the relay, and the feed for readers. */
static struct err start_events(struct environment *env)
{
    const struct settings *s = &env->settings;
    struct err e = feed_open(env->db, LOOK_FOR_EVENTS_EVERY_MS,
                             (size_t)s->in_flight_max / 8 + 1, &env->feed);
    if (!failed(e) && s->events_url[0] != '\0')
        e = bus_local_open(s->events_url, &env->bus_local);
    if (!failed(e) && s->nats_url[0] != '\0')
        e = open_nats(env);
    const struct sequencer_config config = {
        .database_url = s->database_url,
        .owner = sagas_owner(env->sagas),
        .every_ms = s->relay_every_ms,
        .takeover_ms = s->relay_takeover_ms,
        .keep_ms = s->events_keep_ms,
        .prune_every_ms = s->events_prune_every_ms,
        .backlog_max = s->events_backlog_max,
        .local = env->bus_local,
        .nats_attempts = s->nats_attempts,
        .nats = env->bus_nats,
        .on_relay = feed_relay,
        .on_placed = feed_placed,
        .arg = env->feed,
        .metrics = env->runtime.metrics,
    };
    return failed(e) ? e : sequencer_start(&config, &env->sequencer);
}

static struct err serve(struct environment *env, const struct runtime_settings *rpc)
{
    const uint8_t *cursor_key = runtime_derive(&env->runtime, CURSORS);

    if (cursor_key == NULL)
        return err_memory();
    orchestrator_init(&env->orchestrator, env->db, env->sagas, cursor_key);
    events_service_init(&env->events, env->db, env->feed, env->bus_nats != NULL);
    ProtobufCService *const services[] = {&env->orchestrator.service.base,
                                          &env->events.service.base};
    env->runtime.health_parts = health_parts;
    struct err e = runtime_serve_all(&env->runtime, rpc, services, 2, health, env);
    return failed(e) ? e : runtime_follow_tls(&env->runtime, rpc, use_certificates, env);
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
        e = principals_read(s->services_file, false, env->runtime.key, &env->services);
    if (!failed(e))
        e = open_database(env);
    if (!failed(e))
        e = open_channel(env, "inventory", s->inventory_addresses, &env->inventory);
    if (!failed(e))
        e = open_channel(env, "payment", s->payment_addresses, &env->payment);
    if (!failed(e))
        e = follow_services(env);
    if (!failed(e))
        e = open_sagas(env);
    if (!failed(e))
        e = start_events(env);
    if (!failed(e))
        e = start_workers(env);
    return failed(e) ? e : serve(env, &rpc);
}

/* From now on the same key that a newly started replica derives. */
static void renew_cursors(struct environment *env)
{
    const uint8_t *key = runtime_derive(&env->runtime, CURSORS);

    if (key != NULL)
        env->orchestrator.cursor_key = key;
}

static void reload(void *arg)
{
    struct environment *env = arg;

    if (runtime_reload(&env->runtime))
        renew_cursors(env);
    follow_now(env->follow, env->runtime.key);
}

/* How long a checkout may take to finish its step: one attempt, and a statement. */
static int64_t step_ms(const struct environment *env)
{
    return env->settings.step_timeout_ms + STEP_SPARE_MS;
}

static int64_t stop_ms(const void *arg)
{
    const struct environment *env = arg;

    return env->settings.drain_ms + step_ms(env) + EVENTS_STOP_MS;
}

/*
 * Running calls get their answers if these come in time; sagas finish their step and
 * end.  The unfinished checkouts are durable, and are taken over when their leases
 * expire.
 */
static bool stop(void *arg)
{
    struct environment *env = arg;

    feed_stop(env->feed); /* first: a parked call would hold up the stop */
    bool whole = runtime_stop_serving(&env->runtime, env->settings.drain_ms);
    sagas_unsubscribe(env->sagas);
    sequencer_stop(env->sequencer);
    bus_local_close(env->bus_local);
    bus_nats_close(env->bus_nats);
    worker_stop(env->pruner);
    worker_stop(env->recoverer);
    worker_stop(env->expirer);
    metrics_forget(env->runtime.metrics, env->sagas);
    if (!sagas_stop(env->sagas, step_ms(env)))
        _exit(EXIT_FAILURE); /* running sagas use what would be freed below */
    follow_stop(env->follow);
    channel_close(env->inventory);
    channel_close(env->payment);
    db_close(env->db);
    feed_free(env->feed);
    principals_free(env->services);
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
