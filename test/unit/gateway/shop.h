/*
 * shop.h - a make-believe orchestrator and inventory behind a real RPC server.
 *
 * What Place answers is told by the cart's id: "ok..." an order, "declined", "ordered", "short",
 * "busy", "broken", "unknown", "progress", "nocart"; "held" waits until shop_let_go.  A
 * key seen before is answered as replayed.  GetCart finds carts named "marker...".
 */
#pragma once

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "rpc/server/server.h"

enum { SHOP_KEYS_MAX = 64, SHOP_LOOK_NS = 10000000 };

struct shop {
    Orders__V1__Orders_Service orders; /* first: a handler gets its address */
    Inventory__V1__Inventory_Service inventory;
    struct rpc_server *server;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    char keys[SHOP_KEYS_MAX][256];
    size_t key_count;
    int placed; /* calls of Place */
    int held;   /* calls waiting */
    int left;   /* of those: their caller was seen to have called off */
    bool let_go;
    bool sick, events_wait;
    bool closed;           /* ListProducts fails */
    bool old;              /* ListProducts does not know the field skus */
    char if_versions[256]; /* the last PutCart's, with commas */
    char searched[256];    /* the last ListProducts: limit|cursor|q|skus */
    int smuggled;          /* calls of GetCart for a cart "smuggled..." */
    struct trace trace;    /* our place in that of the last Place */
};

struct shop_held {
    struct shop *shop;
    Orders__V1__PlaceReply_Closure closure;
    void *call;
};

static void shop_reply_order(Orders__V1__PlaceReply_Closure closure, void *call)
{
    Orders__V1__OrderLine line = ORDERS__V1__ORDER_LINE__INIT;
    Orders__V1__OrderLine *lines[] = {&line};
    Orders__V1__Order order = ORDERS__V1__ORDER__INIT;
    Orders__V1__PlaceReply reply = ORDERS__V1__PLACE_REPLY__INIT;

    line.sku = (char *)"TEA-1";
    line.quantity = 2;
    line.unit_price_cents = 450;
    order.order_id = (char *)"01JD0000000000000000000000";
    order.status = (char *)"created";
    order.total_cents = 900;
    order.currency = (char *)"EUR";
    order.created_at_ms = 1769860800123;
    order.n_lines = 1;
    order.lines = lines;
    reply.order = &order;
    closure(&reply, call);
}

static void *shop_answer_held(void *arg)
{
    struct shop_held *held = arg;
    struct shop *shop = held->shop;
    bool left = false;

    pthread_mutex_lock(&shop->mutex);
    while (!shop->let_go) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec += (soon.tv_nsec + SHOP_LOOK_NS) / 1000000000;
        soon.tv_nsec = (soon.tv_nsec + SHOP_LOOK_NS) % 1000000000;
        pthread_cond_timedwait(&shop->changed, &shop->mutex, &soon);
        if (!left && cancel_requested(rpc_call_cancel(held->call))) {
            left = true;
            shop->left++;
            pthread_cond_broadcast(&shop->changed);
        }
    }
    pthread_mutex_unlock(&shop->mutex);
    shop_reply_order(held->closure, held->call);
    pthread_mutex_lock(&shop->mutex);
    shop->held--;
    pthread_cond_broadcast(&shop->changed);
    pthread_mutex_unlock(&shop->mutex);
    free(held);
    return NULL;
}

static void shop_hold(struct shop *shop, Orders__V1__PlaceReply_Closure closure,
                      void *call)
{
    pthread_t thread;
    struct shop_held *held = malloc(sizeof *held);

    assert_non_null(held);
    *held = (struct shop_held){shop, closure, call};
    pthread_mutex_lock(&shop->mutex);
    shop->held++;
    pthread_cond_broadcast(&shop->changed);
    pthread_mutex_unlock(&shop->mutex);
    assert_int_equal(pthread_create(&thread, NULL, shop_answer_held, held), 0);
    pthread_detach(thread);
}

/* Waits until `count` calls are held. */
__attribute__((unused)) static void shop_wait_held(struct shop *shop, int count)
{
    pthread_mutex_lock(&shop->mutex);
    while (shop->held != count)
        pthread_cond_wait(&shop->changed, &shop->mutex);
    pthread_mutex_unlock(&shop->mutex);
}

/* Waits until `count` callers of held calls have called off. */
__attribute__((unused)) static void shop_wait_left(struct shop *shop, int count)
{
    pthread_mutex_lock(&shop->mutex);
    while (shop->left != count)
        pthread_cond_wait(&shop->changed, &shop->mutex);
    pthread_mutex_unlock(&shop->mutex);
}

static void shop_let_go(struct shop *shop, bool let_go)
{
    pthread_mutex_lock(&shop->mutex);
    shop->let_go = let_go;
    pthread_cond_broadcast(&shop->changed);
    pthread_mutex_unlock(&shop->mutex);
}

/* Notes the key; true when it was there. */
static bool shop_seen(struct shop *shop, const char *key)
{
    bool seen = false;

    pthread_mutex_lock(&shop->mutex);
    shop->placed++;
    for (size_t i = 0; i < shop->key_count; i++)
        seen = seen || strcmp(shop->keys[i], key) == 0;
    if (!seen && shop->key_count < SHOP_KEYS_MAX)
        snprintf(shop->keys[shop->key_count++], sizeof shop->keys[0], "%s", key);
    pthread_mutex_unlock(&shop->mutex);
    return seen;
}

static const struct {
    const char *cart;
    enum err_code code;
    enum err_effect effect;
    const char *subject;
} SHOP_REFUSALS[] = {
    {"declined", ERR_PAYMENT_DECLINED, EFFECT_NONE,
     "card_declined,another_payment_method"},
    {"ordered", ERR_CART_ALREADY_ORDERED, EFFECT_NONE, "01JD0000000000000000000000"},
    {"short", ERR_OUT_OF_STOCK, EFFECT_NONE, "TEA-1,CUP-2"},
    {"nocart", ERR_NOT_FOUND, EFFECT_NONE, NULL},
    {"busy", ERR_RESOURCE_EXHAUSTED, EFFECT_NONE, NULL},
    {"broken", ERR_INTERNAL, EFFECT_NONE, NULL},
    {"unknown", ERR_INTERNAL, EFFECT_UNKNOWN, NULL},
    {"progress", ERR_CHECKOUT_IN_PROGRESS, EFFECT_NONE, NULL},
    {"reused", ERR_IDEMPOTENCY_KEY_REUSED, EFFECT_NONE, NULL},
};

static void shop_place(Orders__V1__Orders_Service *service,
                       const Orders__V1__PlaceRequest *request,
                       Orders__V1__PlaceReply_Closure closure, void *data)
{
    struct shop *shop = (struct shop *)(void *)service;
    struct rpc_call *call = data;

    if (shop_seen(shop, request->idempotency_key))
        rpc_call_replayed(call);
    pthread_mutex_lock(&shop->mutex);
    rpc_call_trace(call, &shop->trace);
    pthread_mutex_unlock(&shop->mutex);
    for (size_t i = 0; i < sizeof SHOP_REFUSALS / sizeof SHOP_REFUSALS[0]; i++) {
        if (strcmp(request->cart_id, SHOP_REFUSALS[i].cart) != 0)
            continue;
        struct err e = err_make(SHOP_REFUSALS[i].code, "host=db7 secret inside");
        e.effect = SHOP_REFUSALS[i].effect;
        e.subject = SHOP_REFUSALS[i].subject;
        rpc_call_fail(call, e);
        return;
    }
    if (strcmp(request->cart_id, "held") == 0)
        shop_hold(shop, closure, call);
    else
        shop_reply_order(closure, call);
}

static void shop_get_order(Orders__V1__Orders_Service *service,
                           const Orders__V1__GetOrderRequest *request,
                           Orders__V1__GetOrderReply_Closure closure, void *call)
{
    (void)service, (void)request, (void)closure;
    rpc_call_fail(call, err_make(ERR_NOT_FOUND, "There is no such order."));
}

static void shop_list_orders(Orders__V1__Orders_Service *service,
                             const Orders__V1__ListOrdersRequest *request,
                             Orders__V1__ListOrdersReply_Closure closure, void *call)
{
    Orders__V1__ListOrdersReply reply = ORDERS__V1__LIST_ORDERS_REPLY__INIT;

    (void)service;
    reply.next_cursor = request->limit == 1 ? (char *)"next-page" : (char *)"";
    closure(&reply, call);
}

static void shop_put_cart(Orders__V1__Orders_Service *service,
                          const Orders__V1__PutCartRequest *request,
                          Orders__V1__PutCartReply_Closure closure, void *call)
{
    Orders__V1__PutCartReply reply = ORDERS__V1__PUT_CART_REPLY__INIT;

    struct shop *shop = (struct shop *)service;
    shop->if_versions[0] = '\0';
    for (size_t i = 0; i < request->n_if_versions; i++) {
        size_t used = strlen(shop->if_versions);
        snprintf(shop->if_versions + used, sizeof shop->if_versions - used, "%s%s",
                 i > 0 ? "," : "", request->if_versions[i]);
    }
    reply.cart = request->cart;
    reply.cart->version = (char *)"v1";
    reply.created = strcmp(request->cart->cart_id, "new") == 0;
    closure(&reply, call);
}

static void shop_get_cart(Orders__V1__Orders_Service *service,
                          const Orders__V1__GetCartRequest *request,
                          Orders__V1__GetCartReply_Closure closure, void *call)
{
    struct shop *shop = (struct shop *)(void *)service;
    Orders__V1__GetCartReply reply = ORDERS__V1__GET_CART_REPLY__INIT;
    Orders__V1__Cart cart = ORDERS__V1__CART__INIT;

    if (strncmp(request->cart_id, "smuggled", 8) == 0) {
        pthread_mutex_lock(&shop->mutex);
        shop->smuggled++;
        pthread_mutex_unlock(&shop->mutex);
    }
    if (strncmp(request->cart_id, "marker", 6) == 0) {
        cart.cart_id = request->cart_id;
        cart.version = (char *)"v1";
        reply.cart = &cart;
        closure(&reply, call);
    } else {
        rpc_call_fail(call, err_make(ERR_NOT_FOUND, "There is no such cart."));
    }
}

static void shop_list_products(Inventory__V1__Inventory_Service *service,
                               const Inventory__V1__ListProductsRequest *request,
                               Inventory__V1__ListProductsReply_Closure closure,
                               void *call)
{
    struct shop *shop =
        (struct shop *)((char *)service - offsetof(struct shop, inventory));
    Inventory__V1__Product product = INVENTORY__V1__PRODUCT__INIT;
    Inventory__V1__Product other = INVENTORY__V1__PRODUCT__INIT;
    Inventory__V1__Product *products[] = {&product, &other};
    Inventory__V1__ListProductsReply reply = INVENTORY__V1__LIST_PRODUCTS_REPLY__INIT;

    pthread_mutex_lock(&shop->mutex);
    snprintf(shop->searched, sizeof shop->searched, "%d|%s|%s", request->limit,
             request->cursor, request->q);
    for (size_t i = 0; i < request->n_skus; i++) {
        size_t used = strlen(shop->searched);
        snprintf(shop->searched + used, sizeof shop->searched - used, "|%s",
                 request->skus[i]);
    }
    bool closed = shop->closed, all = shop->old || request->n_skus == 0;
    pthread_mutex_unlock(&shop->mutex);
    if (closed) {
        rpc_call_fail(call, err_make(ERR_UNAVAILABLE, "host=db7 is away"));
        return;
    }
    product.sku = (char *)"TEA-1";
    product.title = (char *)"Tea \"Earl\"";
    product.price_cents = 450;
    product.currency = (char *)"EUR";
    product.available = 7;
    other.sku = (char *)"FAR-1";
    other.title = (char *)"Far";
    other.price_cents = 1;
    other.currency = (char *)"USD";
    /* As asked for; the whole list is the one product. */
    if (all)
        reply.n_products = 1;
    for (size_t i = 0; !all && i < request->n_skus; i++)
        if (strcmp(request->skus[i], "TEA-1") == 0 && reply.n_products == 0)
            reply.n_products = 1;
    for (size_t i = 0; !all && i < request->n_skus; i++)
        if (strcmp(request->skus[i], "FAR-1") == 0)
            products[reply.n_products++] = &other;
    reply.products = products;
    reply.next_cursor = request->limit == 1 ? (char *)"next-page" : (char *)"";
    closure(&reply, call);
}

static struct err shop_health(void *arg)
{
    const struct shop *shop = arg;
    struct err e = shop->sick ? err_make(ERR_UNAVAILABLE, "host=db7 is away") : ERR_NONE;

    e.subject = shop->sick ? "the database cannot be reached" : NULL;
    return e;
}

static size_t shop_health_parts(void *arg, struct rpc_health_part *parts)
{
    const struct shop *shop = arg;

    parts[0] = (struct rpc_health_part){.name = "events"};
    if (shop->events_wait)
        parts[0].health = err_make(ERR_UNAVAILABLE, "host=nats3 is away");
    return 1;
}

/* Serves at `url` as the owner of the key that `callers` was read with. */
static void shop_start(struct shop *shop, const char *url,
                       const struct principals *callers)
{
    static ProtobufCService *services[2];
    struct rpc_server_config config = {
        .url = url,
        .callers = callers,
        .services = services,
        .service_count = 2,
        .in_flight_max = 256,
        .health = shop_health,
        .health_parts = shop_health_parts,
        .health_arg = shop,
    };

    *shop = (struct shop){
        .orders = {.base = ORDERS__V1__ORDERS__BASE_INIT,
                   .place = shop_place,
                   .get_order = shop_get_order,
                   .list_orders = shop_list_orders,
                   .put_cart = shop_put_cart,
                   .get_cart = shop_get_cart},
        .inventory = {.base = INVENTORY__V1__INVENTORY__BASE_INIT,
                      .list_products = shop_list_products},
    };
    pthread_mutex_init(&shop->mutex, NULL);
    pthread_cond_init(&shop->changed, NULL);
    services[0] = &shop->orders.base;
    services[1] = &shop->inventory.base;
    struct err e = rpc_server_start(&config, &shop->server);
    if (failed(e))
        fail_msg("%s", e.message);
}
