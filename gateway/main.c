/*
 * main.c - the gateway: HTTP and JSON outside, RPC inside.
 *
 *      settings, keys -> channels -> serving -- SIGTERM --> draining -> exit 0 or 1
 *
 * It calls the orchestrator, the inventory and (for /healthz only) payment.  Draining, it
 * accepts no more connections and answers the running requests; the exit status is 1 when
 * a request had to be cut off.  For operators it serves health, reflection and metrics by
 * RPC, as every service does; while it drains its health is NOT_SERVING.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/contract/buckets.h"
#include "base/log.h"
#include "base/program/conf.h"
#include "base/program/file.h"
#include "gateway/auth/jwt.h"
#include "gateway/auth/key_source.h"
#include "gateway/http/admission.h"
#include "gateway/http/files.h"
#include "gateway/http/http.h"
#include "gateway/http/request.h"
#include "http/fetch.h"
#include "http/tls.h"
#include "rpc/auth/reload.h"
#include "rpc/client/channel.h"
#include "rpc/nng_defects/nng_defects.h"
#include "rpc/service/runtime.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca, *key_file, *services_file;
    const char *rpc_url, *callers_file, *log_format;
    const char *orchestrator_addresses, *inventory_addresses, *payment_addresses;
    const char *jwks_file, *jwks_url, *jwt_issuer, *jwt_audience;
    const char *user_claim, *user_namespace, *session_cookie;
    int64_t jwks_every_ms, jwks_stale_ms, token_bytes_max, tokens_max;
    const char *listen_address, *tls_cert_file, *tls_key_file, *cors_origins;
    int64_t port, connections_max, per_address_max;
    int64_t idle_timeout_ms, head_timeout_ms, transfer_timeout_ms, drain_delay_ms;
    int64_t place_timeout_ms, call_timeout_ms, calls_max, answers_max;
    int64_t user_rate, user_burst, users_max;
    const char *storefront_dir, *demo_token_file;
    bool access_log;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_address, "127.0.0.1", "numeric address to listen on"),
    CONF_ROW_NUMBER(port, "8080", 0, 65535, "TCP port; 0 takes a free one"),
    CONF_ROW_TEXT(rpc_url, "",
                  "where to serve health and metrics by RPC: ipc:///path or "
                  "tcp://host:port; empty: not at all"),
    CONF_ROW_TEXT(callers_file, "",
                  "with rpc_url: authorized callers: name, public key, methods"),
    CONF_ROW_TEXT(key_file, NULL, "our key pair"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services we call"),
    CONF_ROW_TEXT(orchestrator_addresses, NULL, "nng URLs, separated by commas"),
    CONF_ROW_TEXT(inventory_addresses, NULL, "nng URLs, separated by commas"),
    CONF_ROW_TEXT(payment_addresses, "",
                  "likewise, for /healthz only; empty: it is not checked"),
    RUNTIME_ROWS_TLS,
    CONF_ROW_TEXT(jwks_file, "", "keys that tokens are verified with: a JWKS file"),
    CONF_ROW_TEXT(jwks_url, "", "or where to fetch it from, by https"),
    CONF_ROW_NUMBER(jwks_every_ms, "10000", 50, 3600000,
                    "how often the keys are read again"),
    CONF_ROW_NUMBER(
        jwks_stale_ms, "300000", 50, 86400000,
        "alarm when no read of the keys has succeeded for so long; above jwks_every_ms"),
    CONF_ROW_TEXT(jwt_issuer, NULL, "the iss a token must have"),
    CONF_ROW_TEXT(jwt_audience, NULL, "the aud a token must have"),
    CONF_ROW_TEXT(user_claim, "sub", "the claim of a token that names the user"),
    CONF_ROW_TEXT(user_namespace, "",
                  "a UUID; a name that is no UUID becomes one under it (UUIDv5); empty: "
                  "such names are refused"),
    CONF_ROW_NUMBER(token_bytes_max, "8192", 512, 24576, "bytes a token may have"),
    CONF_ROW_NUMBER(place_timeout_ms, "10000", 100, 60000,
                    "how long placing an order may take"),
    CONF_ROW_NUMBER(call_timeout_ms, "5000", 100, 60000,
                    "how long another call may take"),
    CONF_ROW_NUMBER(drain_delay_ms, "0", 0, 600000,
                    "when stopping: how long /healthz says 503 before the port closes"),
    CONF_ROW_NUMBER(calls_max, "4096", 1, 65536,
                    "calls in flight to one service; above it 503"),
    CONF_ROW_NUMBER(
        connections_max, "4096", 1, 65536,
        "connections in all; at the limit new clients queue and idle connections are "
        "closed"),
    CONF_ROW_NUMBER(
        per_address_max, "1024", 1, 65536,
        "connections from one address; more are answered 429; when 64 wait for "
        "that, closed without a byte (metric http_server_dropped)"),
    CONF_ROW_NUMBER(idle_timeout_ms, "30000", 100, 3600000,
                    "from connecting, or an answer, to the next request"),
    CONF_ROW_NUMBER(head_timeout_ms, "10000", 100, 3600000,
                    "from a request's first byte to its whole head"),
    CONF_ROW_NUMBER(transfer_timeout_ms, "15000", 100, 3600000,
                    "to send a body, or to take an answer"),
    CONF_ROW_NUMBER(answers_max, "16384", 4, 1048576,
                    "answers of orders in the response cache"),
    CONF_ROW_NUMBER(tokens_max, "16384", 4, 1048576, "verified tokens remembered"),
    CONF_ROW_TEXT(session_cookie, "session", "name of the cookie that may carry a token"),
    CONF_ROW_NUMBER(user_rate, "200", 1, 1000000, "requests a second one user may make"),
    CONF_ROW_NUMBER(user_burst, "400", 1, 1000000, "and at once; above both 429"),
    CONF_ROW_NUMBER(users_max, "65536", 4, 1048576, "users counted separately for that"),
    CONF_ROW_TEXT(
        cors_origins, "",
        "origins whose pages may read answers, separated by commas; empty: none"),
    CONF_ROW_TEXT(tls_cert_file, "",
                  "PEM certificate chain, read again when it changes; empty: plain HTTP"),
    CONF_ROW_TEXT(tls_key_file, "", "PEM private key of the certificate"),
    CONF_ROW_FLAG(access_log, "true", "one log line a request: true or false"),
    RUNTIME_ROW_LOG_FORMAT,
    CONF_ROW_TEXT(storefront_dir, "", "folder of the shop page; empty: there is none"),
    CONF_ROW_TEXT(demo_token_file, "",
                  "DEVELOPMENT ONLY: everyone who opens the page gets this token"),
};

static const struct conf_table SETTINGS_TABLE = {
    .program = "gateway",
    .summary = "the HTTP edge of the checkout",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};

enum { RPC_IN_FLIGHT_MAX = 64, RPC_DRAIN_MS = 1000 };

/* Everything that serving needs, in the order of opening. */
struct parts {
    struct settings settings;
    struct runtime runtime; /* our key, the metrics, and the RPC server */
    struct principals *services;
    struct gateway gateway;
    bool fetching; /* libcurl was started */
    struct http_tls *tls;
    struct http *http;
    struct follow *follow; /* reloads services_file */
    struct self_watch *self_watch;
    bool serving; /* start has succeeded */
};

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

static struct err open_keys(const struct settings *s, struct parts *p)
{
    struct jwt_config jwt = {
        .issuer = s->jwt_issuer,
        .audience = s->jwt_audience,
        .user_claim = s->user_claim,
        .user_namespace = s->user_namespace,
        .token_max = (size_t)s->token_bytes_max,
        .remembered_max = (size_t)s->tokens_max,
    };
    struct key_source_config keys = {
        .file = s->jwks_file,
        .url = s->jwks_url,
        .every_ms = s->jwks_every_ms,
        .stale_ms = s->jwks_stale_ms,
    };
    struct runtime_settings rpc = runtime_settings(s);
    struct err e = runtime_open(&p->runtime, &rpc);

    if (!failed(e))
        e = principals_read(s->services_file, false, p->runtime.key, &p->services);
    if (!failed(e))
        e = jwt_open(&jwt, &p->gateway.jwt);
    if (!failed(e))
        e = fetch_start();
    p->fetching = !failed(e);
    keys.metrics = p->runtime.metrics;
    if (!failed(e))
        e = key_source_open(&keys, p->gateway.jwt, &p->gateway.key_source);
    return e;
}

static struct err open_tables(const struct settings *s, struct parts *p)
{
    struct err e =
        response_cache_open((size_t)s->answers_max, &p->gateway.response_cache);

    if (!failed(e))
        e = buckets_open((size_t)s->users_max, s->user_rate, s->user_burst,
                         &p->gateway.buckets);
    return e;
}

static struct err open_files(const struct settings *s, struct parts *p)
{
    struct files_config config = {
        .folder = s->storefront_dir,
        .demo_token_file = s->demo_token_file,
        .listen_address = s->listen_address,
        .cookie = s->session_cookie,
    };

    return files_open(&config, &p->gateway.files);
}

static struct err open_channel(const struct settings *s, const struct parts *p,
                               const char *service, const char *addresses,
                               struct channel **out)
{
    struct channel_config config = {
        .service = service,
        .addresses = addresses,
        .key = p->runtime.key,
        .services = p->services,
        .in_flight_max = (size_t)s->calls_max,
        .tls = {s->tls_cert, s->tls_key, s->tls_ca},
        .metrics = p->runtime.metrics,
    };

    return channel_open(&config, out);
}

static struct err use_services(void *arg, const struct principals *services)
{
    struct parts *p = arg;
    struct err e = channel_set_services(p->gateway.orchestrator, services);

    if (!failed(e))
        e = channel_set_services(p->gateway.inventory, services);
    if (!failed(e) && p->gateway.payment != NULL)
        e = channel_set_services(p->gateway.payment, services);
    return e;
}

static struct err follow_services(const struct settings *s, struct parts *p)
{
    return follow_start(&(struct follow_config){.path = s->services_file,
                                                .key = p->runtime.key,
                                                .settle_ms = FOLLOW_SETTLE_MS,
                                                .use = use_services,
                                                .arg = p},
                        &p->follow);
}

static struct err use_certificates(void *arg, const struct tls_pem *pem)
{
    const struct parts *p = arg;
    struct err e = channel_set_tls(p->gateway.orchestrator, pem);

    if (!failed(e))
        e = channel_set_tls(p->gateway.inventory, pem);
    if (!failed(e) && p->gateway.payment != NULL)
        e = channel_set_tls(p->gateway.payment, pem);
    return e;
}

static struct err open_tls(const struct settings *s, struct parts *p)
{
    if ((s->tls_cert_file[0] == '\0') != (s->tls_key_file[0] == '\0'))
        return err_make(ERR_INVALID_ARGUMENT,
                        "tls_cert_file and tls_key_file go together; set both or none");
    if (s->tls_cert_file[0] == '\0')
        return ERR_NONE;
    return http_tls_open(s->tls_cert_file, s->tls_key_file, HTTP_TLS_SETTLE_MS, &p->tls);
}

static struct err start_http(const struct settings *s, struct parts *p)
{
    struct http_config config = {
        .address = s->listen_address,
        .port = (uint16_t)s->port,
        .connections_max = (unsigned)s->connections_max,
        .per_address_max = (unsigned)s->per_address_max,
        .idle_timeout_ms = s->idle_timeout_ms,
        .head_timeout_ms = s->head_timeout_ms,
        .transfer_timeout_ms = s->transfer_timeout_ms,
        .metrics = p->runtime.metrics,
    };

    p->gateway.routes = &ROUTES;
    p->gateway.place_timeout_ms = s->place_timeout_ms;
    p->gateway.call_timeout_ms = s->call_timeout_ms;
    p->gateway.access_log = s->access_log;
    p->gateway.session_cookie = s->session_cookie;
    p->gateway.cors_origins = s->cors_origins;
    struct err e = open_tls(s, p);
    config.tls = p->tls;
    return failed(e) ? e : http_start(&config, &p->gateway, &p->http);
}

/* Whether orders can be forwarded: checks only the connections, makes no call. */
static struct err health(void *arg)
{
    const struct parts *p = arg;

    if (http_retired(p->http))
        return err_make(ERR_UNAVAILABLE, "stopping: answers what runs, accepts no more");
    if (!channel_connected(p->gateway.orchestrator))
        return err_make(ERR_UNAVAILABLE, "no connection to the orchestrator");
    if (!channel_connected(p->gateway.inventory))
        return err_make(ERR_UNAVAILABLE, "no connection to the inventory");
    return ERR_NONE;
}

static struct err serve_rpc(const struct settings *s, struct parts *p)
{
    struct runtime_settings rpc = runtime_settings(s);

    if ((s->rpc_url[0] == '\0') != (s->callers_file[0] == '\0'))
        return err_make(ERR_INVALID_ARGUMENT,
                        "rpc_url and callers_file go together; set both or none");
    struct err e = s->rpc_url[0] == '\0'
                       ? ERR_NONE
                       : runtime_serve_all(&p->runtime, &rpc, NULL, 0, health, p);
    return failed(e) ? e : runtime_follow_tls(&p->runtime, &rpc, use_certificates, p);
}

/* A connection is a file; the usual soft limit of 1024 is too low. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("file_limit_not_raised",
                 "reason=\"the limit of open files cannot be raised\"");
}

static struct err open_channels(const struct settings *s, struct parts *p)
{
    struct gateway *g = &p->gateway;
    struct err e =
        open_channel(s, p, "orchestrator", s->orchestrator_addresses, &g->orchestrator);

    if (!failed(e))
        e = open_channel(s, p, "inventory", s->inventory_addresses, &g->inventory);
    if (!failed(e) && s->payment_addresses[0] != '\0')
        e = open_channel(s, p, "payment", s->payment_addresses, &g->payment);
    return e;
}

/* With an RPC server, the server's watch does this. */
static struct err start_pulse(const struct settings *s, struct parts *p)
{
    return s->rpc_url[0] == '\0' ? self_watch_start(&p->self_watch) : ERR_NONE;
}

static struct err start(void *arg)
{
    static struct err (*const STEPS[])(const struct settings *s, struct parts *p) = {
        open_keys,       open_tables, open_files, open_channels,
        follow_services, start_pulse, start_http, serve_rpc,
    };
    struct parts *p = arg;
    const struct settings *s = &p->settings;

    raise_file_limit();
    if (sodium_init() < 0)
        return err_make(ERR_INTERNAL, "libsodium cannot start: no randomness");
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        struct err e = STEPS[i](s, p);
        if (failed(e))
            return e;
    }
    log_info("serving", "address=%s port=%u", s->listen_address, http_port(p->http));
    p->serving = true;
    return ERR_NONE;
}

static void reload(void *arg)
{
    struct parts *p = arg;

    runtime_reload(&p->runtime);
    follow_now(p->follow, p->runtime.key);
    http_tls_look(p->tls);
    key_source_look(p->gateway.key_source);
}

/* The longest time from a request's head to its answer: its body, then its call. */
static int64_t request_ms(const struct settings *s)
{
    int64_t call_ms = s->place_timeout_ms > s->call_timeout_ms ? s->place_timeout_ms
                                                               : s->call_timeout_ms;
    return s->transfer_timeout_ms + call_ms;
}

static int64_t stop_ms(const void *arg)
{
    const struct settings *s = &((const struct parts *)arg)->settings;

    return s->drain_delay_ms + request_ms(s) + RPC_DRAIN_MS;
}

/* Load balancers poll /healthz, and send requests here until they see its 503. */
static void wait_for_load_balancers(const struct parts *p)
{
    const int64_t ms = p->serving ? p->settings.drain_delay_ms : 0;
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};

    http_retire(p->http);
    while (nanosleep(&left, &left) != 0)
        ;
}

/* Calls end before the HTTP server does, since each completion answers a request. */
static bool stop(void *arg)
{
    struct parts *p = arg;
    if (p->http != NULL) {
        wait_for_load_balancers(p);
        http_drain(p->http, request_ms(&p->settings));
    }
    bool whole = runtime_stop_serving(&p->runtime, RPC_DRAIN_MS);
    follow_stop(p->follow);
    self_watch_stop(p->self_watch);
    /* In this order: a completion of one may start a call of the next. */
    channel_close(p->gateway.orchestrator);
    channel_close(p->gateway.inventory);
    channel_close(p->gateway.payment);
    if (p->http != NULL)
        whole = http_stop(p->http) && whole;
    http_tls_close(p->tls);
    files_close(p->gateway.files);
    key_source_close(p->gateway.key_source);
    if (p->fetching)
        fetch_stop();
    buckets_close(p->gateway.buckets);
    response_cache_close(p->gateway.response_cache);
    jwt_close(p->gateway.jwt);
    principals_free(p->services);
    runtime_close(&p->runtime);
    return whole;
}

int main(int argc, char **argv)
{
    struct parts parts = {0};

    return runtime_main(&(struct runtime_program){&SETTINGS_TABLE, &parts.settings,
                                                  &parts, start, reload, stop, stop_ms},
                        argc, argv);
}
