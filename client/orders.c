/* orders.c - orders: the orchestrator's methods for them in checkout/client.h. */
#include "proto/orders.pb-c.h"

#include "base/contract/fingerprint.h"
#include "client/calls.h"

/* ---- what an order is --------------------------------------------------------- */

static bool fill_order(struct arena *arena, const Orders__V1__Order *from,
                       struct checkout_order *to)
{
    struct checkout_order_line *lines;

    if (from == NULL)
        return false;
    lines = arena_alloc(arena, (from->n_lines + 1) * sizeof *lines);
    if (lines == NULL)
        return false;
    for (size_t i = 0; i < from->n_lines; i++)
        lines[i] = (struct checkout_order_line){
            from->lines[i]->sku, from->lines[i]->quantity,
            from->lines[i]->unit_price_cents, from->lines[i]->title};
    *to = (struct checkout_order){
        .order_id = from->order_id,
        .user_id = from->user_id,
        .cart_id = from->cart_id,
        .status = from->status,
        .total_cents = from->total_cents,
        .currency = from->currency,
        .created_at_ms = from->created_at_ms,
        .line_count = from->n_lines,
        .lines = lines,
    };
    return true;
}

/* ---- place -------------------------------------------------------------------- */

static void *convert_placed(struct arena *arena, const ProtobufCMessage *message,
                            bool replayed)
{
    const Orders__V1__PlaceReply *reply = (const void *)message;
    struct checkout_placed *placed = reply_new(arena, sizeof *placed);

    if (placed == NULL || !fill_order(arena, reply->order, &placed->order))
        return NULL;
    placed->replayed = replayed;
    return placed;
}

static struct err place_refusal(const ProtobufCMessage *message)
{
    const Orders__V1__PlaceReply *reply = (const void *)message;

    return reply->changed_cart != NULL ? cart_changed(reply->changed_cart) : ERR_NONE;
}

static void deliver_placed(any_done *done, void *arg, const struct checkout_error *error,
                           const void *reply)
{
    ((checkout_place_order_done *)done)(arg, error, reply);
}

static const struct kind PLACE = {
    "orders.v1.Orders/Place", CALL_ORCHESTRATOR, &orders__v1__place_reply__descriptor,
    convert_placed,           deliver_placed,    place_refusal};

/* NULL also for an empty text. */
static const char *given(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

/* As the gateway's, so that a key is one order through either door. */
static void make_fingerprint(const struct checkout_place_order *r,
                             uint8_t out[FINGERPRINT_SIZE])
{
    const struct order_asked asked = {
        .user_id = borrow(r->user_id),
        .cart_id = borrow(r->cart_id),
        .payment_method_id = borrow(r->payment_method_id),
        .has_expected_total = r->has_expected_total,
        .expected_total_cents = r->expected_total_cents,
        .expected_currency = given(r->expected_currency),
        .expected_cart = given(r->expected_cart_version),
    };

    fingerprint_order("POST", "/v1/orders", &asked, out);
}

struct place_message {
    Orders__V1__PlaceRequest request;
    Orders__V1__ExpectedTotal total;
    uint8_t fingerprint[FINGERPRINT_SIZE];
};

static const ProtobufCMessage *make_place(const struct checkout_place_order *from,
                                          struct place_message *m)
{
    orders__v1__place_request__init(&m->request);
    orders__v1__expected_total__init(&m->total);
    m->request.user_id = borrow(from->user_id);
    m->request.cart_id = borrow(from->cart_id);
    m->request.payment_method_id = borrow(from->payment_method_id);
    m->request.idempotency_key = borrow(from->idempotency_key);
    make_fingerprint(from, m->fingerprint);
    m->request.fingerprint.data = m->fingerprint;
    m->request.fingerprint.len = FINGERPRINT_SIZE;
    m->total.cents = from->expected_total_cents;
    if (from->has_expected_total)
        m->request.expected_total = &m->total;
    m->request.expected_currency = borrow(from->expected_currency);
    m->request.expected_cart_version = borrow(from->expected_cart_version);
    return &m->request.base;
}

enum checkout_status checkout_place_order(checkout_client *client,
                                          const struct checkout_place_order *request,
                                          const struct checkout_options *options,
                                          struct checkout_placed **reply,
                                          struct checkout_error *error)
{
    struct place_message m;

    return wait_for(client, &PLACE, make_place(request, &m), options, (void **)reply,
                    error);
}

checkout_call checkout_place_order_start(checkout_client *client,
                                         const struct checkout_place_order *request,
                                         const struct checkout_options *options,
                                         checkout_place_order_done *done, void *arg)
{
    struct place_message m;

    return start(client, &PLACE, make_place(request, &m), options, (any_done *)done, arg);
}

/* ---- get ---------------------------------------------------------------------- */

static void *convert_order(struct arena *arena, const ProtobufCMessage *message,
                           bool replayed)
{
    const Orders__V1__GetOrderReply *reply = (const void *)message;
    struct checkout_order *order = reply_new(arena, sizeof *order);

    (void)replayed;
    return order != NULL && fill_order(arena, reply->order, order) ? order : NULL;
}

static void deliver_order(any_done *done, void *arg, const struct checkout_error *error,
                          const void *reply)
{
    ((checkout_get_order_done *)done)(arg, error, reply);
}

static const struct kind GET = {"orders.v1.Orders/GetOrder",
                                CALL_ORCHESTRATOR,
                                &orders__v1__get_order_reply__descriptor,
                                convert_order,
                                deliver_order,
                                NULL};

static const ProtobufCMessage *make_get(const struct checkout_get_order *from,
                                        Orders__V1__GetOrderRequest *m)
{
    orders__v1__get_order_request__init(m);
    m->order_id = borrow(from->order_id);
    m->user_id = borrow(from->user_id);
    return &m->base;
}

enum checkout_status checkout_get_order(checkout_client *client,
                                        const struct checkout_get_order *request,
                                        const struct checkout_options *options,
                                        struct checkout_order **reply,
                                        struct checkout_error *error)
{
    Orders__V1__GetOrderRequest m;

    return wait_for(client, &GET, make_get(request, &m), options, (void **)reply, error);
}

checkout_call checkout_get_order_start(checkout_client *client,
                                       const struct checkout_get_order *request,
                                       const struct checkout_options *options,
                                       checkout_get_order_done *done, void *arg)
{
    Orders__V1__GetOrderRequest m;

    return start(client, &GET, make_get(request, &m), options, (any_done *)done, arg);
}

/* ---- list --------------------------------------------------------------------- */

static void *convert_orders(struct arena *arena, const ProtobufCMessage *message,
                            bool replayed)
{
    const Orders__V1__ListOrdersReply *reply = (const void *)message;
    struct checkout_orders *orders = reply_new(arena, sizeof *orders);
    struct checkout_order *list =
        arena_alloc(arena, (reply->n_orders + 1) * sizeof *list);

    (void)replayed;
    if (orders == NULL || list == NULL)
        return NULL;
    for (size_t i = 0; i < reply->n_orders; i++)
        if (!fill_order(arena, reply->orders[i], &list[i]))
            return NULL;
    *orders = (struct checkout_orders){reply->n_orders, list, reply->next_cursor};
    return orders;
}

static void deliver_orders(any_done *done, void *arg, const struct checkout_error *error,
                           const void *reply)
{
    ((checkout_list_orders_done *)done)(arg, error, reply);
}

static const struct kind LIST = {"orders.v1.Orders/ListOrders",
                                 CALL_ORCHESTRATOR,
                                 &orders__v1__list_orders_reply__descriptor,
                                 convert_orders,
                                 deliver_orders,
                                 NULL};

static const ProtobufCMessage *make_list(const struct checkout_list_orders *from,
                                         Orders__V1__ListOrdersRequest *m)
{
    orders__v1__list_orders_request__init(m);
    m->user_id = borrow(from->user_id);
    m->limit = from->limit;
    m->cursor = borrow(from->cursor);
    m->idempotency_key = borrow(from->idempotency_key);
    return &m->base;
}

enum checkout_status checkout_list_orders(checkout_client *client,
                                          const struct checkout_list_orders *request,
                                          const struct checkout_options *options,
                                          struct checkout_orders **reply,
                                          struct checkout_error *error)
{
    Orders__V1__ListOrdersRequest m;

    return wait_for(client, &LIST, make_list(request, &m), options, (void **)reply,
                    error);
}

checkout_call checkout_list_orders_start(checkout_client *client,
                                         const struct checkout_list_orders *request,
                                         const struct checkout_options *options,
                                         checkout_list_orders_done *done, void *arg)
{
    Orders__V1__ListOrdersRequest m;

    return start(client, &LIST, make_list(request, &m), options, (any_done *)done, arg);
}
