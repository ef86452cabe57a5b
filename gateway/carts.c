/*
 * carts.c - /v1/carts/{id}: what a shopper means to buy.
 *
 * A cart belongs to the user of the token; another user's is not found.
 */
#include <stdio.h>
#include <string.h>

#include "base/bounds.h"
#include "base/ids.h"
#include "gateway/body.h"
#include "gateway/handlers.h"
#include "gateway/problem.h"
#include "proto/orders.pb-c.h"

static void answer_cart(struct request *r, unsigned status, const Orders__V1__Cart *cart)
{
    struct text text = text_start(r->arena, 128 + 112 * cart->n_lines);

    text_raw(&text, "{\"cart_id\":");
    text_string(&text, cart->cart_id);
    text_raw(&text, ",\"lines\":[");
    for (size_t i = 0; i < cart->n_lines; i++) {
        text_raw(&text, i > 0 ? ",{\"sku\":" : "{\"sku\":");
        text_string(&text, cart->lines[i]->sku);
        text_raw(&text, ",\"quantity\":");
        text_number(&text, cart->lines[i]->quantity);
        text_raw(&text, "}");
    }
    text_raw(&text, "]}");
    request_answer(r, status, &text);
}

/* ---- GET ---- */

static void on_cart(void *arg, struct err e, const ProtobufCMessage *message,
                    bool replayed)
{
    struct request *r = arg;
    const Orders__V1__GetCartReply *reply = (const Orders__V1__GetCartReply *)message;

    (void)replayed;
    if (!failed(e) && reply->cart == NULL)
        e = err_make(ERR_DATA_LOSS, "GetCart answered without a cart");
    if (failed(e))
        request_fail(r, problem_of_call(e, false));
    else
        answer_cart(r, 200, reply->cart);
    request_resume(r);
}

struct err carts_get(struct request *r)
{
    Orders__V1__GetCartRequest message = ORDERS__V1__GET_CART_REQUEST__INIT;

    if (!name_valid(r->path_id))
        return err_make(ERR_NOT_FOUND, "There is no such cart.");
    message.user_id = r->user;
    message.cart_id = (char *)r->path_id;
    request_call(r,
                 &(struct request_call){
                     .channel = r->gateway->orchestrator,
                     .method = "orders.v1.Orders/GetCart",
                     .message = &message.base,
                     .reply_type = &orders__v1__get_cart_reply__descriptor,
                     .timeout_ms = r->gateway->call_timeout_ms,
                 },
                 on_cart);
    return ERR_NONE;
}

/* ---- PUT {"lines":[{"sku","quantity"}]} ---- */

static void on_put(void *arg, struct err e, const ProtobufCMessage *message,
                   bool replayed)
{
    struct request *r = arg;
    const Orders__V1__PutCartReply *reply = (const Orders__V1__PutCartReply *)message;

    (void)replayed;
    if (!failed(e) && reply->cart == NULL)
        e = err_unknown(ERR_DATA_LOSS, "PutCart answered without a cart");
    if (failed(e))
        request_fail(r, problem_of_call(e, true));
    else
        answer_cart(r, reply->created ? 201 : 200, reply->cart);
    request_resume(r);
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
        e = err_make(ERR_INVALID_ARGUMENT, "sku must be 1 to %d of A-Z a-z 0-9 . _ -.",
                     SKU_LENGTH_MAX);
    if (failed(e))
        return err_make(e.code, "%s: %s", where, e.message);
    out->sku = (char *)sku;
    return ERR_NONE;
}

/* The lines of one SKU are one wish; those up to the i-th are read. */
static struct err check_sum(const Orders__V1__Cart *cart, size_t i)
{
    int64_t sum = 0;

    for (size_t k = 0; k <= i; k++)
        if (strcmp(cart->lines[k]->sku, cart->lines[i]->sku) == 0)
            sum += cart->lines[k]->quantity;
    if (sum <= QUANTITY_MAX)
        return ERR_NONE;
    return err_make(
        ERR_INVALID_ARGUMENT,
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
        e = err_make(ERR_INVALID_ARGUMENT,
                     "cart_id is not the one of the path; leave it out.");
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

    if (failed(e))
        return e;
    message.user_id = r->user;
    message.cart = &cart;
    request_call(r,
                 &(struct request_call){
                     .channel = r->gateway->orchestrator,
                     .method = "orders.v1.Orders/PutCart",
                     .message = &message.base,
                     .reply_type = &orders__v1__put_cart_reply__descriptor,
                     .timeout_ms = r->gateway->call_timeout_ms,
                 },
                 on_put);
    return ERR_NONE;
}

struct err carts_put(struct request *r)
{
    json_t *json;

    if (!name_valid(r->path_id))
        return err_make(ERR_INVALID_ARGUMENT,
                        "The cart's id in the path must be 1 to %d of A-Z a-z 0-9 _ -.",
                        NAME_LENGTH_MAX);
    struct err e = body_parse(r->body, r->body_size, &json);
    if (!failed(e))
        e = put(r, json); /* the call packs its message before it returns */
    json_decref(json);
    return e;
}
