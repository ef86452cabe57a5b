/* cart.c - see cart.h. */
#include "gateway/cart.h"

#include <inttypes.h>
#include <sodium.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "gateway/etag.h"

enum { LOOK_TIMEOUT_MS = 1000 }; /* then the shopper is given the cart without prices */

/* Prices being read for a cart: in the request's arena. */
struct pricing {
    struct request *request;
    struct cart_view view;
    cart_priced *done;
};

/* ---- the tag ---- */

static void hash_text(crypto_generichash_state *state, const char *text)
{
    crypto_generichash_update(state, (const unsigned char *)text, strlen(text) + 1);
}

static void hash_product(crypto_generichash_state *state,
                         const Inventory__V1__Product *product)
{
    const int64_t figures[] = {product == NULL ? -1 : product->price_cents,
                               product == NULL ? -1 : product->available};

    crypto_generichash_update(state, (const unsigned char *)figures, sizeof figures);
    hash_text(state, product == NULL ? "" : product->title);
    hash_text(state, product == NULL ? "" : product->currency);
}

/* Names all that the answer shows of the lines' products, in the arena; NULL when that is
 * full. */
static char *prices_of(struct arena *arena, const struct cart_view *view)
{
    crypto_generichash_state state;
    uint8_t hash[crypto_generichash_BYTES_MIN];
    uint64_t name;

    crypto_generichash_init(&state, NULL, 0, sizeof hash);
    for (size_t i = 0; i < view->cart->n_lines; i++)
        hash_product(&state, view->products[i]);
    crypto_generichash_final(&state, hash, sizeof hash);
    memcpy(&name, hash, sizeof name);
    return arena_printf(arena, "%016" PRIx64, name);
}

static void finish(struct pricing *pricing)
{
    struct arena *arena = pricing->request->arena;
    struct cart_view *view = &pricing->view;
    bool shows = view->priced && view->cart->n_lines > 0;
    char *prices = shows ? prices_of(arena, view) : NULL;

    if (!shows || prices != NULL)
        view->etag = etag_write(arena, view->cart->version, prices);
    if (view->etag == NULL)
        pricing->done(pricing->request, err_memory(), NULL);
    else
        pricing->done(pricing->request, ERR_NONE, view);
}

/* ---- reading the products ---- */

static const Inventory__V1__Product *find(const Inventory__V1__ListProductsReply *reply,
                                          const char *sku)
{
    for (size_t i = 0; i < reply->n_products; i++)
        if (strcmp(reply->products[i]->sku, sku) == 0)
            return reply->products[i];
    return NULL;
}

static void on_products(void *arg, struct err e, const ProtobufCMessage *message,
                        bool replayed)
{
    struct pricing *pricing = arg;
    struct cart_view *view = &pricing->view;

    (void)replayed;
    if (failed(e)) {
        log_warn("cart_unpriced", "request=%s code=%s reason=%s", pricing->request->id,
                 err_reason(e.code), e.message);
    } else {
        view->priced = true;
        for (size_t i = 0; i < view->cart->n_lines; i++)
            view->products[i] = find((const Inventory__V1__ListProductsReply *)message,
                                     view->cart->lines[i]->sku);
    }
    finish(pricing);
}

static void call_list(struct pricing *pricing, char **skus)
{
    struct request *r = pricing->request;
    Inventory__V1__ListProductsRequest message =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    int64_t most = r->gateway->call_timeout_ms;

    message.limit = SKUS_MAX;
    message.n_skus = pricing->view.cart->n_lines;
    message.skus = skus;
    for (size_t i = 0; i < message.n_skus; i++)
        skus[i] = pricing->view.cart->lines[i]->sku;
    request_call_next(r,
                      &(struct request_call){
                          .channel = r->gateway->inventory,
                          .method = "inventory.v1.Inventory/ListProducts",
                          .message = &message.base,
                          .reply_type = &inventory__v1__list_products_reply__descriptor,
                          .timeout_ms = most < LOOK_TIMEOUT_MS ? most : LOOK_TIMEOUT_MS,
                      },
                      on_products, pricing);
}

void cart_price(struct request *r, const Orders__V1__Cart *cart, unsigned status,
                cart_priced *done)
{
    struct pricing *pricing = arena_alloc(r->arena, sizeof *pricing);
    char **skus = arena_alloc(r->arena, (cart->n_lines + 1) * sizeof *skus);
    const Inventory__V1__Product **products =
        arena_alloc(r->arena, (cart->n_lines + 1) * sizeof *products);

    if (pricing == NULL || skus == NULL || products == NULL) {
        done(r, err_memory(), NULL);
        return;
    }
    if (!cart_version_valid(cart->version) || cart->n_lines > LINES_MAX) {
        done(r,
             err_make(ERR_DATA_LOSS, "the orchestrator told a cart that is none of ours"),
             NULL);
        return;
    }
    *pricing =
        (struct pricing){r, {cart, status, NULL, cart->n_lines == 0, products}, done};
    if (cart->n_lines == 0)
        finish(pricing);
    else
        call_list(pricing, skus);
}

/* ---- writing it ---- */

static void write_line(struct text *text, const Orders__V1__CartLine *line)
{
    text_raw(text, "{\"sku\":");
    text_string(text, line->sku);
    text_raw(text, ",\"quantity\":");
    text_number(text, line->quantity);
}

static void write_product(struct text *text, const Inventory__V1__Product *product)
{
    if (product == NULL) {
        text_raw(text, ",\"known\":false");
        return;
    }
    text_raw(text, ",\"known\":true,\"title\":");
    text_string(text, product->title);
    text_raw(text, ",\"unit_price_cents\":");
    text_number(text, product->price_cents);
    text_raw(text, ",\"currency\":");
    text_string(text, product->currency);
    text_raw(text, ",\"available\":");
    text_number(text, product->available);
}

/* False when it cannot be told.  What a service answered is bounded by nobody here. */
static bool total_of(const struct cart_view *view, int64_t *total, const char **currency)
{
    int64_t sum;

    *total = 0;
    *currency = NULL;
    for (size_t i = 0; view->priced && i < view->cart->n_lines; i++) {
        const Inventory__V1__Product *product = view->products[i];
        if (product == NULL ||
            (*currency != NULL && strcmp(*currency, product->currency) != 0) ||
            __builtin_mul_overflow(view->cart->lines[i]->quantity, product->price_cents,
                                   &sum) ||
            __builtin_add_overflow(*total, sum, total))
            return false;
        *currency = product->currency;
    }
    return *currency != NULL;
}

void cart_write(struct text *text, const struct cart_view *view)
{
    const char *currency;
    int64_t total;

    text_raw(text, "{\"cart_id\":");
    text_string(text, view->cart->cart_id);
    text_raw(text, ",\"etag\":");
    text_string(text, view->etag);
    text_raw(text, ",\"lines\":[");
    for (size_t i = 0; i < view->cart->n_lines; i++) {
        text_raw(text, i > 0 ? "," : "");
        write_line(text, view->cart->lines[i]);
        if (view->priced)
            write_product(text, view->products[i]);
        text_raw(text, "}");
    }
    text_raw(text, "]");
    if (total_of(view, &total, &currency)) {
        text_raw(text, ",\"total_cents\":");
        text_number(text, total);
        text_raw(text, ",\"currency\":");
        text_string(text, currency);
    }
    text_raw(text, "}");
}
