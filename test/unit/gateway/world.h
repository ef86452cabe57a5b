/*
 * world.h - a gateway with real sockets, and a make-believe shop behind a real RPC
 * server.
 *
 * All of it in one process, so that sanitizers see both sides.
 */
#pragma once

#include "base/contract/buckets.h"
#include "base/metrics.h"
#include "gateway/auth/jwt.h"
#include "gateway/http/admission.h"
#include "gateway/http/http.h"
#include "gateway/http/request.h"
#include "http/tls.h"
#include "unit/gateway/shop.h"
#include "unit/gateway/token.h"
#include "unit/gateway/wire.h"
#include "unit/nng_leaks.h"

enum { WORLD_CALLS_MAX = 48 }; /* in flight to each service */

struct world {
    char folder[64], url[128];
    struct key *gateway_key, *shop_key;
    struct principals *services, *callers;
    struct shop shop;
    struct gateway gateway;
    struct http_tls *tls;    /* what it serves with; NULL: plain HTTP */
    struct metrics *metrics; /* what it counts in; NULL: nowhere */
    struct http *http;
    char token[1024];
    struct wire_answer answer;
};

#define must(call)                                                                       \
    do {                                                                                 \
        struct err e_ = (call);                                                          \
        if (failed(e_))                                                                  \
            fail_msg("%s", e_.message);                                                  \
    } while (0)

static const char *in(const struct world *w, const char *name)
{
    static char path[2][128];
    static int turn;

    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", w->folder, name);
    return path[turn];
}

static void make_keys(struct world *w)
{
    must(key_create(in(w, "gateway.key"), "gateway"));
    must(key_create(in(w, "shop.key"), "shop"));
    must(key_read(in(w, "gateway.key"), &w->gateway_key));
    must(key_read(in(w, "shop.key"), &w->shop_key));
    must(principals_allow(in(w, "services"), "shop", key_public(w->shop_key), NULL));
    must(principals_allow(in(w, "callers"), "gateway", key_public(w->gateway_key), "*"));
    must(principals_read(in(w, "services"), false, w->gateway_key, &w->services));
    must(principals_read(in(w, "callers"), true, w->shop_key, &w->callers));
}

static struct channel *open_channel(const struct world *w)
{
    struct channel *channel;
    struct channel_config config = {.service = "shop",
                                    .addresses = w->url,
                                    .key = w->gateway_key,
                                    .services = w->services,
                                    .in_flight_max = WORLD_CALLS_MAX};

    must(channel_open(&config, &channel));
    return channel;
}

/* With that much of a configuration; the rest is filled in. */
__attribute__((unused)) static int set_up_as(void **state, struct http_config http)
{
    struct world *w = calloc(1, sizeof *w);
    struct jwt_config jwt = {
        .issuer = TOKEN_ISSUER, .audience = TOKEN_AUDIENCE, .remembered_max = 64};

    http.address = "127.0.0.1";
    if (http.connections_max == 0)
        http.connections_max = 128;
    if (http.per_address_max == 0)
        http.per_address_max = 64;
    if (http.head_timeout_ms == 0)
        http.head_timeout_ms = http.idle_timeout_ms;
    assert_non_null(w);
    strcpy(w->folder, "/tmp/gateway-test-XXXXXX");
    assert_non_null(mkdtemp(w->folder));
    snprintf(w->url, sizeof w->url, "ipc://%s/shop.sock", w->folder);
    make_keys(w);
    shop_start(&w->shop, w->url, w->callers);
    token_write_jwks(in(w, "jwks.json"));
    jwt.jwks_file = in(w, "jwks.json");
    must(jwt_open(&jwt, &w->gateway.jwt));
    must(response_cache_open(64, &w->gateway.response_cache));
    must(buckets_open(64, 1000000, 1000000, &w->gateway.buckets));
    w->gateway.routes = &ROUTES;
    w->gateway.session_cookie = "session";
    w->gateway.cors_origins = "https://shop.example,https://other.example:8443";
    w->gateway.orchestrator = open_channel(w);
    w->gateway.inventory = open_channel(w);
    w->gateway.place_timeout_ms = 10000;
    w->gateway.call_timeout_ms = 10000;
    w->tls = http.tls;
    w->metrics = http.metrics;
    must(http_start(&http, &w->gateway, &w->http));
    token_make(NULL, NULL, w->token);
    *state = w;
    return 0;
}

__attribute__((unused)) static int set_up_with(void **state, int64_t idle_ms,
                                               int64_t transfer_ms)
{
    return set_up_as(state, (struct http_config){.idle_timeout_ms = idle_ms,
                                                 .transfer_timeout_ms = transfer_ms});
}

static void stop_gateway(struct world *w)
{
    if (w->http == NULL)
        return;
    http_drain(w->http, 10000);
    channel_close(w->gateway.inventory);
    channel_close(w->gateway.orchestrator);
    http_stop(w->http);
    w->http = NULL;
}

__attribute__((unused)) static int tear_down(void **state)
{
    static const char *const FILES[] = {"gateway.key", "shop.key",  "services",
                                        "callers",     "jwks.json", "shop.sock"};
    struct world *w = *state;

    stop_gateway(w);
    http_tls_close(w->tls);
    metrics_free(w->metrics);
    shop_let_go(&w->shop, true);
    rpc_server_stop(w->shop.server, 5000);
    response_cache_close(w->gateway.response_cache);
    buckets_close(w->gateway.buckets);
    jwt_close(w->gateway.jwt);
    principals_free(w->services);
    principals_free(w->callers);
    key_free(w->gateway_key);
    key_free(w->shop_key);
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++)
        unlink(in(w, FILES[i]));
    rmdir(w->folder);
    free(w);
    return 0;
}
