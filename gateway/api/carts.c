/*
 * carts.c - /v1/carts/{id}: shoppers' carts.
 *
 *      GET, PUT -> the orchestrator's cart -> the inventory's products -> tag -> answer
 *
 * A cart belongs to the user of the token; another user's is not found.  Answers carry an
 * ETag (etag.h); a change or an order that expects another tag is answered with the
 * current cart.
 *
 * An answer has the current titles and prices of the cart's lines.  When the inventory is
 * unavailable, the lines are sent without them, which is better than no cart.  These
 * prices only inform: the inventory decides the price when the cart is ordered.
 */
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "base/log.h"
#include "gateway/api/body.h"
#include "gateway/api/etag.h"
#include "gateway/api/handlers.h"
#include "gateway/http/http.h"
#include "gateway/http/problem.h"
#include "proto/inventory.pb-c.h"

enum { PRICES_TIMEOUT_MS = 1000 }; /* then the cart is answered without prices */

/* A cart to be sent; borrows from the request's arena and the messages there. */
struct cart_view {
    const Orders__V1__Cart *cart;
    unsigned status; /* of the answer, as given to cart_price */
    const char *etag;
    bool priced; /* the products were read */
    /* By line, when priced; NULL: the product does not exist (any more). */
    const Inventory__V1__Product **products;
};

/* Answers or fails the request, and sends the answer; `view` is NULL on failure. */
typedef void cart_priced(struct request *request, struct err error,
                         const struct cart_view *view);

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

/* A hash of all product data in the answer, in the arena; NULL when that is full. */
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

static void finish_pricing(struct pricing *pricing)
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

static const Inventory__V1__Product *
find_product(const Inventory__V1__ListProductsReply *reply, const char *sku)
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
        log_warn("cart_prices_unavailable", "request=%s code=%s reason=%s",
                 pricing->request->id, err_reason(e.code), e.message);
    } else {
        view->priced = true;
        for (size_t i = 0; i < view->cart->n_lines; i++)
            view->products[i] =
                find_product((const Inventory__V1__ListProductsReply *)message,
                             view->cart->lines[i]->sku);
    }
    finish_pricing(pricing);
}

static void call_products(struct pricing *pricing, char **skus)
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
    request_call_next(
        r,
        &(struct request_call){
            .channel = r->gateway->inventory,
            .method = "inventory.v1.Inventory/ListProducts",
            .message = &message.base,
            .reply_type = &inventory__v1__list_products_reply__descriptor,
            .timeout_ms = most < PRICES_TIMEOUT_MS ? most : PRICES_TIMEOUT_MS,
        },
        on_products, pricing);
}

/*
 * In a completion (see request_call_next): reads the products of `cart`, which lives in
 * the request's arena, and calls `done` once, perhaps before it returns.  Succeeds even
 * if the products cannot be read.  RESOURCE_EXHAUSTED; DATA_LOSS when the cart has no
 * version.
 */
static void cart_price(struct request *r, const Orders__V1__Cart *cart, unsigned status,
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
             err_make(ERR_DATA_LOSS,
                      "the orchestrator's cart has no valid version, or too many lines"),
             NULL);
        return;
    }
    *pricing =
        (struct pricing){r, {cart, status, NULL, cart->n_lines == 0, products}, done};
    if (cart->n_lines == 0)
        finish_pricing(pricing);
    else
        call_products(pricing, skus);
}

/* ---- writing it ---- */

static void write_cart_line(struct text *text, const Orders__V1__CartLine *line)
{
    answer_text(text, "{\"sku\":", line->sku);
    answer_number(text, ",\"quantity\":", line->quantity);
}

static void write_product(struct text *text, const Inventory__V1__Product *product)
{
    if (product == NULL) {
        text_raw(text, ",\"known\":false");
        return;
    }
    answer_text(text, ",\"known\":true,\"title\":", product->title);
    answer_number(text, ",\"unit_price_cents\":", product->price_cents);
    answer_text(text, ",\"currency\":", product->currency);
    answer_number(text, ",\"available\":", product->available);
}

/* False when there is no total.  Overflow is checked: the services' numbers are not
 * validated here. */
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

/* {"cart_id","etag","lines":[...]}; with "total_cents" and "currency" when each line has
 * a price and all have one currency, and there is a line. */
static void cart_write(struct text *text, const struct cart_view *view)
{
    const char *currency;
    int64_t total;

    answer_text(text, "{\"cart_id\":", view->cart->cart_id);
    answer_text(text, ",\"etag\":", view->etag);
    text_raw(text, ",\"lines\":[");
    for (size_t i = 0; i < view->cart->n_lines; i++) {
        text_raw(text, i > 0 ? "," : "");
        write_cart_line(text, view->cart->lines[i]);
        if (view->priced)
            write_product(text, view->products[i]);
        text_raw(text, "}");
    }
    text_raw(text, "]");
    if (total_of(view, &total, &currency)) {
        answer_number(text, ",\"total_cents\":", total);
        answer_text(text, ",\"currency\":", currency);
    }
    text_raw(text, "}");
}

/* ---- answering ---- */

static size_t cart_room(const struct cart_view *view)
{
    return 256 + 224 * view->cart->n_lines;
}

/* The fields of a cart's answer, in the arena.  Content-Location says that the answer to
 * a PUT is the cart itself, so its ETag is the cart's (RFC 9110, 8.7).  9.3.4 would omit
 * the ETag there, because the answer has prices that the client did not send; it is kept,
 * because the next change needs it. */
static struct err set_cart_fields(struct request *r, const char *etag)
{
    enum { FIELDS_COUNT = 3 };
    const char *location = arena_printf(r->arena, "/v1/carts/%s", r->path_id);
    struct answer_field *fields = arena_alloc(r->arena, FIELDS_COUNT * sizeof *fields);

    if (location == NULL || fields == NULL)
        return err_memory();
    fields[0] = (struct answer_field){"ETag", etag};
    fields[1] = (struct answer_field){"Content-Location", location};
    r->answer.fields = fields; /* the last one is zero: the end of the list */
    return ERR_NONE;
}

static struct err answer_cart(struct request *r, const struct cart_view *view)
{
    struct err e = set_cart_fields(r, view->etag);

    if (failed(e))
        return e;
    struct text text = text_start(r->arena, cart_room(view));
    cart_write(&text, view);
    request_answer(r, view->status, &text);
    return ERR_NONE;
}

/* ---- the cart is not the expected one ---- */

/* `view` is NULL when there is none. */
static void answer_changed(struct request *r, unsigned status,
                           const struct cart_view *view)
{
    struct text text = text_start(r->arena, 512 + (view == NULL ? 0 : cart_room(view)));

    problem_open(&text, status, err_make(ERR_CART_CHANGED, "The cart has changed."));
    text_raw(&text, ",\"cart\":");
    if (view == NULL)
        text_raw(&text, "null");
    else
        cart_write(&text, view);
    text_raw(&text, "}");
    request_answer(r, status, &text);
}

static void on_changed(struct request *r, struct err e, const struct cart_view *view)
{
    if (failed(e))
        request_fail(r, problem_of_call(e, false));
    else
        answer_changed(r, view->status, view);
    http_send(r);
}

void carts_changed(struct request *r, unsigned status, const Orders__V1__Cart *cart)
{
    if (cart != NULL) {
        cart_price(r, cart, status, on_changed);
        return;
    }
    answer_changed(r, status, NULL);
    http_send(r);
}

/* ---- GET ---- */

/* With the conditions of RFC 9110, 13.2.2: 412 when If-Match fails, 304 when
 * If-None-Match names this cart. */
static struct err answer_if(struct request *r, const struct cart_view *view)
{
    bool demanded = true, known = false;
    struct err e = ERR_NONE;

    if (r->head.if_match != NULL)
        e = etag_named(r->head.if_match, view->etag, true, &demanded);
    if (!failed(e) && r->head.if_none_match != NULL)
        e = etag_named(r->head.if_none_match, view->etag, false, &known);
    if (failed(e))
        return e;
    if (!demanded) {
        answer_changed(r, 412, view);
        return ERR_NONE;
    }
    if (!known)
        return answer_cart(r, view);
    e = set_cart_fields(r, view->etag);
    if (!failed(e)) {
        r->answer.status = 304;
        r->answered = true;
    }
    return e;
}

static void on_priced(struct request *r, struct err e, const struct cart_view *view)
{
    if (!failed(e))
        e = answer_if(r, view);
    if (failed(e))
        request_fail(r, problem_of_call(e, false));
    http_send(r);
}

static void on_cart(void *arg, struct err e, const ProtobufCMessage *message,
                    bool replayed)
{
    struct request *r = arg;
    const Orders__V1__GetCartReply *reply = (const Orders__V1__GetCartReply *)message;

    (void)replayed;
    if (!failed(e) && reply->cart == NULL)
        e = err_make(ERR_DATA_LOSS, "GetCart answered without a cart");
    if (failed(e)) {
        http_send_failure(r, problem_of_call(e, false));
    } else {
        cart_price(r, reply->cart, 200, on_priced);
    }
}

struct err carts_get(struct request *r)
{
    Orders__V1__GetCartRequest message = ORDERS__V1__GET_CART_REQUEST__INIT;

    if (!name_valid(r->path_id))
        return err_make(ERR_NOT_FOUND, "There is no such cart.");
    message.user_id = r->user;
    message.cart_id = (char *)r->path_id;
    const struct request_call call = {
        r->gateway->orchestrator, "orders.v1.Orders/GetCart", &message.base,
        &orders__v1__get_cart_reply__descriptor, r->gateway->call_timeout_ms};
    request_call(r, &call, on_cart);
    return ERR_NONE;
}

/* ---- PUT {"lines":[{"sku","quantity"}]} ---- */

static void on_put_priced(struct request *r, struct err e, const struct cart_view *view)
{
    if (!failed(e))
        e = answer_cart(r, view);
    if (failed(e)) {
        e.effect = EFFECT_APPLIED; /* the cart is written, but cannot be sent */
        request_fail(r, problem_of_call(e, true));
    }
    http_send(r);
}

static void on_put(void *arg, struct err e, const ProtobufCMessage *message,
                   bool replayed)
{
    struct request *r = arg;
    const Orders__V1__PutCartReply *reply = (const Orders__V1__PutCartReply *)message;

    (void)replayed;
    if (!failed(e) && reply->changed) {
        carts_changed(r, 412, reply->cart);
        return;
    }
    if (!failed(e) && reply->cart == NULL)
        e = err_unknown(ERR_DATA_LOSS, "PutCart answered without a cart");
    if (failed(e)) {
        http_send_failure(r, problem_of_call(e, true));
    } else {
        cart_price(r, reply->cart, reply->created ? 201 : 200, on_put_priced);
    }
}

/* The conditions on the stored cart: If-Match and If-None-Match. */
static struct err read_conditions(struct request *r, Orders__V1__PutCartRequest *message)
{
    struct etag_versions versions = {NULL, 0};
    struct err e = ERR_NONE;

    if (r->head.if_match != NULL)
        e = etag_if_match(r->arena, r->head.if_match, &versions);
    message->if_versions = versions.items;
    message->n_if_versions = versions.count;
    if (failed(e) || r->head.if_none_match == NULL)
        return e;
    if (strcmp(r->head.if_none_match, "*") != 0)
        return invalid(
            "If-None-Match of a PUT must be \"*\": write only if there is no such "
            "cart.  To write only over a known one send If-Match.");
    message->create_only = true;
    return ERR_NONE;
}

static struct err read_line(const json_t *json, size_t index, Orders__V1__CartLine *out)
{
    static const char *const NAMES[] = {"sku", "quantity", NULL};
    char where[32];
    const char *sku = NULL;

    snprintf(where, sizeof where, "lines[%zu]", index);
    struct err e = body_names(json, where, NAMES);
    if (failed(e))
        return e;
    orders__v1__cart_line__init(out);
    e = body_text(json, "sku", true, &sku);
    if (!failed(e))
        e = body_integer(json, "quantity", 1, QUANTITY_MAX, NULL, &out->quantity);
    if (!failed(e) && !sku_valid(sku))
        e = invalid("sku must be 1 to %d of A-Z a-z 0-9 . _ -.", SKU_LENGTH_MAX);
    if (failed(e))
        return err_make(e.code, "%s: %s", where, e.message);
    out->sku = (char *)sku;
    return ERR_NONE;
}

/* Lines with the same SKU are added up; the lines up to the i-th have been read. */
static struct err check_sum(const Orders__V1__Cart *cart, size_t i)
{
    int64_t sum = 0;

    for (size_t k = 0; k <= i; k++)
        if (strcmp(cart->lines[k]->sku, cart->lines[i]->sku) == 0)
            sum += cart->lines[k]->quantity;
    if (sum <= QUANTITY_MAX)
        return ERR_NONE;
    return invalid(
        "lines[%zu]: quantity must be from 1 to %d in sum over the lines of %s.", i,
        QUANTITY_MAX, cart->lines[i]->sku);
}

/* The cart's texts are borrowed from the JSON. */
static struct err read_cart(struct request *r, const json_t *json, Orders__V1__Cart *cart)
{
    static const char *const NAMES[] = {"lines", "cart_id", NULL};
    const json_t *lines = NULL;
    const char *cart_id = NULL;
    struct err e = body_names(json, "The body", NAMES);

    if (!failed(e))
        e = body_text(json, "cart_id", false, &cart_id);
    if (!failed(e) && cart_id != NULL && strcmp(cart_id, r->path_id) != 0)
        e = invalid("cart_id is not the one of the path; leave it out.");
    if (!failed(e))
        e = body_array(json, "lines", LINES_MAX, &lines);
    if (failed(e))
        return e;
    cart->cart_id = (char *)r->path_id;
    cart->n_lines = json_array_size(lines);
    cart->lines = arena_alloc(r->arena, (cart->n_lines + 1) * sizeof *cart->lines);
    Orders__V1__CartLine *rows =
        arena_alloc(r->arena, (cart->n_lines + 1) * sizeof *rows);
    if (cart->lines == NULL || rows == NULL)
        return err_memory();
    for (size_t i = 0; !failed(e) && i < cart->n_lines; i++) {
        cart->lines[i] = &rows[i];
        e = read_line(json_array_get(lines, i), i, &rows[i]);
        if (!failed(e))
            e = check_sum(cart, i);
    }
    return e;
}

static struct err put(struct request *r, const json_t *json)
{
    Orders__V1__PutCartRequest message = ORDERS__V1__PUT_CART_REQUEST__INIT;
    Orders__V1__Cart cart = ORDERS__V1__CART__INIT;
    struct err e = read_cart(r, json, &cart);

    if (!failed(e))
        e = read_conditions(r, &message);
    if (failed(e))
        return e;
    message.user_id = r->user;
    message.cart = &cart;
    const struct request_call call = {
        r->gateway->orchestrator, "orders.v1.Orders/PutCart", &message.base,
        &orders__v1__put_cart_reply__descriptor, r->gateway->call_timeout_ms};
    request_call(r, &call, on_put);
    return ERR_NONE;
}

struct err carts_put(struct request *r)
{
    json_t *json;

    if (r->head.content_range != NULL) /* RFC 9110, 14.5 */
        return invalid("Content-Range says that the body is a part of a cart; send "
                       "the whole cart, without Content-Range.");
    if (!name_valid(r->path_id))
        return invalid("The cart's id in the path must be 1 to %d of A-Z a-z 0-9 _ -.",
                       NAME_LENGTH_MAX);
    struct err e = body_parse(r->body, r->body_size, &json);
    if (!failed(e))
        e = put(r, json); /* the call packs its message before it returns */
    json_decref(json);
    return e;
}
