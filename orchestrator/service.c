/* service.c - see service.h.  All input is validated here. */
#include "orchestrator/service.h"

#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "orchestrator/checkout/carts.h"
#include "orchestrator/orders/orders.h"
#include "orchestrator/saga/claim.h"

static struct orchestrator *self(Orders__V1__Orders_Service *service)
{
    return (struct orchestrator *)service;
}

/*
 * Defines the handler `name` of a method that a store answers: checks the request `in`, then
 * runs `statement` with `db` and the context `ctx`.
 */
#define METHOD(name, method, check, statement)                                           \
    static void name(Orders__V1__Orders_Service *service,                                \
                     const Orders__V1__##method##Request *in,                            \
                     Orders__V1__##method##Reply_Closure reply, void *call)              \
    {                                                                                    \
        struct db *db = self(service)->db;                                               \
        struct request_context ctx;                                                      \
                                                                                         \
        if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check))            \
            statement;                                                                   \
    }

static struct err check_user(const char *user_id)
{
    if (uuid_valid(user_id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "user_id must be a UUID in lower case.");
}

static struct err check_name(const char *field, const char *name)
{
    if (name_valid(name))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "%s must be 1 to %d letters, digits, dashes or underscores.", field,
                    NAME_LENGTH_MAX);
}

/* ---- place -------------------------------------------------------------------------- */

static struct err check_key(const char *key)
{
    if (visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "idempotency_key must be %d to %d visible ASCII characters.",
                    IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX);
}

/* The expected_ fields: what the caller showed to the shopper. */
static struct err check_expected(const Orders__V1__PlaceRequest *in)
{
    if (in->expected_total != NULL &&
        (in->expected_total->cents < 0 || in->expected_total->cents > TOTAL_CENTS_MAX))
        return err_make(ERR_INVALID_ARGUMENT, "expected_total must be 0 to %lld cents.",
                        (long long)TOTAL_CENTS_MAX);
    if (in->expected_currency[0] != '\0' && !currency_valid(in->expected_currency))
        return err_make(ERR_INVALID_ARGUMENT,
                        "expected_currency must be three capitals.");
    if (in->expected_cart_version[0] != '\0' &&
        !cart_version_valid(in->expected_cart_version))
        return err_make(ERR_INVALID_ARGUMENT,
                        "expected_cart_version must be at most %d letters and digits.",
                        CART_VERSION_MAX);
    return ERR_NONE;
}

static struct err check_place(const Orders__V1__PlaceRequest *in)
{
    struct err e = check_user(in->user_id);

    if (!failed(e))
        e = check_name("cart_id", in->cart_id);
    if (!failed(e))
        e = check_name("payment_method_id", in->payment_method_id);
    if (!failed(e))
        e = check_key(in->idempotency_key);
    if (!failed(e) && in->fingerprint.len != FINGERPRINT_SIZE)
        e = err_make(ERR_INVALID_ARGUMENT, "fingerprint must be %d bytes, not %zu.",
                     FINGERPRINT_SIZE, in->fingerprint.len);
    return failed(e) ? e : check_expected(in);
}

static void place(Orders__V1__Orders_Service *service, const Orders__V1__PlaceRequest *in,
                  Orders__V1__PlaceReply_Closure reply, void *call)
{
    struct err e = check_place(in);

    if (failed(e))
        rpc_call_fail(call, e);
    else
        claim_place(self(service)->sagas, call, in, reply);
}

/* ---- orders ------------------------------------------------------------------------- */

static struct err check_get_order(struct rpc_call *call,
                                  const Orders__V1__GetOrderRequest *in)
{
    rpc_call_set_order(call, in->order_id);
    if (!ulid_valid(in->order_id))
        return err_make(ERR_NOT_FOUND, "There is no such order.");
    return in->user_id[0] == '\0' ? ERR_NONE : check_user(in->user_id);
}

METHOD(get_order, GetOrder, check_get_order(call, in), orders_get(db, &ctx, in))

static struct err check_time(int64_t since_ms, int64_t until_ms)
{
    if (since_ms >= 0 && until_ms >= 0 && since_ms < ULID_MS_END &&
        until_ms < ULID_MS_END)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "since_ms and until_ms must be Unix milliseconds, or 0.");
}

static struct err check_list_orders(const Orders__V1__ListOrdersRequest *in)
{
    if (in->limit < 0 || in->limit > ORDERS_PAGE_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.",
                        ORDERS_PAGE_MAX, in->limit);
    if (strlen(in->cursor) > ORDERS_CURSOR_SIZE_MAX)
        return err_make(ERR_INVALID_ARGUMENT,
                        "cursor must be one that was given, of at most %d bytes.",
                        ORDERS_CURSOR_SIZE_MAX);
    struct err e = check_user(in->user_id);
    if (!failed(e) && in->cart_id[0] != '\0')
        e = check_name("cart_id", in->cart_id);
    if (!failed(e))
        e = check_time(in->since_ms, in->until_ms);
    if (failed(e) || in->idempotency_key[0] == '\0')
        return e;
    if (in->cursor[0] != '\0')
        return err_make(
            ERR_INVALID_ARGUMENT,
            "idempotency_key finds one order, so there is no next page: leave "
            "cursor out.");
    return check_key(in->idempotency_key);
}

METHOD(list_orders, ListOrders, check_list_orders(in),
       orders_list(db, &ctx, self(service)->cursor_key, in))

/* ---- carts -------------------------------------------------------------------------- */

static struct err check_cart_line(const Orders__V1__CartLine *line, size_t i)
{
    if (!sku_valid(line->sku))
        return err_make(ERR_INVALID_ARGUMENT,
                        "lines[%zu].sku must be 1 to %d letters, digits, dots, dashes or "
                        "underscores.",
                        i, SKU_LENGTH_MAX);
    if (line->quantity < 1 || line->quantity > QUANTITY_MAX)
        return err_make(ERR_INVALID_ARGUMENT,
                        "lines[%zu].quantity, of %s, must be 1 to %d.", i, line->sku,
                        QUANTITY_MAX);
    return ERR_NONE;
}

/* The lines of one SKU count together; those up to the i-th are each in bounds. */
static struct err check_cart_sum(const Orders__V1__Cart *cart, size_t i)
{
    int64_t sum = 0;

    for (size_t k = 0; k <= i; k++)
        if (strcmp(cart->lines[k]->sku, cart->lines[i]->sku) == 0)
            sum += cart->lines[k]->quantity;
    if (sum <= QUANTITY_MAX)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "lines[%zu].quantity: the lines of %s must be 1 to %d in sum.", i,
                    cart->lines[i]->sku, QUANTITY_MAX);
}

static struct err check_versions(const Orders__V1__PutCartRequest *in)
{
    if (in->n_if_versions > CART_VERSIONS_MAX)
        return err_make(ERR_INVALID_ARGUMENT,
                        "if_versions has at most %d versions, not %zu.",
                        CART_VERSIONS_MAX, in->n_if_versions);
    for (size_t i = 0; i < in->n_if_versions; i++)
        if (strcmp(in->if_versions[i], "*") != 0 &&
            !cart_version_valid(in->if_versions[i]))
            return err_make(
                ERR_INVALID_ARGUMENT,
                "if_versions[%zu] must be \"*\" or 1 to %d letters and digits.", i,
                CART_VERSION_MAX);
    return ERR_NONE;
}

static struct err check_put_cart(const Orders__V1__PutCartRequest *in)
{
    struct err e = check_user(in->user_id);

    if (!failed(e) && in->cart == NULL)
        e = err_make(ERR_INVALID_ARGUMENT, "cart is missing.");
    if (!failed(e))
        e = check_name("cart_id", in->cart->cart_id);
    if (!failed(e) && in->cart->n_lines > LINES_MAX)
        e = err_make(ERR_INVALID_ARGUMENT, "A cart has at most %d lines, not %zu.",
                     LINES_MAX, in->cart->n_lines);
    if (!failed(e))
        e = check_versions(in);
    for (size_t i = 0; !failed(e) && i < in->cart->n_lines; i++) {
        e = check_cart_line(in->cart->lines[i], i);
        if (!failed(e))
            e = check_cart_sum(in->cart, i);
    }
    return e;
}

METHOD(put_cart, PutCart, check_put_cart(in), carts_put(db, &ctx, in))

static struct err check_get_cart(const Orders__V1__GetCartRequest *in)
{
    struct err e = check_user(in->user_id);

    return failed(e) ? e : check_name("cart_id", in->cart_id);
}

METHOD(get_cart, GetCart, check_get_cart(in), carts_get(db, &ctx, in))

/* ---- for operators and audits --------------------------------------------------------- */

static int64_t lease_of(Orders__V1__Orders_Service *service)
{
    return sagas_config(self(service)->sagas)->lease_ms;
}

static struct err check_order_id(const char *id)
{
    if (ulid_valid(id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "order_id must be a ULID of 26 characters.");
}

static struct err check_list_checkouts(const Orders__V1__ListCheckoutsRequest *in)
{
    if (in->limit < 0 || in->limit > ENTRIES_PAGE_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.",
                        ENTRIES_PAGE_MAX, in->limit);
    if (in->after_id[0] != '\0' && !visible_ascii(in->after_id, 1, PAGE_AFTER_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "after_id must be at most %d visible ASCII characters.",
                        PAGE_AFTER_MAX);
    return in->only_id[0] == '\0' ? ERR_NONE : check_order_id(in->only_id);
}

/* A key names one checkout, so page fields and request_id are refused with it. */
static struct err check_key_of_user(const Orders__V1__ListCheckoutsRequest *in)
{
    if (in->idempotency_key[0] == '\0')
        return ERR_NONE;
    if (in->user_id[0] == '\0')
        return err_make(ERR_INVALID_ARGUMENT,
                        "idempotency_key needs user_id: a key belongs to its user.");
    if (in->request_id[0] != '\0' || in->before_id[0] != '\0')
        return err_make(
            ERR_INVALID_ARGUMENT,
            "idempotency_key finds one checkout: request_id and before_id cannot "
            "stand beside it.");
    return check_key(in->idempotency_key);
}

static struct err check_newest(const Orders__V1__ListCheckoutsRequest *in)
{
    struct err e = check_time(in->since_ms, in->until_ms);

    if (!failed(e) && in->after_id[0] != '\0')
        e = err_make(ERR_INVALID_ARGUMENT,
                     "after_id cannot be combined with newest_first.");
    if (!failed(e) && in->before_id[0] != '\0' &&
        !visible_ascii(in->before_id, 1, PAGE_AFTER_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "before_id must be at most %d visible ASCII characters.",
                     PAGE_AFTER_MAX);
    if (!failed(e) && in->user_id[0] != '\0')
        e = check_user(in->user_id);
    if (!failed(e) && in->cart_id[0] != '\0')
        e = check_name("cart_id", in->cart_id);
    if (!failed(e) && in->request_id[0] != '\0' && !ulid_valid(in->request_id))
        e = err_make(ERR_INVALID_ARGUMENT, "request_id must be a ULID of 26 characters.");
    if (!failed(e) && (in->state < 0 || in->state > ORDERS__V1__CHECKOUT_STATE__FAILED))
        e = err_make(ERR_INVALID_ARGUMENT, "state %d is not a checkout's state.",
                     (int)in->state);
    return failed(e) ? e : check_key_of_user(in);
}

/* Filters need newest_first: without it they are an error, not ignored. */
static bool has_filter(const Orders__V1__ListCheckoutsRequest *in)
{
    return in->before_id[0] != '\0' || in->user_id[0] != '\0' || in->cart_id[0] != '\0' ||
           in->idempotency_key[0] != '\0' || in->request_id[0] != '\0' ||
           in->state != ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED ||
           in->since_ms != 0 || in->until_ms != 0;
}

static struct err check_checkouts(const Orders__V1__ListCheckoutsRequest *in)
{
    struct err e = check_list_checkouts(in);

    if (!failed(e) && in->newest_first)
        e = check_newest(in);
    else if (!failed(e) && has_filter(in))
        e = err_make(ERR_INVALID_ARGUMENT, "A filter needs newest_first.");
    return e;
}

METHOD(list_checkouts, ListCheckouts, check_checkouts(in),
       (in->newest_first ? orders_list_newest : orders_list_checkouts)(db, &ctx, in,
                                                                       lease_of(service)))

/* The order of a request that names one; the call is then logged with it. */
static struct err check_order_of(struct rpc_call *call, const char *id)
{
    rpc_call_set_order(call, id);
    return check_order_id(id);
}

METHOD(get_checkout, GetCheckout, check_order_of(call, in->order_id),
       orders_get_checkout(db, &ctx, in, lease_of(service)))

METHOD(retry_checkout, RetryCheckout, check_order_of(call, in->order_id),
       orders_retry(db, &ctx, in))

void orchestrator_init(struct orchestrator *orchestrator, struct db *db,
                       struct sagas *sagas, const uint8_t *cursor_key)
{
    static const Orders__V1__Orders_Service METHODS = {
        .base = ORDERS__V1__ORDERS__BASE_INIT,
        .place = place,
        .get_order = get_order,
        .list_orders = list_orders,
        .put_cart = put_cart,
        .get_cart = get_cart,
        .list_checkouts = list_checkouts,
        .get_checkout = get_checkout,
        .retry_checkout = retry_checkout,
    };

    *orchestrator = (struct orchestrator){METHODS, db, sagas, cursor_key};
}
