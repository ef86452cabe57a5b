/*
 * main.c - the gateway: HTTP and JSON outside, RPC inside.
 *
 * Reads its settings and keys, opens a channel to the orchestrator and one to the
 * inventory, serves until SIGTERM, then drains: accepts no more, answers what runs, and
 * exits 0.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/conf.h"
#include "base/log.h"
#include "gateway/answers.h"
#include "gateway/buckets.h"
#include "gateway/cors.h"
#include "gateway/fetch.h"
#include "gateway/file.h"
#include "gateway/files.h"
#include "gateway/gateway.h"
#include "gateway/http.h"
#include "gateway/jwt.h"
#include "gateway/key_source.h"
#include "rpc/channel.h"
#include "rpc/follow.h"
#include "rpc/host.h"

struct settings {
    const char *tls_cert, *tls_key, *tls_ca;
    const char *listen_address;
    int64_t port;
    const char *key_file;
    const char *services_file;
    const char *orchestrator_addresses;
    const char *inventory_addresses;
    const char *jwks_file;
    const char *jwks_url;
    int64_t jwks_every_ms;
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
    const char *session_cookie;
    int64_t user_rate;
    int64_t user_burst;
    int64_t users_max;
    const char *cors_origins;
    const char *tls_cert_file;
    const char *tls_key_file;
    bool access_log;
    const char *storefront_dir;
    const char *demo_token_file;
};

static const struct conf_row ROWS[] = {
    CONF_ROW_TEXT(listen_address, "127.0.0.1", "numeric address to listen on"),
    CONF_ROW_NUMBER(port, "8080", 0, 65535, "TCP port; 0 takes a free one"),
    CONF_ROW_TEXT(key_file, NULL, "our key pair"),
    CONF_ROW_TEXT(services_file, NULL, "public keys of the services we call"),
    CONF_ROW_TEXT(orchestrator_addresses, NULL, "nng URLs, separated by commas"),
    CONF_ROW_TEXT(inventory_addresses, NULL, "nng URLs, separated by commas"),
    HOST_ROWS_TLS,
    CONF_ROW_TEXT(jwks_file, "", "keys that tokens are verified with: a JWKS file"),
    CONF_ROW_TEXT(jwks_url, "", "or where to fetch it from, by https"),
    CONF_ROW_NUMBER(jwks_every_ms, "10000", 50, 3600000,
                    "how often the keys are looked at for changes"),
    CONF_ROW_TEXT(jwt_issuer, NULL, "the iss a token must have"),
    CONF_ROW_TEXT(jwt_audience, NULL, "the aud a token must have"),
    CONF_ROW_NUMBER(place_timeout_ms, "10000", 100, 60000,
                    "how long placing an order may take"),
    CONF_ROW_NUMBER(call_timeout_ms, "5000", 100, 60000,
                    "how long another call may take"),
    CONF_ROW_NUMBER(calls_max, "4096", 1, 65536,
                    "calls in flight to one service; past it 503"),
    CONF_ROW_NUMBER(connections_max, "4096", 1, 65536,
                    "connections in all; more wait for one to end"),
    CONF_ROW_NUMBER(per_address_max, "1024", 1, 65536,
                    "connections from one address; more are closed at once"),
    CONF_ROW_NUMBER(idle_timeout_ms, "30000", 100, 3600000,
                    "from connecting to a whole request head"),
    CONF_ROW_NUMBER(transfer_timeout_ms, "15000", 100, 3600000,
                    "to send a body, or to take an answer"),
    CONF_ROW_NUMBER(answers_max, "16384", 4, 1048576,
                    "order answers remembered as a short cut"),
    CONF_ROW_NUMBER(tokens_max, "16384", 4, 1048576, "verified tokens remembered"),
    CONF_ROW_TEXT(session_cookie, "session", "name of the cookie that may carry a token"),
    CONF_ROW_NUMBER(user_rate, "200", 1, 1000000, "requests a second one user may make"),
    CONF_ROW_NUMBER(user_burst, "400", 1, 1000000, "and at once; past both 429"),
    CONF_ROW_NUMBER(users_max, "65536", 4, 1048576, "users told apart for that"),
    CONF_ROW_TEXT(cors_origins, "",
                  "origins whose pages may read answers, with commas; empty: none"),
    CONF_ROW_TEXT(tls_cert_file, "", "PEM certificate chain; empty: plain HTTP"),
    CONF_ROW_TEXT(tls_key_file, "", "PEM private key of the certificate"),
    {"access_log", CONF_FLAG, offsetof(struct settings, access_log), "true", 0, 0,
     "one log line a request: true or false"},
    CONF_ROW_TEXT(storefront_dir, "", "folder of the shop page; empty: there is none"),
    CONF_ROW_TEXT(demo_token_file, "",
                  "DEVELOPMENT ONLY: whoever opens the page gets this token"),
};

static const struct conf_table TABLE = {
    .program = "gateway",
    .summary = "the HTTP edge of the checkout",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof ROWS[0],
};

/* All that serving needs, in the order it is opened. */
struct parts {
    struct settings settings;
    struct key *key;
    struct peers *services;
    struct gateway gateway;
    struct key_source *key_source;
    bool fetching; /* libcurl was started */
    struct http *http;
    struct follow *follow; /* keeps the channels' keys as the services' file is */
};

static struct err open_keys(const struct settings *s, struct parts *p)
{
    struct jwt_config jwt = {
        .issuer = s->jwt_issuer,
        .audience = s->jwt_audience,
        .remembered_max = (size_t)s->tokens_max,
    };
    struct err e = key_read(s->key_file, &p->key);

    if (!failed(e))
        e = peers_read(s->services_file, false, p->key, &p->services);
    if (!failed(e))
        e = jwt_open(&jwt, &p->gateway.jwt);
    if (!failed(e))
        e = fetch_start();
    p->fetching = !failed(e);
    if (!failed(e))
        e = key_source_open(
            &(struct key_source_config){s->jwks_file, s->jwks_url, s->jwks_every_ms},
            p->gateway.jwt, &p->key_source);
    return e;
}

/* What one gateway keeps of requests and users. */
static struct err open_tables(const struct settings *s, struct parts *p)
{
    struct err e = answers_open((size_t)s->answers_max, &p->gateway.answers);

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
        .key = p->key,
        .services = p->services,
        .in_flight_max = (size_t)s->calls_max,
        .tls = {s->tls_cert, s->tls_key, s->tls_ca},
    };

    return channel_open(&config, out);
}

static struct err use_services(void *arg, const struct peers *services)
{
    struct parts *p = arg;
    struct err e = channel_set_services(p->gateway.orchestrator, services);

    return failed(e) ? e : channel_set_services(p->gateway.inventory, services);
}

static struct err follow_services(const struct settings *s, struct parts *p)
{
    return follow_start(&(struct follow_config){.path = s->services_file,
                                                .key = p->key,
                                                .every_ms = FOLLOW_EVERY_MS,
                                                .use = use_services,
                                                .arg = p},
                        &p->follow);
}

/* The texts are read by the server while it starts, and not kept. */
static struct err read_tls(const struct settings *s, char **cert, char **key)
{
    enum { PEM_MAX = 256 << 10 };
    size_t size;

    *cert = *key = NULL;
    if ((s->tls_cert_file[0] == '\0') != (s->tls_key_file[0] == '\0'))
        return err_make(ERR_INVALID_ARGUMENT,
                        "tls_cert_file and tls_key_file go together; set both or none");
    if (s->tls_cert_file[0] == '\0')
        return ERR_NONE;
    struct err e = file_read(s->tls_cert_file, PEM_MAX, cert, &size);
    return failed(e) ? e : file_read(s->tls_key_file, PEM_MAX, key, &size);
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
    char *cert, *key;

    p->gateway.place_timeout_ms = s->place_timeout_ms;
    p->gateway.call_timeout_ms = s->call_timeout_ms;
    p->gateway.access_log = s->access_log;
    p->gateway.session_cookie = s->session_cookie;
    p->gateway.cors_origins = s->cors_origins;
    if (!cors_list_valid(s->cors_origins))
        return err_make(ERR_INVALID_ARGUMENT,
                        "cors_origins is \"%.100s\"; write origins such as "
                        "https://shop.example, with commas and no spaces",
                        s->cors_origins);
    struct err e = read_tls(s, &cert, &key);
    config.tls_cert = cert;
    config.tls_key = key;
    if (!failed(e))
        e = http_start(&config, &p->gateway, &p->http);
    if (key != NULL)
        sodium_memzero(key, strlen(key));
    free(key);
    free(cert);
    return e;
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

static struct err start(void *arg)
{
    struct parts *p = arg;
    const struct settings *s = &p->settings;
    struct err e = ERR_NONE;

    raise_file_limit();
    if (sodium_init() < 0)
        e = err_make(ERR_INTERNAL, "libsodium cannot start: no randomness");
    if (!failed(e))
        e = open_keys(s, p);
    if (!failed(e))
        e = open_tables(s, p);
    if (!failed(e))
        e = open_files(s, p);
    if (!failed(e))
        e = open_channel(s, p, "orchestrator", s->orchestrator_addresses,
                         &p->gateway.orchestrator);
    if (!failed(e))
        e = open_channel(s, p, "inventory", s->inventory_addresses,
                         &p->gateway.inventory);
    if (!failed(e))
        e = follow_services(s, p);
    if (!failed(e))
        e = start_http(s, p);
    if (!failed(e))
        log_info("serving", "address=%s port=%u", s->listen_address, http_port(p->http));
    return e;
}

/* Calls end before the server does: it cannot stop while a connection is suspended. */
static void stop(void *arg)
{
    struct parts *p = arg;

    if (p->http != NULL)
        http_drain(p->http,
                   p->settings.place_timeout_ms + p->settings.transfer_timeout_ms);
    follow_stop(p->follow);
    channel_close(p->gateway.inventory);
    channel_close(p->gateway.orchestrator);
    if (p->http != NULL)
        http_stop(p->http);
    files_close(p->gateway.files);
    key_source_close(p->key_source);
    if (p->fetching)
        fetch_stop();
    buckets_close(p->gateway.buckets);
    answers_close(p->gateway.answers);
    jwt_close(p->gateway.jwt);
    peers_free(p->services);
    key_free(p->key);
}

int main(int argc, char **argv)
{
    struct parts parts = {0};

    return host_main(&TABLE, argc, argv, &parts.settings, start, stop, &parts);
}
