/*
 * methods.c - the methods of checkout/client.h: the message each sends, and how its reply
 * is converted for the user.
 *
 * For a method NAME, make_NAME fills the protobuf message from the user's request, and
 * convert_NAME makes the user's reply of the protobuf one.  A new method needs these two,
 * a KIND and a METHOD.
 */
#include "base/contract/fingerprint.h"
#include "client/calls.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"

/* What calls.h must know of a method. */
#define KIND(name, method, callee, reply_descriptor, done_type, refusal)                 \
    static void deliver_##name(any_done *done, void *arg,                                \
                               const struct checkout_error *error, const void *reply)    \
    {                                                                                    \
        ((done_type *)done)(arg, error, reply);                                          \
    }                                                                                    \
    static const struct kind KIND_##name = {                                             \
        method, callee, &reply_descriptor, convert_##name, deliver_##name, refusal}

/* Its two public functions: blocking, and started.  The message borrows the request's
 * texts; it is packed before either returns. */
#define METHOD(name, message_type, reply_type, done_type)                                \
    enum checkout_status checkout_##name(                                                \
        checkout_client *client, const struct checkout_##name *request,                  \
        const struct checkout_options *options, reply_type **reply,                      \
        struct checkout_error *error)                                                    \
    {                                                                                    \
        message_type m;                                                                  \
        return wait_for(client, &KIND_##name, make_##name(request, &m), options,         \
                        (void **)reply, error);                                          \
    }                                                                                    \
    checkout_call checkout_##name##_start(                                               \
        checkout_client *client, const struct checkout_##name *request,                  \
        const struct checkout_options *options, done_type *done, void *arg)              \
    {                                                                                    \
        message_type m;                                                                  \
        return start(client, &KIND_##name, make_##name(request, &m), options,            \
                     (any_done *)done, arg);                                             \
    }

/* ---- orders ------------------------------------------------------------------- */

/* The cart is not the expected one; the subject is its version, if it exists. */
static struct err cart_changed(const Orders__V1__Cart *cart)
{
    struct err e =
        err_make(ERR_CART_CHANGED, "The cart is not the one that was expected.");

    e.subject = cart == NULL ? NULL : cart->version;
    return e;
}

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

static void *convert_place_order(struct arena *arena, const ProtobufCMessage *message,
                                 bool replayed)
{
    const Orders__V1__PlaceReply *reply = (const void *)message;
    struct checkout_placed *placed = reply_new(arena, sizeof *placed);

    if (placed == NULL || !fill_order(arena, reply->order, &placed->order))
        return NULL;
    placed->replayed = replayed;
    return placed;
}

static struct err refuse_place_order(const ProtobufCMessage *message)
{
    const Orders__V1__PlaceReply *reply = (const void *)message;

    return reply->changed_cart != NULL ? cart_changed(reply->changed_cart) : ERR_NONE;
}

/* NULL also for an empty text. */
static const char *given(const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : text;
}

/* The same fingerprint as the gateway's, so a key gives one order by RPC and by HTTP. */
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

static const ProtobufCMessage *make_place_order(const struct checkout_place_order *from,
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

KIND(place_order, "orders.v1.Orders/Place", CALL_ORCHESTRATOR,
     orders__v1__place_reply__descriptor, checkout_place_order_done, refuse_place_order);
METHOD(place_order, struct place_message, struct checkout_placed,
       checkout_place_order_done)

static void *convert_get_order(struct arena *arena, const ProtobufCMessage *message,
                               bool replayed)
{
    const Orders__V1__GetOrderReply *reply = (const void *)message;
    struct checkout_order *order = reply_new(arena, sizeof *order);

    (void)replayed;
    return order != NULL && fill_order(arena, reply->order, order) ? order : NULL;
}

static const ProtobufCMessage *make_get_order(const struct checkout_get_order *from,
                                              Orders__V1__GetOrderRequest *m)
{
    orders__v1__get_order_request__init(m);
    m->order_id = borrow(from->order_id);
    m->user_id = borrow(from->user_id);
    return &m->base;
}

KIND(get_order, "orders.v1.Orders/GetOrder", CALL_ORCHESTRATOR,
     orders__v1__get_order_reply__descriptor, checkout_get_order_done, NULL);
METHOD(get_order, Orders__V1__GetOrderRequest, struct checkout_order,
       checkout_get_order_done)

static void *convert_list_orders(struct arena *arena, const ProtobufCMessage *message,
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

static const ProtobufCMessage *make_list_orders(const struct checkout_list_orders *from,
                                                Orders__V1__ListOrdersRequest *m)
{
    orders__v1__list_orders_request__init(m);
    m->user_id = borrow(from->user_id);
    m->limit = from->limit;
    m->cursor = borrow(from->cursor);
    m->idempotency_key = borrow(from->idempotency_key);
    return &m->base;
}

KIND(list_orders, "orders.v1.Orders/ListOrders", CALL_ORCHESTRATOR,
     orders__v1__list_orders_reply__descriptor, checkout_list_orders_done, NULL);
METHOD(list_orders, Orders__V1__ListOrdersRequest, struct checkout_orders,
       checkout_list_orders_done)

/* ---- carts -------------------------------------------------------------------- */

static void *new_cart(struct arena *arena, const Orders__V1__Cart *from, bool created)
{
    struct checkout_cart *cart = reply_new(arena, sizeof *cart);
    struct checkout_cart_line *lines =
        from == NULL ? NULL : arena_alloc(arena, (from->n_lines + 1) * sizeof *lines);

    if (cart == NULL || lines == NULL)
        return NULL;
    for (size_t i = 0; i < from->n_lines; i++)
        lines[i] =
            (struct checkout_cart_line){from->lines[i]->sku, from->lines[i]->quantity};
    *cart = (struct checkout_cart){from->cart_id, from->n_lines, lines, created,
                                   from->version};
    return cart;
}

static struct err refuse_put_cart(const ProtobufCMessage *message)
{
    const Orders__V1__PutCartReply *reply = (const void *)message;

    return reply->changed ? cart_changed(reply->cart) : ERR_NONE;
}

static void *convert_put_cart(struct arena *arena, const ProtobufCMessage *message,
                              bool replayed)
{
    const Orders__V1__PutCartReply *reply = (const void *)message;

    (void)replayed;
    return new_cart(arena, reply->cart, reply->created);
}

static void *convert_get_cart(struct arena *arena, const ProtobufCMessage *message,
                              bool replayed)
{
    const Orders__V1__GetCartReply *reply = (const void *)message;

    (void)replayed;
    return new_cart(arena, reply->cart, false);
}

/* In an arena that lives until the request is packed: there may be any number of lines.
 */
static const ProtobufCMessage *make_put_cart(const struct checkout_put_cart *from,
                                             struct arena *arena)
{
    Orders__V1__PutCartRequest *m = arena_alloc(arena, sizeof *m);
    Orders__V1__Cart *cart = arena_alloc(arena, sizeof *cart);
    Orders__V1__CartLine *lines =
        from->line_count > LINES_SENT_MAX
            ? NULL
            : arena_alloc(arena, (from->line_count + 1) * sizeof *lines);
    Orders__V1__CartLine **list =
        lines == NULL ? NULL : arena_alloc(arena, (from->line_count + 1) * sizeof *list);

    if (m == NULL || cart == NULL || list == NULL)
        return NULL;
    orders__v1__put_cart_request__init(m);
    orders__v1__cart__init(cart);
    for (size_t i = 0; i < from->line_count; i++) {
        orders__v1__cart_line__init(&lines[i]);
        lines[i].sku = borrow(from->lines[i].sku);
        lines[i].quantity = from->lines[i].quantity;
        list[i] = &lines[i];
    }
    cart->cart_id = borrow(from->cart_id);
    cart->lines = list;
    cart->n_lines = from->line_count;
    m->user_id = borrow(from->user_id);
    m->cart = cart;
    m->create_only = from->create_only;
    if (from->if_version == NULL || from->if_version[0] == '\0')
        return &m->base;
    m->if_versions = arena_alloc(arena, sizeof *m->if_versions);
    if (m->if_versions == NULL)
        return NULL;
    m->if_versions[m->n_if_versions++] = borrow(from->if_version);
    return &m->base;
}

KIND(put_cart, "orders.v1.Orders/PutCart", CALL_ORCHESTRATOR,
     orders__v1__put_cart_reply__descriptor, checkout_cart_done, refuse_put_cart);

enum checkout_status checkout_put_cart(checkout_client *client,
                                       const struct checkout_put_cart *request,
                                       const struct checkout_options *options,
                                       struct checkout_cart **reply,
                                       struct checkout_error *error)
{
    struct arena *arena = arena_new(ARENA_MAX);
    const ProtobufCMessage *m = arena == NULL ? NULL : make_put_cart(request, arena);
    enum checkout_status status =
        m == NULL ? wait_for_nothing(error)
                  : wait_for(client, &KIND_put_cart, m, options, (void **)reply, error);

    arena_free(arena);
    return status;
}

checkout_call checkout_put_cart_start(checkout_client *client,
                                      const struct checkout_put_cart *request,
                                      const struct checkout_options *options,
                                      checkout_cart_done *done, void *arg)
{
    struct arena *arena = arena_new(ARENA_MAX);
    const ProtobufCMessage *m = arena == NULL ? NULL : make_put_cart(request, arena);
    checkout_call call =
        m == NULL ? start_nothing(&KIND_put_cart, (any_done *)done, arg)
                  : start(client, &KIND_put_cart, m, options, (any_done *)done, arg);

    arena_free(arena);
    return call;
}

static const ProtobufCMessage *make_get_cart(const struct checkout_get_cart *from,
                                             Orders__V1__GetCartRequest *m)
{
    orders__v1__get_cart_request__init(m);
    m->user_id = borrow(from->user_id);
    m->cart_id = borrow(from->cart_id);
    return &m->base;
}

KIND(get_cart, "orders.v1.Orders/GetCart", CALL_ORCHESTRATOR,
     orders__v1__get_cart_reply__descriptor, checkout_cart_done, NULL);
METHOD(get_cart, Orders__V1__GetCartRequest, struct checkout_cart, checkout_cart_done)

/* ---- products and stock ------------------------------------------------------- */

static void *convert_get_stock(struct arena *arena, const ProtobufCMessage *message,
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

static const ProtobufCMessage *make_get_stock(const struct checkout_get_stock *from,
                                              Inventory__V1__GetStockRequest *m)
{
    inventory__v1__get_stock_request__init(m);
    m->sku = borrow(from->sku);
    return &m->base;
}

KIND(get_stock, "inventory.v1.Inventory/GetStock", CALL_INVENTORY,
     inventory__v1__get_stock_reply__descriptor, checkout_get_stock_done, NULL);
METHOD(get_stock, Inventory__V1__GetStockRequest, struct checkout_stock,
       checkout_get_stock_done)

static void *convert_list_products(struct arena *arena, const ProtobufCMessage *message,
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

static const ProtobufCMessage *
make_list_products(const struct checkout_list_products *from,
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

KIND(list_products, "inventory.v1.Inventory/ListProducts", CALL_INVENTORY,
     inventory__v1__list_products_reply__descriptor, checkout_list_products_done, NULL);
METHOD(list_products, Inventory__V1__ListProductsRequest, struct checkout_products,
       checkout_list_products_done)
