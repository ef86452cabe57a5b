/*
 * orders.c - /v1/orders: placing an order and reading orders back.
 *
 * The orchestrator stores the outcome of each key.  This file translates its reply to
 * HTTP and caches final answers.  The answer's bytes are a pure function of the order or
 * the error, so that a retry gets the same bytes from any gateway.
 */
#include <string.h>

#include "base/clock.h"
#include "base/contract/fingerprint.h"
#include "base/contract/ids.h"
#include "gateway/api/body.h"
#include "gateway/api/etag.h"
#include "gateway/api/handlers.h"
#include "gateway/api/idempotency.h"
#include "gateway/http/http.h"
#include "gateway/http/problem.h"

static void write_line(struct text *text, const Orders__V1__OrderLine *line)
{
    answer_text(text, "{\"sku\":", line->sku);
    if (line->title[0] != '\0') {
        answer_text(text, ",\"title\":", line->title);
    }
    answer_number(text, ",\"quantity\":", line->quantity);
    answer_number(text, ",\"unit_price_cents\":", line->unit_price_cents);
    text_raw(text, "}");
}

static void write_order(struct text *text, const Orders__V1__Order *order)
{
    answer_text(text, "{\"order_id\":", order->order_id);
    answer_text(text, ",\"status\":", order->status);
    answer_number(text, ",\"total_cents\":", order->total_cents);
    answer_text(text, ",\"currency\":", order->currency);
    text_raw(text, ",\"created_at\":");
    text_time(text, order->created_at_ms);
    text_raw(text, ",\"lines\":[");
    for (size_t i = 0; i < order->n_lines; i++) {
        text_raw(text, i > 0 ? "," : "");
        write_line(text, order->lines[i]);
    }
    text_raw(text, "]}");
}

/* ---- POST /v1/orders ---- */

static struct err check_order(const struct order_asked *o)
{
    if (!name_valid(o->cart_id))
        return invalid("cart_id must be 1 to %d of A-Z a-z 0-9 _ -.", NAME_LENGTH_MAX);
    if (!name_valid(o->payment_method_id))
        return invalid("payment_method_id must be 1 to %d of A-Z a-z 0-9 _ -.",
                       NAME_LENGTH_MAX);
    return ERR_NONE;
}

/* The expected_ fields: what the shopper was shown. */
static struct err read_expected(struct arena *arena, const json_t *json,
                                struct order_asked *out)
{
    const char *etag = NULL;
    struct err e = body_integer(json, "expected_total_cents", 0, TOTAL_CENTS_MAX,
                                &out->has_expected_total, &out->expected_total_cents);

    if (!failed(e))
        e = body_text(json, "expected_currency", false, &out->expected_currency);
    if (!failed(e) && out->expected_currency != NULL &&
        !currency_valid(out->expected_currency))
        e = invalid("expected_currency must be three capital letters, as in ISO 4217.");
    if (!failed(e))
        e = body_text(json, "expected_cart", false, &etag);
    return failed(e) || etag == NULL
               ? e
               : etag_lines(arena, "expected_cart", etag, &out->expected_cart);
}

/* Texts are borrowed from the JSON or live in the arena; *key_field: the body's key or
 * NULL. */
static struct err read_order(struct arena *arena, const json_t *json,
                             struct order_asked *out, const char **key_field)
{
    static const char *const NAMES[] = {"cart_id",
                                        "payment_method_id",
                                        "idempotency_key",
                                        "expected_total_cents",
                                        "expected_currency",
                                        "expected_cart",
                                        NULL};
    struct err e = body_names(json, "The body", NAMES);

    if (!failed(e))
        e = body_text(json, "cart_id", true, &out->cart_id);
    if (!failed(e))
        e = body_text(json, "payment_method_id", true, &out->payment_method_id);
    if (!failed(e))
        e = body_text(json, "idempotency_key", false, key_field);
    if (!failed(e))
        e = read_expected(arena, json, out);
    return failed(e) ? e : check_order(out);
}

static void on_placed(void *arg, struct err e, const ProtobufCMessage *message,
                      bool replayed)
{
    struct request *r = arg;
    const Orders__V1__PlaceReply *reply = (const Orders__V1__PlaceReply *)message;

    if (!failed(e) && reply->changed_cart != NULL) {
        carts_changed(r, 409, reply->changed_cart);
        return;
    }
    /* The id is sent in a header field, so it must be valid. */
    if (!failed(e) && (reply->order == NULL || !ulid_valid(reply->order->order_id)))
        e = err_unknown(ERR_DATA_LOSS, "Place answered without an order that has an id");
    bool final = !failed(e) || problem_is_final(e.code);
    unsigned status = failed(e) ? err_http_status(e.code) : 201;
    r->order_id = !failed(e)                           ? reply->order->order_id
                  : e.code == ERR_CART_ALREADY_ORDERED ? e.subject
                                                       : NULL;
    r->answer.replayed = final && replayed;
    if (failed(e)) {
        request_fail(r, problem_of_call(e, true));
    } else {
        struct text text = text_start(r->arena, 256 + 160 * reply->order->n_lines);
        write_order(&text, reply->order);
        r->answer.location =
            arena_printf(r->arena, "/v1/orders/%s", reply->order->order_id);
        request_answer(r, status, &text);
    }
    /* Not cached: an answer that may still change, or that did not fit into the arena. */
    if (final && e.money != MONEY_REFUND_PENDING && r->answer.status == status)
        response_cache_put(r->gateway->response_cache, r->cache_id, clock_monotonic_ms(),
                           &r->answer);
    http_send(r);
}

static void call_place(struct request *r, const struct order_asked *order,
                       const char *key)
{
    uint8_t fingerprint[FINGERPRINT_SIZE];
    Orders__V1__PlaceRequest message = ORDERS__V1__PLACE_REQUEST__INIT;
    Orders__V1__ExpectedTotal total = ORDERS__V1__EXPECTED_TOTAL__INIT;

    message.user_id = r->user;
    message.cart_id = (char *)order->cart_id;
    message.payment_method_id = (char *)order->payment_method_id;
    message.idempotency_key = (char *)key;
    fingerprint_order("POST", "/v1/orders", order, fingerprint);
    message.fingerprint = (ProtobufCBinaryData){FINGERPRINT_SIZE, fingerprint};
    total.cents = order->expected_total_cents;
    message.expected_total = order->has_expected_total ? &total : NULL;
    if (order->expected_currency != NULL)
        message.expected_currency = (char *)order->expected_currency;
    if (order->expected_cart != NULL)
        message.expected_cart_version = (char *)order->expected_cart;
    const struct request_call call = {r->gateway->orchestrator, "orders.v1.Orders/Place",
                                      &message.base, &orders__v1__place_reply__descriptor,
                                      r->gateway->place_timeout_ms};
    request_call(r, &call, on_placed);
}

static struct err place(struct request *r, const json_t *json)
{
    struct order_asked order = {.user_id = r->user};
    const char *key_field = NULL, *key = NULL;
    struct err e = read_order(r->arena, json, &order, &key_field);

    if (!failed(e))
        e = idempotency_key(r->arena, r->head.idempotency_key, key_field, &key);
    if (!failed(e))
        call_place(r, &order, key);
    return e;
}

/* The order's id in an answer's Location; NULL when it has none. */
static const char *order_at(const char *location)
{
    return location == NULL ? NULL : strrchr(location, '/') + 1;
}

struct err orders_place(struct request *r)
{
    json_t *json;

    response_cache_id(r->user, r->head.idempotency_key, r->body, r->body_size,
                      r->cache_id);
    r->answered = response_cache_get(r->gateway->response_cache, r->cache_id,
                                     r->started_us / 1000, r->arena, &r->answer);
    if (r->answered) {
        r->order_id = order_at(r->answer.location);
        return ERR_NONE;
    }
    struct err e = body_parse(r->body, r->body_size, &json);
    if (!failed(e))
        e = place(r, json); /* the call packs its message before it returns */
    json_decref(json);
    return e;
}

/* ---- GET /v1/orders/{id} ---- */

static void on_order(void *arg, struct err e, const ProtobufCMessage *message,
                     bool replayed)
{
    struct request *r = arg;
    const Orders__V1__GetOrderReply *reply = (const Orders__V1__GetOrderReply *)message;

    (void)replayed;
    if (!failed(e) && reply->order == NULL)
        e = err_make(ERR_DATA_LOSS, "GetOrder answered without an order");
    if (failed(e)) {
        request_fail(r, problem_of_call(e, false));
    } else {
        struct text text = text_start(r->arena, 256 + 160 * reply->order->n_lines);
        write_order(&text, reply->order);
        request_answer(r, 200, &text);
    }
    http_send(r);
}

struct err orders_get(struct request *r)
{
    Orders__V1__GetOrderRequest message = ORDERS__V1__GET_ORDER_REQUEST__INIT;

    if (!ulid_valid(r->path_id))
        return err_make(ERR_NOT_FOUND, "There is no such order.");
    r->order_id = r->path_id;
    message.order_id = (char *)r->path_id;
    message.user_id = r->user;
    const struct request_call call = {
        r->gateway->orchestrator, "orders.v1.Orders/GetOrder", &message.base,
        &orders__v1__get_order_reply__descriptor, r->gateway->call_timeout_ms};
    request_call(r, &call, on_order);
    return ERR_NONE;
}

/* ---- GET /v1/orders?limit=&cursor= or ?idempotency_key= ---- */

static void on_orders(void *arg, struct err e, const ProtobufCMessage *message,
                      bool replayed)
{
    struct request *r = arg;
    const Orders__V1__ListOrdersReply *reply =
        (const Orders__V1__ListOrdersReply *)message;

    (void)replayed;
    if (failed(e)) {
        http_send_failure(r, problem_of_call(e, false));
        return;
    }
    struct text text = text_start(r->arena, 64 + 512 * reply->n_orders);
    text_raw(&text, "{\"orders\":[");
    for (size_t i = 0; i < reply->n_orders; i++) {
        text_raw(&text, i > 0 ? "," : "");
        write_order(&text, reply->orders[i]);
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

/* ?idempotency_key=, which must be the only parameter. */
static struct err read_key(const char *key, bool alone,
                           Orders__V1__ListOrdersRequest *message)
{
    if (!alone)
        return invalid("idempotency_key finds one order: no other parameter can stand "
                       "beside it.");
    if (!visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX))
        return invalid("idempotency_key must be %d to %d visible ASCII characters, "
                       "percent-encoded (a + is written %%2B).",
                       IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX);
    message->idempotency_key = (char *)key;
    return ERR_NONE;
}

struct err orders_list(struct request *r)
{
    static const char *const NAMES[] = {"limit", "cursor", "idempotency_key", NULL};
    Orders__V1__ListOrdersRequest message = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
    const char *values[3];
    struct err e = request_query(r, NAMES, values);

    if (!failed(e))
        e = request_limit(values[0], ORDERS_PAGE_MAX, &message.limit);
    if (!failed(e) && values[1] != NULL)
        message.cursor = (char *)values[1];
    if (!failed(e) && values[2] != NULL)
        e = read_key(values[2], values[0] == NULL && values[1] == NULL, &message);
    if (failed(e))
        return e;
    message.user_id = r->user;
    const struct request_call call = {
        r->gateway->orchestrator, "orders.v1.Orders/ListOrders", &message.base,
        &orders__v1__list_orders_reply__descriptor, r->gateway->call_timeout_ms};
    request_call(r, &call, on_orders);
    return ERR_NONE;
}
