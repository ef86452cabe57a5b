/*
 * main.c - the gateway: HTTP and JSON outside, RPC inside.
 *
 * Reads its settings and keys, opens a channel to the orchestrator and one to the
 * inventory, serves until SIGTERM, then drains: accepts no more, answers what runs, and
 * exits 0.
 */
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/conf.h"
#include "base/log.h"
#include "gateway/answers.h"
#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/jwt.h"
#include "rpc/channel.h"
#include "rpc/keys.h"

struct settings {
    const char *listen_address;
    int64_t port;
    const char *key_file;
    const char *services_file;
    const char *orchestrator_addresses;
    const char *inventory_addresses;
    const char *jwks_file;
    const char *jwt_issuer;
    const char *jwt_audience;
    int64_t place_timeout_ms;
    int64_t call_timeout_ms;
    int64_t calls_max;
    int64_t connections_max;
    int64_t per_address_max;
    int64_t idle_timeout_ms;
    int64_t transfer_timeout_ms;
    int64_t answers_max;
    int64_t tokens_max;
    bool access_log;
};

#define TEXT(field, fallback, help) \
    {#field, CONF_TEXT, offsetof(struct settings, field), fallback, 0, 0, help}
#define NUMBER(field, fallback, least, most, help) \
    {#field, CONF_NUMBER, offsetof(struct settings, field), fallback, least, most, help}

static const struct conf_row ROWS[] = {
    TEXT(listen_address, "127.0.0.1", "numeric address to listen on"),
    NUMBER(port, "8080", 0, 65535, "TCP port; 0 takes a free one"),
    TEXT(key_file, NULL, "our key pair"),
    TEXT(services_file, NULL, "public keys of the services we call"),
    TEXT(orchestrator_addresses, NULL, "nng URLs, separated by commas"),
    TEXT(inventory_addresses, NULL, "nng URLs, separated by commas"),
    TEXT(jwks_file, NULL, "keys that tokens are verified with, a JWKS file"),
    TEXT(jwt_issuer, NULL, "the iss a token must have"),
    TEXT(jwt_audience, NULL, "the aud a token must have"),
    NUMBER(place_timeout_ms, "10000", 100, 60000, "how long placing an order may take"),
    NUMBER(call_timeout_ms, "5000", 100, 60000, "how long another call may take"),
    NUMBER(calls_max, "4096", 1, 65536, "calls in flight to one service; past it 503"),
    NUMBER(connections_max, "4096", 1, 65536, "connections in all"),
    NUMBER(per_address_max, "1024", 1, 65536, "connections from one address"),
    NUMBER(idle_timeout_ms, "30000", 100, 3600000,
           "from connecting to a whole request head"),
    NUMBER(transfer_timeout_ms, "15000", 100, 3600000,
           "to send a body, or to take an answer"),
    NUMBER(answers_max, "16384", 4, 1048576, "order answers remembered as a short cut"),
    NUMBER(tokens_max, "16384", 4, 1048576, "verified tokens remembered"),
    {"access_log", CONF_FLAG, offsetof(struct settings, access_log), "true", 0, 0,
     "one log line a request: true or false"},
};

static const struct conf_table TABLE = {
    .program = "gateway",
    .summary = "the HTTP edge of the checkout",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};

/* All that serving needs, in the order it is opened. */
struct parts {
    struct key *key;
    struct peers *services;
    struct gateway gateway;
    struct http *http;
};

static struct err open_keys(const struct settings *s, struct parts *p)
{
    struct jwt_config jwt = {
        .jwks_file = s->jwks_file,
        .issuer = s->jwt_issuer,
        .audience = s->jwt_audience,
        .remembered_max = (size_t)s->tokens_max,
    };
    struct err e = key_read(s->key_file, &p->key);

    if (!failed(e))
        e = peers_read(s->services_file, false, p->key, &p->services);
    if (!failed(e))
        e = jwt_open(&jwt, &p->gateway.jwt);
    return e;
}

static struct err open_channel(const struct settings *s, const struct parts *p,
                               const char *service, const char *addresses,
                               struct channel **out)
{
    struct channel_config config = {
        .service = service,
        .addresses = addresses,
        .key = p->key,
        .services = p->services,
        .in_flight_max = (size_t)s->calls_max,
    };

    return channel_open(&config, out);
}

static struct err start_http(const struct settings *s, struct parts *p)
{
    struct http_config config = {
        .address = s->listen_address,
        .port = (uint16_t)s->port,
        .connections_max = (unsigned)s->connections_max,
        .per_address_max = (unsigned)s->per_address_max,
        .idle_timeout_ms = s->idle_timeout_ms,
        .transfer_timeout_ms = s->transfer_timeout_ms,
    };

    p->gateway.place_timeout_ms = s->place_timeout_ms;
    p->gateway.call_timeout_ms = s->call_timeout_ms;
    p->gateway.access_log = s->access_log;
    return http_start(&config, &p->gateway, &p->http);
}

static struct err start(const struct settings *s, struct parts *p)
{
    struct err e = open_keys(s, p);

    if (!failed(e))
        e = answers_open((size_t)s->answers_max, &p->gateway.answers);
    if (!failed(e))
        e = open_channel(s, p, "orchestrator", s->orchestrator_addresses,
                         &p->gateway.orchestrator);
    if (!failed(e))
        e = open_channel(s, p, "inventory", s->inventory_addresses,
                         &p->gateway.inventory);
    if (!failed(e))
        e = start_http(s, p);
    return e;
}

/* Calls end before the server does: it cannot stop while a connection is suspended. */
static void stop(const struct settings *s, struct parts *p)
{
    if (p->http != NULL)
        http_drain(p->http, s->place_timeout_ms + s->transfer_timeout_ms);
    if (p->gateway.inventory != NULL)
        channel_close(p->gateway.inventory);
    if (p->gateway.orchestrator != NULL)
        channel_close(p->gateway.orchestrator);
    if (p->http != NULL)
        http_stop(p->http);
    answers_close(p->gateway.answers);
    jwt_close(p->gateway.jwt);
    if (p->services != NULL)
        peers_free(p->services);
    if (p->key != NULL)
        key_free(p->key);
}

/* A connection is a file; the usual soft limit of 1024 is too low. */
static void raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warn("file_limit", "reason=\"the limit of open files stays as it is\"");
}

static void wait_for_signal(const sigset_t *signals)
{
    int number;

    while (sigwait(signals, &number) != 0)
        ;
    log_info("stopping", "signal=%d", number);
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    struct parts parts = {0};
    sigset_t signals;

    log_start("gateway", LOG_INFO);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    /* Before any thread starts, so that only main takes them. */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    raise_file_limit();
    struct err e = conf_read(&TABLE, argc, argv, &settings);
    if (!failed(e) && sodium_init() < 0)
        e = err_make(ERR_INTERNAL, "libsodium cannot start: no randomness");
    if (!failed(e))
        e = start(&settings, &parts);
    if (!failed(e)) {
        log_info("listening", "address=%s port=%u", settings.listen_address,
                 http_port(parts.http));
        wait_for_signal(&signals);
    } else {
        log_error("cannot_start", "reason=\"%s\"", e.message);
    }
    stop(&settings, &parts);
    return failed(e) ? 1 : 0;
}
