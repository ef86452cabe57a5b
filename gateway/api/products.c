/* products.c - /v1/products: what the shop sells; no token needed. */
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "gateway/api/body.h"
#include "gateway/api/handlers.h"
#include "gateway/http/http.h"
#include "gateway/http/problem.h"
#include "proto/inventory.pb-c.h"

static void write_product(struct text *text, const Inventory__V1__Product *product)
{
    answer_text(text, "{\"sku\":", product->sku);
    answer_text(text, ",\"title\":", product->title);
    answer_number(text, ",\"price_cents\":", product->price_cents);
    answer_text(text, ",\"currency\":", product->currency);
    answer_number(text, ",\"available\":", product->available);
    text_raw(text, "}");
}

static void call_list(struct request *r,
                      const Inventory__V1__ListProductsRequest *message,
                      channel_done *done)
{
    const struct request_call call = {
        r->gateway->inventory, "inventory.v1.Inventory/ListProducts", &message->base,
        &inventory__v1__list_products_reply__descriptor, r->gateway->call_timeout_ms};
    request_call(r, &call, done);
}

/* ---- GET /v1/products?limit=&cursor=&q=&sku= ---- */

static void on_products(void *arg, struct err e, const ProtobufCMessage *message,
                        bool replayed)
{
    struct request *r = arg;
    const Inventory__V1__ListProductsReply *reply =
        (const Inventory__V1__ListProductsReply *)message;

    (void)replayed;
    if (failed(e)) {
        http_send_failure(r, problem_of_call(e, false));
        return;
    }
    struct text text = text_start(r->arena, 64 + 160 * reply->n_products);
    text_raw(&text, "{\"products\":[");
    for (size_t i = 0; i < reply->n_products; i++) {
        text_raw(&text, i > 0 ? "," : "");
        write_product(&text, reply->products[i]);
    }
    text_raw(&text, "],\"next_cursor\":");
    if (reply->next_cursor[0] == '\0')
        text_raw(&text, "null");
    else
        text_string(&text, reply->next_cursor);
    text_raw(&text, "}");
    request_answer(r, 200, &text);
    http_send(r);
}

/* SKUs separated by commas; they are borrowed from `text`, which is changed. */
static struct err read_skus(struct arena *arena, char *text, char ***out, size_t *count)
{
    char **skus = arena_alloc(arena, SKUS_MAX * sizeof *skus);

    if (skus == NULL)
        return err_memory();
    for (*count = 0; text != NULL; (*count)++) {
        if (*count == SKUS_MAX)
            return invalid("sku may name %d SKUs at most.", SKUS_MAX);
        char *sku = strsep(&text, ",");
        if (!sku_valid(sku))
            return invalid(
                "sku must be SKUs of 1 to %d of A-Z a-z 0-9 . _ - each, separated by "
                "commas; the %zuth is not.",
                SKU_LENGTH_MAX, *count + 1);
        skus[*count] = sku;
    }
    *out = skus;
    return ERR_NONE;
}

struct err products_list(struct request *r)
{
    static const char *const NAMES[] = {"limit", "cursor", "q", "sku", NULL};
    Inventory__V1__ListProductsRequest message =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    const char *values[4];
    struct err e = request_query(r, NAMES, values);

    if (!failed(e))
        e = request_limit(values[0], PRODUCTS_PAGE_MAX, &message.limit);
    if (!failed(e) && values[2] != NULL && strlen(values[2]) > SEARCH_SIZE_MAX)
        e = invalid("q may be %d bytes of UTF-8 at most, not %zu.", SEARCH_SIZE_MAX,
                    strlen(values[2]));
    if (!failed(e) && values[3] != NULL)
        e = read_skus(r->arena, (char *)values[3], &message.skus, &message.n_skus);
    if (failed(e))
        return e;
    message.cursor = (char *)(values[1] != NULL ? values[1] : "");
    message.q = (char *)(values[2] != NULL ? values[2] : "");
    call_list(r, &message, on_products);
    return ERR_NONE;
}

/* ---- GET /v1/products/{sku} ---- */

static struct err no_such_product(void)
{
    return err_make(ERR_NOT_FOUND, "There is no such product.");
}

static void on_product(void *arg, struct err e, const ProtobufCMessage *message,
                       bool replayed)
{
    struct request *r = arg;
    const Inventory__V1__ListProductsReply *reply =
        (const Inventory__V1__ListProductsReply *)message;

    (void)replayed;
    if (failed(e)) {
        request_fail(r, problem_of_call(e, false));
    } else if (reply->n_products == 0) {
        request_fail(r, no_such_product());
    } else if (strcmp(reply->products[0]->sku, r->path_id) != 0) {
        /* An inventory that does not know `skus` replies with its first product. */
        request_fail(r, err_make(ERR_UNAVAILABLE,
                                 "The catalogue cannot look up one product just now."));
    } else {
        struct text text = text_start(r->arena, 256);
        write_product(&text, reply->products[0]);
        request_answer(r, 200, &text);
    }
    http_send(r);
}

struct err products_get(struct request *r)
{
    Inventory__V1__ListProductsRequest message =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    char *skus[] = {(char *)r->path_id};

    if (!sku_valid(r->path_id))
        return no_such_product();
    message.limit = 1;
    message.skus = skus;
    message.n_skus = 1;
    call_list(r, &message, on_product); /* packs its message before it returns */
    return ERR_NONE;
}
