/* products.c - /v1/products: what the shop sells, for anyone to see. */
#include "gateway/handlers.h"
#include "gateway/problem.h"
#include "proto/inventory.pb-c.h"

static void write_product(struct text *text, const Inventory__V1__Product *product)
{
    text_raw(text, "{\"sku\":");
    text_string(text, product->sku);
    text_raw(text, ",\"title\":");
    text_string(text, product->title);
    text_raw(text, ",\"price_cents\":");
    text_number(text, product->price_cents);
    text_raw(text, ",\"currency\":");
    text_string(text, product->currency);
    text_raw(text, ",\"available\":");
    text_number(text, product->available);
    text_raw(text, "}");
}

static void on_products(void *arg, struct err e, const ProtobufCMessage *message,
                        bool replayed)
{
    struct request *r = arg;
    const Inventory__V1__ListProductsReply *reply =
        (const Inventory__V1__ListProductsReply *)message;

    (void)replayed;
    if (failed(e)) {
        request_fail(r, problem_of_call(e, false));
        request_resume(r);
        return;
    }
    struct text text = text_start(r->arena, 64 + 160 * reply->n_products);
    text_raw(&text, "{\"products\":[");
    for (size_t i = 0; i < reply->n_products; i++) {
        text_raw(&text, i > 0 ? "," : "");
        write_product(&text, reply->products[i]);
    }
    text_raw(&text, "]}");
    request_answer(r, 200, &text);
    request_resume(r);
}

struct err products_list(struct request *r)
{
    static const char *const NAMES[] = {NULL};
    Inventory__V1__ListProductsRequest message =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    struct err e = request_query(r, NAMES, NULL);

    if (failed(e))
        return e;
    request_call(r,
                 &(struct request_call){
                     .channel = r->gateway->inventory,
                     .method = "inventory.v1.Inventory/ListProducts",
                     .message = &message.base,
                     .reply_type = &inventory__v1__list_products_reply__descriptor,
                     .timeout_ms = r->gateway->call_timeout_ms,
                 },
                 on_products);
    return ERR_NONE;
}
