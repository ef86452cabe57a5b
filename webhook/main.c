/*
 * main.c - the webhook sender: posts every event to the configured URLs, as
 * https://www.standardwebhooks.com specifies.
 *
 * Each endpoint has a thread of its own (sender.h).  SIGHUP reloads the list of
 * endpoints.  Like every service it serves health, reflection and metrics by RPC.
 */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/program/file.h"
#include "rpc/auth/reload.h"
#include "rpc/nng_defects/nng_defects.h"
#include "rpc/server/server.h"
#include "rpc/service/runtime.h"
#include "webhook/endpoints.h"
#include "webhook/sender.h"

enum {
    SENDERS_STOP_MS = 15000, /* longer than a commit; waits end at once */
    STATE_SETTLE_MS = 200, /* least time between two checks for an operator's requests */
};

enum { RPC_IN_FLIGHT_MAX = 64, RPC_DRAIN_MS = 1000 };

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *rpc_url, *callers_file;
    const char *orchestrator_addresses, *key_file, *services_file, *endpoints_file,
        *state_dir;
    int64_t timeout_ms, retry_first_ms, retry_most_ms, give_up_ms, backlog_max;
    bool allow_http;
    const char *log_format;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(rpc_url, "",
                  "where to serve health and metrics by RPC: ipc:///path or "
                  "tcp://host:port; empty: nowhere"),
    CONF_ROW_TEXT(callers_file, "",
                  "with rpc_url: authorized callers: name, public key, methods"),
    RUNTIME_ROWS_TLS,
    CONF_ROW_TEXT(orchestrator_addresses, NULL,
                  "nng URLs of the orchestrator, with commas"),
    CONF_ROW_TEXT(key_file, NULL, "our key pair"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services we call"),
    CONF_ROW_TEXT(endpoints_file, NULL, "lines NAME URL SECRET_FILE [TYPE ...]"),
    CONF_ROW_TEXT(state_dir, NULL,
                  "folder of the pending events and the dead-letter lists"),
    CONF_ROW_NUMBER(timeout_ms, "15000", 10, 120000, "of one delivery, milliseconds"),
    CONF_ROW_NUMBER(
        retry_first_ms, "5000", 10, 3600000,
        "delay before the second attempt, milliseconds; it doubles each time"),
    CONF_ROW_NUMBER(retry_most_ms, "900000", 10, 86400000,
                    "longest delay between attempts, milliseconds"),
    CONF_ROW_NUMBER(give_up_ms, "259200000", 0, 2592000000,
                    "age at which an event is given up, milliseconds: three days"),
    CONF_ROW_NUMBER(backlog_max, "500", 1, 1000,
                    "more pending events than this make an endpoint NOT_SERVING"),
    {"allow_http", CONF_FLAG, offsetof(struct settings, allow_http), "false", 0, 0,
     "allow http:// to other machines: for tests only"},
    RUNTIME_ROW_LOG_FORMAT,
};

static const struct conf_table TABLE = {
    .program = "webhook",
    .summary = "posts events to configured URLs, signed, until they are received",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

/* ---- the senders ------------------------------------------------------------------- */

struct entry {
    struct endpoint endpoint; /* borrowed by the sender */
    struct sender *sender;
};

/* The running senders, one for each endpoint of the list.  When the list changes, senders
 * of removed or changed endpoints (another URL or secret) stop, new ones start, and all
 * others keep running.  Pending events of a removed endpoint stay in its files. */
struct senders {
    struct sender_config common; /* everything except the endpoint; set it first */
    pthread_mutex_t lock;        /* guards the entries against senders_check_requests */
    struct entry *entries[ENDPOINTS_MAX];
    size_t count;
};

static bool same(const struct endpoint *a, const struct endpoint *b)
{
    return memcmp(a, b, sizeof *a) == 0; /* endpoints_read zeroes the padding */
}

static bool wanted(const struct endpoints *endpoints, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (same(&endpoints->items[i], endpoint))
            return true;
    return false;
}

static bool runs(const struct senders *senders, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < senders->count; i++)
        if (same(&senders->entries[i]->endpoint, endpoint))
            return true;
    return false;
}

static void end(struct entry *entry)
{
    sender_join(entry->sender);
    log_info("sender_stopped", "endpoint=%s", entry->endpoint.name);
    sodium_memzero(&entry->endpoint, sizeof entry->endpoint);
    free(entry);
}

/* Stops the senders of endpoints that are not listed: signals all, then waits for
 * each. */
static void stop_unlisted(struct senders *senders, const struct endpoints *endpoints)
{
    struct entry *ending[ENDPOINTS_MAX];
    size_t kept = 0, count = 0;

    pthread_mutex_lock(&senders->lock);
    for (size_t i = 0; i < senders->count; i++)
        if (wanted(endpoints, &senders->entries[i]->endpoint))
            senders->entries[kept++] = senders->entries[i];
        else
            ending[count++] = senders->entries[i];
    senders->count = kept;
    pthread_mutex_unlock(&senders->lock);
    for (size_t i = 0; i < count; i++)
        sender_stop(ending[i]->sender);
    for (size_t i = 0; i < count; i++)
        end(ending[i]);
}

static struct err begin(struct senders *senders, const struct endpoint *endpoint)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return err_memory();
    memcpy(&entry->endpoint, endpoint, sizeof *endpoint); /* with padding: see same() */
    struct sender_config config = senders->common;
    config.endpoint = &entry->endpoint;
    struct err e = sender_start(&config, &entry->sender);
    pthread_mutex_lock(&senders->lock);
    if (!failed(e))
        senders->entries[senders->count++] = entry;
    pthread_mutex_unlock(&senders->lock);
    if (failed(e))
        free(entry);
    return e;
}

/* Runs exactly the senders of the list (copied).  Waits for those that stop, each at
 * most as long as one call for events.  On failure some could not be started; the
 * others run. */
static struct err senders_set(struct senders *senders, const struct endpoints *endpoints)
{
    struct err first = ERR_NONE;

    stop_unlisted(senders, endpoints);
    for (size_t i = 0; i < endpoints->count; i++) {
        if (runs(senders, &endpoints->items[i]))
            continue;
        struct err e = begin(senders, &endpoints->items[i]);
        first = failed(first) ? first : e;
    }
    return first;
}

static void senders_check_requests(struct senders *senders)
{
    pthread_mutex_lock(&senders->lock);
    for (size_t i = 0; i < senders->count; i++)
        sender_check_requests(senders->entries[i]->sender);
    pthread_mutex_unlock(&senders->lock);
}

/* The error of the first sender that cannot read events or save pending ones; OK if
 * none. */
static struct err senders_source_health(struct senders *senders)
{
    struct err e = ERR_NONE;

    pthread_mutex_lock(&senders->lock);
    for (size_t i = 0; i < senders->count && !failed(e); i++)
        e = sender_health(senders->entries[i]->sender).source;
    pthread_mutex_unlock(&senders->lock);
    return e;
}

/* Each endpoint's health; `parts` has room for RPC_HEALTH_PARTS_MAX.  Returns how
 * many. */
static size_t senders_health_parts(struct senders *senders, struct rpc_health_part *parts)
{
    static_assert((int)ENDPOINTS_MAX <= (int)RPC_HEALTH_PARTS_MAX, "each is a part");
    pthread_mutex_lock(&senders->lock);
    const size_t count = senders->count;
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = senders->entries[i];
        snprintf(parts[i].name, sizeof parts[i].name, "%s", entry->endpoint.name);
        parts[i].health = sender_health(entry->sender).endpoint;
    }
    pthread_mutex_unlock(&senders->lock);
    return count;
}

static void senders_stop(struct senders *senders)
{
    const struct endpoints none = {.count = 0};

    stop_unlisted(senders, &none);
}

/* ---- the process ------------------------------------------------------------------- */

struct environment {
    struct settings settings;
    struct runtime runtime; /* our key, the metrics and the RPC server */
    struct principals *services;
    struct channel *channel;
    struct self_watch *self_watch;
    struct follow *follow; /* applies changes of services_file to the channel */
    struct senders senders;
    struct file_watch *notice; /* reports changes in the state folder */
    char state_path[520];      /* a file in that folder */
};

/* Only one process may use a state folder.  The lock file holds its pid, for `checkoutctl
 * webhooks reload`. */
static struct err lock_state(const char *folder)
{
    char path[512];

    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_make(ERR_UNAVAILABLE, "%s cannot be made: %s.", path, strerror(errno));
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return ftruncate(fd, 0) == 0 && dprintf(fd, "%ld\n", (long)getpid()) > 0
                   ? ERR_NONE /* kept open until the process ends */
                   : err_make(ERR_UNAVAILABLE, "%s cannot be written: %s.", path,
                              strerror(errno));
    close(fd);
    return err_make(ERR_FAILED_PRECONDITION, "Another process works in %s.", folder);
}

static struct runtime_settings runtime_settings(const struct settings *s)
{
    return (struct runtime_settings){
        .listen_url = s->rpc_url,
        .key_file = s->key_file,
        .callers_file = s->callers_file,
        .in_flight_max = RPC_IN_FLIGHT_MAX,
        .tls = {s->tls_cert, s->tls_key, s->tls_ca},
    };
}

static struct err open_channel(struct environment *env)
{
    const struct settings *s = &env->settings;
    struct runtime_settings rpc = runtime_settings(s);
    struct err e = runtime_open(&env->runtime, &rpc);

    if (!failed(e))
        e = principals_read(s->services_file, false, env->runtime.key, &env->services);
    if (failed(e))
        return e;
    const struct channel_config config = {
        .service = "orchestrator",
        .addresses = s->orchestrator_addresses,
        .key = env->runtime.key,
        .services = env->services,
        .in_flight_max = 2 * ENDPOINTS_MAX,
        .tls = {s->tls_cert, s->tls_key, s->tls_ca},
        .metrics = env->runtime.metrics,
    };
    return channel_open(&config, &env->channel);
}

static struct err use_services(void *channel, const struct principals *services)
{
    return channel_set_services(channel, services);
}

static struct err follow_services(struct environment *env)
{
    return follow_start(&(struct follow_config){.path = env->settings.services_file,
                                                .key = env->runtime.key,
                                                .settle_ms = FOLLOW_SETTLE_MS,
                                                .use = use_services,
                                                .arg = env->channel},
                        &env->follow);
}

static struct err use_certificates(void *arg, const struct tls_pem *pem)
{
    return channel_set_tls(((const struct environment *)arg)->channel, pem);
}

static struct err read_endpoints(const struct settings *s, struct endpoints **out)
{
    struct endpoints *endpoints = calloc(1, sizeof *endpoints);

    *out = endpoints;
    return endpoints == NULL
               ? err_memory()
               : endpoints_read(s->endpoints_file, s->allow_http, endpoints);
}

static void free_endpoints(struct endpoints *endpoints)
{
    if (endpoints != NULL)
        sodium_memzero(endpoints, sizeof *endpoints); /* secrets */
    free(endpoints);
}

static struct err start_senders(struct environment *env,
                                const struct endpoints *endpoints)
{
    const struct settings *s = &env->settings;

    env->senders.common = (struct sender_config){
        .channel = env->channel,
        .state_dir = s->state_dir,
        .timeout_ms = s->timeout_ms,
        .retry_first_ms = s->retry_first_ms,
        .retry_most_ms = s->retry_most_ms,
        .give_up_ms = s->give_up_ms,
        .backlog_max = s->backlog_max,
    };
    return senders_set(&env->senders, endpoints);
}

static bool on_state_change(void *senders, bool asked)
{
    (void)asked;
    senders_check_requests(senders);
    return false;
}

static struct err notice_state(struct environment *env)
{
    snprintf(env->state_path, sizeof env->state_path, "%s/lock", env->settings.state_dir);
    return file_watch_start(&(struct file_watch_config){.name = "state",
                                                        .paths = {env->state_path},
                                                        .settle_ms = STATE_SETTLE_MS,
                                                        .look = on_state_change,
                                                        .arg = &env->senders},
                            &env->notice);
}

/* Not serving if events cannot be read or saved, since then no endpoint receives any. */
static struct err health(void *arg)
{
    struct environment *env = arg;

    if (!channel_connected(env->channel))
        return err_make(ERR_UNAVAILABLE, "no connection to the orchestrator");
    return senders_source_health(&env->senders);
}

static size_t health_parts(void *arg, struct rpc_health_part *parts)
{
    struct environment *env = arg;

    return senders_health_parts(&env->senders, parts);
}

static struct err serve_rpc(struct environment *env)
{
    struct runtime_settings rpc = runtime_settings(&env->settings);

    if ((rpc.listen_url[0] == '\0') != (rpc.callers_file[0] == '\0'))
        return err_make(ERR_INVALID_ARGUMENT,
                        "rpc_url and callers_file go together; set both or none");
    env->runtime.health_parts = health_parts;
    struct err e =
        rpc.listen_url[0] == '\0'
            ? self_watch_start(&env->self_watch) /* a server has its own watch */
            : runtime_serve_all(&env->runtime, &rpc, NULL, 0, health, env);
    return failed(e) ? e : runtime_follow_tls(&env->runtime, &rpc, use_certificates, env);
}

static struct err start(void *arg)
{
    struct environment *env = arg;
    struct endpoints *endpoints = NULL;

    json_memory_watch();
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0)
        return err_memory();
    struct err e = read_endpoints(&env->settings, &endpoints);
    if (!failed(e))
        e = lock_state(env->settings.state_dir);
    if (!failed(e))
        e = open_channel(env);
    if (!failed(e))
        e = follow_services(env);
    if (!failed(e))
        e = start_senders(env, endpoints);
    if (!failed(e))
        e = notice_state(env);
    if (!failed(e))
        e = serve_rpc(env);
    free_endpoints(endpoints);
    return e;
}

static void reload_endpoints(struct environment *env)
{
    struct endpoints *endpoints = NULL;
    struct err e = read_endpoints(&env->settings, &endpoints);

    if (failed(e))
        log_line(LOG_ERROR, "endpoints_reload_failed",
                 "error=%s note=\"the running senders continue unchanged\"", e.message);
    else if (failed(e = senders_set(&env->senders, endpoints)))
        log_line(LOG_ERROR, "senders_start_failed", "error=%s", e.message);
    else
        log_info("endpoints_reloaded", "path=%s endpoints=%zu",
                 env->settings.endpoints_file, env->senders.count);
    free_endpoints(endpoints);
}

static void reload(void *arg)
{
    struct environment *env = arg;

    runtime_reload(&env->runtime);
    follow_now(env->follow, env->runtime.key);
    reload_endpoints(env);
}

/* A stopping sender aborts its delivery, which is repeated later, and its call for
 * events. */
static int64_t stop_ms(const void *arg)
{
    (void)arg;
    return SENDERS_STOP_MS;
}

static bool stop(void *arg)
{
    struct environment *env = arg;

    runtime_stop_serving(&env->runtime, RPC_DRAIN_MS);
    file_watch_stop(env->notice);
    senders_stop(&env->senders);
    follow_stop(env->follow);
    self_watch_stop(env->self_watch);
    if (env->channel != NULL)
        channel_close(env->channel);
    principals_free(env->services);
    runtime_close(&env->runtime);
    curl_global_cleanup();
    return true; /* events not received are pending, on disk */
}

int main(int argc, char **argv)
{
    static struct environment env = {.senders.lock = PTHREAD_MUTEX_INITIALIZER};

    return runtime_main(&(struct runtime_program){&TABLE, &env.settings, &env, start,
                                                  reload, stop, stop_ms},
                        argc, argv);
}
