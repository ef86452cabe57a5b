/*
 * fixture.h - what the tests of lib/rpc share: keys in a private folder, a small service
 * whose answer depends on what is asked, and calls that are waited for.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <ftw.h>
#include <nng/nng.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "proto/inventory.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "rpc/auth/principals.h"
#include "rpc/client/channel.h"
#include "rpc/server/server.h"
#include "unit/nng_leaks.h"

#define GET_STOCK "inventory.v1.Inventory/GetStock"

#define assert_ok(expression)                                                            \
    do {                                                                                 \
        struct err e_ = (expression);                                                    \
        if (failed(e_))                                                                  \
            fail_msg("%s: %s (%s)", #expression, e_.message, err_reason(e_.code));       \
    } while (0)

#define assert_code(expression, wanted)                                                  \
    do {                                                                                 \
        struct err e_ = (expression);                                                    \
        if (e_.code != (wanted))                                                         \
            fail_msg("%s: %s (%s)", #expression, e_.message, err_reason(e_.code));       \
    } while (0)

/* ---------------------------------------------------------- folder */

struct folder {
    char path[64];
    char *file[16];
    int next;
};

static inline void folder_make(struct folder *f)
{
    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/rpc-test-XXXXXX");
    assert_non_null(mkdtemp(f->path));
}

/* A path in the folder; the last sixteen stay valid. */
static inline const char *in(struct folder *f, const char *prefix, const char *name)
{
    char **path = &f->file[f->next++ % 16];

    free(*path);
    assert_true(asprintf(path, "%s%s/%s", prefix, f->path, name) > 0);
    return *path;
}

static inline int remove_one(const char *path, const struct stat *info, int type,
                             struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void folder_remove(struct folder *f)
{
    nftw(f->path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    for (int i = 0; i < 16; i++)
        free(f->file[i]);
}

static inline struct key *make_key(struct folder *f, const char *name)
{
    struct key *key;
    const char *path = in(f, "", name);

    assert_ok(key_create(path, name));
    assert_ok(key_read(path, &key));
    return key;
}

static inline int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_return_code(bind(fd, (struct sockaddr *)&address, length), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    close(fd);
    return ntohs(address.sin_port);
}

/* ---------------------------------------------------------- a world */

/* Two parties that know each other, and one nobody knows. */
struct world {
    struct folder folder;
    struct key *client, *server, *stranger;
    struct principals *callers;  /* the server's: client may GetStock and ListProducts */
    struct principals *services; /* the client's: server */
    struct principals *stranger_services;
};

static inline void world_make(struct world *w)
{
    folder_make(&w->folder);
    w->client = make_key(&w->folder, "client");
    w->server = make_key(&w->folder, "server");
    w->stranger = make_key(&w->folder, "stranger");
    const char *callers = in(&w->folder, "", "callers");
    const char *services = in(&w->folder, "", "services");
    assert_ok(principals_allow(
        callers, "client", key_public(w->client),
        "inventory.v1.Inventory/Get*,inventory.v1.Inventory/ListProducts,"
        "none.v1.None/*"));
    assert_ok(principals_allow(services, "server", key_public(w->server), NULL));
    assert_ok(principals_read(callers, true, w->server, &w->callers));
    assert_ok(principals_read(services, false, w->client, &w->services));
    assert_ok(principals_read(services, false, w->stranger, &w->stranger_services));
}

static inline void world_end(struct world *w)
{
    principals_free(w->callers);
    principals_free(w->services);
    principals_free(w->stranger_services);
    key_free(w->client);
    key_free(w->server);
    key_free(w->stranger);
    folder_remove(&w->folder);
}

/* ---------------------------------------------------------- the service */

enum { PARKED_MAX = 1024 };

/* GetStock's answer depends on the SKU; see get_stock. */
struct shop {
    Inventory__V1__Inventory_Service service; /* first */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int asked;           /* GetStock calls that reached the handler */
    int unavailable_for; /* "flaky" is UNAVAILABLE that many times */
    uint32_t hint_ms;    /* and says to come back after so long */
    struct {
        Inventory__V1__GetStockReply_Closure closure;
        void *data;
    } parked[PARKED_MAX];
    size_t parked_count;
};

static inline void answer_stock(const char *sku,
                                Inventory__V1__GetStockReply_Closure closure, void *data)
{
    Inventory__V1__GetStockReply answer = INVENTORY__V1__GET_STOCK_REPLY__INIT;

    answer.sku = (char *)sku;
    answer.available = 42;
    closure(&answer, data);
}

static inline void *answer_later(void *arg)
{
    void **pair = arg;

    answer_stock("later", *(Inventory__V1__GetStockReply_Closure *)pair[0], pair[1]);
    free(pair[0]);
    free(pair);
    return NULL;
}

static inline void answer_on_another_thread(Inventory__V1__GetStockReply_Closure closure,
                                            void *data)
{
    pthread_t thread;
    void **pair = malloc(2 * sizeof *pair);
    Inventory__V1__GetStockReply_Closure *kept = malloc(sizeof *kept);

    *kept = closure;
    pair[0] = kept;
    pair[1] = data;
    assert_int_equal(pthread_create(&thread, NULL, answer_later, pair), 0);
    pthread_detach(thread);
}

static inline struct err shop_error(const char *sku)
{
    if (strcmp(sku, "short") == 0) {
        struct err e = err_make(ERR_OUT_OF_STOCK, "not enough of A and B");
        e.subject = "A,B";
        return e;
    }
    if (strcmp(sku, "applied") == 0) {
        struct err e = err_make(ERR_ALREADY_EXISTS, "it was done before");
        e.effect = EFFECT_APPLIED;
        return e;
    }
    if (strcmp(sku, "secret") == 0)
        return err_make(ERR_INTERNAL, "syntax error at or near \"SELECT password\"");
    if (strcmp(sku, "busy") == 0)
        return err_make(ERR_RESOURCE_EXHAUSTED, "the queue is full");
    if (strcmp(sku, "hint") == 0) {
        struct err e = err_make(ERR_RESOURCE_EXHAUSTED, "come back later");
        e.retry_after_ms = 1234;
        return e;
    }
    return ERR_NONE;
}

/* What is answered as the SKU: itself, or what the server knows of the call. */
static inline const char *told(struct rpc_call *call, const char *sku)
{
    const char *value = NULL;

    if (strcmp(sku, "caller") == 0)
        return rpc_call_caller(call);
    if (strncmp(sku, "metadata:", 9) == 0) {
        value = rpc_call_metadata(call, sku + 9);
        return value != NULL ? value : "(none)";
    }
    return sku;
}

static inline void get_stock(Inventory__V1__Inventory_Service *service,
                             const Inventory__V1__GetStockRequest *request,
                             Inventory__V1__GetStockReply_Closure closure, void *data)
{
    struct shop *shop = (struct shop *)(void *)service;
    const char *sku = request->sku;
    struct err e = shop_error(sku);
    bool parked = strcmp(sku, "park") == 0, away = false;

    pthread_mutex_lock(&shop->lock);
    shop->asked++;
    if (strcmp(sku, "flaky") == 0)
        away = shop->unavailable_for > 0 && shop->unavailable_for-- > 0;
    if (parked) {
        shop->parked[shop->parked_count].closure = closure;
        shop->parked[shop->parked_count++].data = data;
    }
    pthread_cond_broadcast(&shop->changed);
    pthread_mutex_unlock(&shop->lock);
    if (parked)
        return;
    if (away)
        e = err_make(ERR_UNAVAILABLE, "not just now"), e.retry_after_ms = shop->hint_ms;
    if (strcmp(sku, "replayed") == 0)
        rpc_call_replayed(data);
    if (failed(e))
        rpc_call_fail(data, e);
    else if (strcmp(sku, "later") == 0)
        answer_on_another_thread(closure, data);
    else
        answer_stock(told(data, sku), closure, data);
}

/* An answer larger than a message may be. */
static inline void list_products(Inventory__V1__Inventory_Service *service,
                                 const Inventory__V1__ListProductsRequest *request,
                                 Inventory__V1__ListProductsReply_Closure closure,
                                 void *data)
{
    Inventory__V1__ListProductsReply answer = INVENTORY__V1__LIST_PRODUCTS_REPLY__INIT;
    Inventory__V1__Product product = INVENTORY__V1__PRODUCT__INIT, *list[1] = {&product};
    char *title = malloc(2 << 20);

    (void)service;
    (void)request;
    memset(title, 'x', 2 << 20);
    title[(2 << 20) - 1] = '\0';
    product.title = title;
    answer.products = list;
    answer.n_products = 1;
    closure(&answer, data);
    free(title);
}

static inline void shop_make(struct shop *shop)
{
    memset(shop, 0, sizeof *shop);
    shop->service.base.descriptor = &inventory__v1__inventory__descriptor;
    shop->service.base.invoke = protobuf_c_service_invoke_internal;
    shop->service.get_stock = get_stock;
    shop->service.list_products = list_products;
    pthread_mutex_init(&shop->lock, NULL);
    pthread_cond_init(&shop->changed, NULL);
}

static inline void shop_wait_asked(struct shop *shop, int count)
{
    pthread_mutex_lock(&shop->lock);
    while (shop->asked < count)
        pthread_cond_wait(&shop->changed, &shop->lock);
    pthread_mutex_unlock(&shop->lock);
}

/* Answers what was parked, when `count` of them are there. */
static inline void shop_answer_parked(struct shop *shop, size_t count)
{
    pthread_mutex_lock(&shop->lock);
    while (shop->parked_count < count)
        pthread_cond_wait(&shop->changed, &shop->lock);
    pthread_mutex_unlock(&shop->lock);
    for (size_t i = 0; i < count; i++)
        answer_stock("parked", shop->parked[i].closure, shop->parked[i].data);
    shop->parked_count = 0;
}

/* Starts a server and lets its first millisecond pass: what is sent in it is refused as too
 * early, which the channel mends, and the test would see as an attempt of unknown effect. */
static inline struct rpc_server *serve(const struct rpc_server_config *config)
{
    struct rpc_server *server;

    assert_ok(rpc_server_start(config, &server));
    for (int64_t started = clock_wall_ms(); clock_wall_ms() <= started;)
        sched_yield();
    return server;
}

static inline struct rpc_server *serve_shop(struct world *w, struct shop *shop,
                                            const char *url, size_t in_flight_max)
{
    ProtobufCService *services[] = {&shop->service.base};
    struct rpc_server_config config = {.url = url,
                                       .callers = w->callers,
                                       .services = services,
                                       .service_count = 1,
                                       .in_flight_max = in_flight_max};

    return serve(&config);
}

static inline struct channel *open_channel(struct world *w, const char *addresses,
                                           size_t in_flight_max)
{
    struct channel *channel;
    struct channel_config config = {.service = "server",
                                    .addresses = addresses,
                                    .key = w->client,
                                    .services = w->services,
                                    .in_flight_max = in_flight_max};

    assert_ok(channel_open(&config, &channel));
    return channel;
}

/* ---------------------------------------------------------- waited calls */

struct answer {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int times;
    struct err error;
    const Inventory__V1__GetStockReply *stock;
    const ProtobufCMessage *reply;
    bool replayed;
    struct arena *arena;
};

static inline void on_answer(void *arg, struct err error, const ProtobufCMessage *reply,
                             bool replayed)
{
    struct answer *a = arg;

    pthread_mutex_lock(&a->lock);
    a->times++;
    a->error = error;
    a->reply = reply;
    a->stock = (const Inventory__V1__GetStockReply *)(const void *)reply;
    a->replayed = replayed;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static inline void answer_make(struct answer *a)
{
    memset(a, 0, sizeof *a);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    a->arena = arena_new(4 << 20);
}

static inline void answer_wait(struct answer *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->times == 0)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static inline void answer_end(struct answer *a)
{
    assert_int_equal(a->times, 1);
    arena_free(a->arena);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->changed);
}

/* Calls GetStock; the answer is to be waited for. */
static inline channel_ticket ask(struct channel *channel, const char *sku,
                                 int64_t timeout_ms, struct answer *a)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    answer_make(a);
    request.sku = (char *)sku;
    struct channel_call call = {.method = GET_STOCK,
                                .request = &request.base,
                                .reply_type = &inventory__v1__get_stock_reply__descriptor,
                                .arena = a->arena,
                                .deadline_ms = clock_monotonic_ms() + timeout_ms};
    return channel_call(channel, &call, on_answer, a);
}

/* Calls and waits; only the error is wanted. */
static inline struct err ask_error(struct channel *channel, const char *sku,
                                   int64_t timeout_ms)
{
    struct answer a;

    ask(channel, sku, timeout_ms, &a);
    answer_wait(&a);
    struct err e = a.error;
    e.subject = NULL;
    answer_end(&a);
    return e;
}
