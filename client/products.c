/* products.c - products and stock: the inventory's methods in checkout/client.h. */
#include "proto/inventory.pb-c.h"

#include "client/calls.h"

/* ---- stock -------------------------------------------------------------------- */

static void *convert_stock(struct arena *arena, const ProtobufCMessage *message,
                           bool replayed)
{
    const Inventory__V1__GetStockReply *reply = (const void *)message;
    struct checkout_stock *stock = reply_new(arena, sizeof *stock);

    (void)replayed;
    if (stock != NULL)
        *stock = (struct checkout_stock){reply->sku, reply->received, reply->available,
                                         reply->held, reply->sold};
    return stock;
}

static void deliver_stock(any_done *done, void *arg, const struct checkout_error *error,
                          const void *reply)
{
    ((checkout_get_stock_done *)done)(arg, error, reply);
}

static const struct kind GET_STOCK = {"inventory.v1.Inventory/GetStock",
                                      CALL_INVENTORY,
                                      &inventory__v1__get_stock_reply__descriptor,
                                      convert_stock,
                                      deliver_stock,
                                      NULL};

static const ProtobufCMessage *make_get_stock(const struct checkout_get_stock *from,
                                              Inventory__V1__GetStockRequest *m)
{
    inventory__v1__get_stock_request__init(m);
    m->sku = borrow(from->sku);
    return &m->base;
}

enum checkout_status checkout_get_stock(checkout_client *client,
                                        const struct checkout_get_stock *request,
                                        const struct checkout_options *options,
                                        struct checkout_stock **reply,
                                        struct checkout_error *error)
{
    Inventory__V1__GetStockRequest m;

    return wait_for(client, &GET_STOCK, make_get_stock(request, &m), options,
                    (void **)reply, error);
}

checkout_call checkout_get_stock_start(checkout_client *client,
                                       const struct checkout_get_stock *request,
                                       const struct checkout_options *options,
                                       checkout_get_stock_done *done, void *arg)
{
    Inventory__V1__GetStockRequest m;

    return start(client, &GET_STOCK, make_get_stock(request, &m), options,
                 (any_done *)done, arg);
}

/* ---- products ----------------------------------------------------------------- */

static void *convert_products(struct arena *arena, const ProtobufCMessage *message,
                              bool replayed)
{
    const Inventory__V1__ListProductsReply *reply = (const void *)message;
    struct checkout_products *products = reply_new(arena, sizeof *products);
    struct checkout_product *list =
        arena_alloc(arena, (reply->n_products + 1) * sizeof *list);

    (void)replayed;
    if (products == NULL || list == NULL)
        return NULL;
    for (size_t i = 0; i < reply->n_products; i++) {
        const Inventory__V1__Product *p = reply->products[i];
        list[i] = (struct checkout_product){p->sku, p->title, p->price_cents, p->currency,
                                            p->available};
    }
    *products = (struct checkout_products){reply->n_products, list, reply->next_cursor};
    return products;
}

static void deliver_products(any_done *done, void *arg,
                             const struct checkout_error *error, const void *reply)
{
    ((checkout_list_products_done *)done)(arg, error, reply);
}

static const struct kind LIST_PRODUCTS = {"inventory.v1.Inventory/ListProducts",
                                          CALL_INVENTORY,
                                          &inventory__v1__list_products_reply__descriptor,
                                          convert_products,
                                          deliver_products,
                                          NULL};

static const ProtobufCMessage *make_list(const struct checkout_list_products *from,
                                         Inventory__V1__ListProductsRequest *m)
{
    inventory__v1__list_products_request__init(m);
    m->limit = from->limit;
    m->cursor = borrow(from->cursor);
    m->q = borrow(from->q);
    m->n_skus = from->sku_count;
    m->skus = (char **)(uintptr_t)from->skus;
    return &m->base;
}

enum checkout_status checkout_list_products(checkout_client *client,
                                            const struct checkout_list_products *request,
                                            const struct checkout_options *options,
                                            struct checkout_products **reply,
                                            struct checkout_error *error)
{
    Inventory__V1__ListProductsRequest m;

    return wait_for(client, &LIST_PRODUCTS, make_list(request, &m), options,
                    (void **)reply, error);
}

checkout_call checkout_list_products_start(checkout_client *client,
                                           const struct checkout_list_products *request,
                                           const struct checkout_options *options,
                                           checkout_list_products_done *done, void *arg)
{
    Inventory__V1__ListProductsRequest m;

    return start(client, &LIST_PRODUCTS, make_list(request, &m), options,
                 (any_done *)done, arg);
}
