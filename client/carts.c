/* carts.c - carts: the orchestrator's methods for them in checkout/client.h. */
#include "proto/orders.pb-c.h"

#include "client/calls.h"

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

struct err cart_changed(const Orders__V1__Cart *cart)
{
    struct err e =
        err_make(ERR_CART_CHANGED, "The cart is not the one that was expected.");

    e.subject = cart == NULL ? NULL : cart->version;
    return e;
}

static struct err put_refusal(const ProtobufCMessage *message)
{
    const Orders__V1__PutCartReply *reply = (const void *)message;

    return reply->changed ? cart_changed(reply->cart) : ERR_NONE;
}

static void *convert_put(struct arena *arena, const ProtobufCMessage *message,
                         bool replayed)
{
    const Orders__V1__PutCartReply *reply = (const void *)message;

    (void)replayed;
    return new_cart(arena, reply->cart, reply->created);
}

static void *convert_got(struct arena *arena, const ProtobufCMessage *message,
                         bool replayed)
{
    const Orders__V1__GetCartReply *reply = (const void *)message;

    (void)replayed;
    return new_cart(arena, reply->cart, false);
}

static void deliver_cart(any_done *done, void *arg, const struct checkout_error *error,
                         const void *reply)
{
    ((checkout_cart_done *)done)(arg, error, reply);
}

static const struct kind PUT_CART = {"orders.v1.Orders/PutCart",
                                     CALL_ORCHESTRATOR,
                                     &orders__v1__put_cart_reply__descriptor,
                                     convert_put,
                                     deliver_cart,
                                     put_refusal};
static const struct kind GET_CART = {"orders.v1.Orders/GetCart",
                                     CALL_ORCHESTRATOR,
                                     &orders__v1__get_cart_reply__descriptor,
                                     convert_got,
                                     deliver_cart,
                                     NULL};

/* In an arena that lives until the request is packed: there may be any number of lines.
 */
static const ProtobufCMessage *make_put(const struct checkout_put_cart *from,
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

enum checkout_status checkout_put_cart(checkout_client *client,
                                       const struct checkout_put_cart *request,
                                       const struct checkout_options *options,
                                       struct checkout_cart **reply,
                                       struct checkout_error *error)
{
    struct arena *arena = arena_new(ARENA_MAX);
    const ProtobufCMessage *m = arena == NULL ? NULL : make_put(request, arena);
    enum checkout_status status =
        m == NULL ? wait_for_nothing(error)
                  : wait_for(client, &PUT_CART, m, options, (void **)reply, error);

    arena_free(arena);
    return status;
}

checkout_call checkout_put_cart_start(checkout_client *client,
                                      const struct checkout_put_cart *request,
                                      const struct checkout_options *options,
                                      checkout_cart_done *done, void *arg)
{
    struct arena *arena = arena_new(ARENA_MAX);
    const ProtobufCMessage *m = arena == NULL ? NULL : make_put(request, arena);
    checkout_call call =
        m == NULL ? start_nothing(&PUT_CART, (any_done *)done, arg)
                  : start(client, &PUT_CART, m, options, (any_done *)done, arg);

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

enum checkout_status checkout_get_cart(checkout_client *client,
                                       const struct checkout_get_cart *request,
                                       const struct checkout_options *options,
                                       struct checkout_cart **reply,
                                       struct checkout_error *error)
{
    Orders__V1__GetCartRequest m;

    return wait_for(client, &GET_CART, make_get_cart(request, &m), options,
                    (void **)reply, error);
}

checkout_call checkout_get_cart_start(checkout_client *client,
                                      const struct checkout_get_cart *request,
                                      const struct checkout_options *options,
                                      checkout_cart_done *done, void *arg)
{
    Orders__V1__GetCartRequest m;

    return start(client, &GET_CART, make_get_cart(request, &m), options, (any_done *)done,
                 arg);
}
