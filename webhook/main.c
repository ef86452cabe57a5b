/*
 * main.c - the webhook sender: posts every event to the configured URLs, as
 * https://www.standardwebhooks.com describes.  One thread an endpoint; see sender.h.  At SIGHUP
 * the list of endpoints is read anew.  For operators it serves health, reflection and metrics
 * by RPC, as every service does.
 */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
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
#include "rpc/service/runtime.h"
#include "webhook/roster.h"

enum {
    SENDERS_STOP_MS = 15000, /* above the time of a commit; waits are ended */
    STATE_SETTLE_MS = 200,   /* between two looks at what is asked for */
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
                  "folder of what is pending, and of the dead-letter lists"),
    CONF_ROW_NUMBER(timeout_ms, "15000", 10, 120000, "of one delivery, milliseconds"),
    CONF_ROW_NUMBER(retry_first_ms, "5000", 10, 3600000,
                    "until the second attempt, milliseconds; then doubling"),
    CONF_ROW_NUMBER(retry_most_ms, "900000", 10, 86400000, "up to so many milliseconds"),
    CONF_ROW_NUMBER(give_up_ms, "259200000", 0, 2592000000,
                    "age at which an event is given up, milliseconds: three days"),
    CONF_ROW_NUMBER(backlog_max, "500", 1, 1000,
                    "events pending for one endpoint, past which health tells of it"),
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

struct environment {
    struct settings settings;
    struct runtime runtime; /* our key, what is counted, and the RPC server */
    struct principals *services;
    struct channel *channel;
    struct self_watch *self_watch;
    struct follow *follow; /* keeps the channel's key as the services' file is */
    struct roster roster;
    struct file_watch *notice; /* of what is asked for in the state folder */
    char state_path[520];      /* some name in it */
};

/* One process a state folder, for as long as it lives; the file tells which (checkoutctl
 * webhooks reload). */
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

/* The list as its file has it. */
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

    env->roster.common = (struct sender_config){
        .channel = env->channel,
        .state_dir = s->state_dir,
        .timeout_ms = s->timeout_ms,
        .retry_first_ms = s->retry_first_ms,
        .retry_most_ms = s->retry_most_ms,
        .give_up_ms = s->give_up_ms,
        .backlog_max = s->backlog_max,
    };
    return roster_set(&env->roster, endpoints);
}

static bool look_into_state(void *roster, bool asked)
{
    (void)asked;
    roster_look(roster);
    return false;
}

static struct err notice_state(struct environment *env)
{
    snprintf(env->state_path, sizeof env->state_path, "%s/lock", env->settings.state_dir);
    return file_watch_start(&(struct file_watch_config){.name = "state",
                                                        .paths = {env->state_path},
                                                        .settle_ms = STATE_SETTLE_MS,
                                                        .look = look_into_state,
                                                        .arg = &env->roster},
                            &env->notice);
}

/* Whether events are read and kept: without that no endpoint gets any. */
static struct err health(void *arg)
{
    struct environment *env = arg;

    if (!channel_connected(env->channel))
        return err_make(ERR_UNAVAILABLE, "no connection to the orchestrator");
    return roster_source_health(&env->roster);
}

static size_t health_parts(void *arg, struct rpc_health_part *parts)
{
    struct environment *env = arg;

    return roster_health_parts(&env->roster, parts);
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
            ? self_watch_start(&env->self_watch) /* else the server's watch sees to it */
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

static void read_endpoints_again(struct environment *env)
{
    struct endpoints *endpoints = NULL;
    struct err e = read_endpoints(&env->settings, &endpoints);

    if (failed(e))
        log_line(LOG_ERROR, "endpoints_not_read_again",
                 "error=%s note=\"those that run go on as they are\"", e.message);
    else if (failed(e = roster_set(&env->roster, endpoints)))
        log_line(LOG_ERROR, "endpoints_not_all_started", "error=%s", e.message);
    else
        log_info("endpoints_read_again", "path=%s endpoints=%zu",
                 env->settings.endpoints_file, env->roster.count);
    free_endpoints(endpoints);
}

static void reload(void *arg)
{
    struct environment *env = arg;

    runtime_reload(&env->runtime);
    follow_now(env->follow, env->runtime.key);
    read_endpoints_again(env);
}

/* A sender ends the delivery under way, which is repeated, and its call for events. */
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
    roster_stop(&env->roster);
    follow_stop(env->follow);
    self_watch_stop(env->self_watch);
    if (env->channel != NULL)
        channel_close(env->channel);
    principals_free(env->services);
    runtime_close(&env->runtime);
    curl_global_cleanup();
    return true; /* what was not received is pending, on disk */
}

int main(int argc, char **argv)
{
    static struct environment env = {.roster.lock = PTHREAD_MUTEX_INITIALIZER};

    return runtime_main(&(struct runtime_program){&TABLE, &env.settings, &env, start,
                                                  reload, stop, stop_ms},
                        argc, argv);
}
