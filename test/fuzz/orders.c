/* orders.c - every method of orders.v1.Orders, up to the store; see dispatch.h. */
#include "orchestrator/orders/orders.h"
#include "fuzz/cart.h"
#include "fuzz/dispatch.h"
#include "orchestrator/checkout/carts.h"
#include "orchestrator/saga/claim.h"
#include "orchestrator/service.h"

enum { LEASE_MS = 15000 };

const struct sagas_config *sagas_config(const struct sagas *sagas)
{
    static const struct sagas_config CONFIG = {.lease_ms = LEASE_MS};

    (void)sagas;
    return &CONFIG;
}

void claim_place(struct sagas *sagas, struct rpc_call *call,
                 const Orders__V1__PlaceRequest *in, Orders__V1__PlaceReply_Closure reply)
{
    const Orders__V1__ExpectedTotal *total = in->expected_total;

    (void)sagas, (void)call, (void)reply;
    dispatch_stored++;
    assert(uuid_valid(in->user_id) && name_valid(in->cart_id));
    assert(name_valid(in->payment_method_id));
    assert(visible_ascii(in->idempotency_key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
    assert(in->fingerprint.len == FINGERPRINT_SIZE);
    assert(total == NULL || (total->cents >= 0 && total->cents <= TOTAL_CENTS_MAX));
    assert(empty_or(currency_valid, in->expected_currency));
    assert(empty_or(cart_version_valid, in->expected_cart_version));
}

void orders_get(struct db *db, const struct request_context *ctx,
                const Orders__V1__GetOrderRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->order_id) && empty_or(uuid_valid, in->user_id));
}

void orders_list(struct db *db, const struct request_context *ctx,
                 const uint8_t *cursor_key, const Orders__V1__ListOrdersRequest *in)
{
    (void)db, (void)cursor_key;
    stored(ctx);
    assert(uuid_valid(in->user_id) && in->limit >= 0 && in->limit <= ORDERS_PAGE_MAX);
    assert(strlen(in->cursor) <= ORDERS_CURSOR_SIZE_MAX);
    assert(*in->idempotency_key == '\0' || *in->cursor == '\0');
    assert(empty_or(name_valid, in->cart_id) && time_good(in->since_ms, in->until_ms));
    assert(*in->idempotency_key == '\0' ||
           visible_ascii(in->idempotency_key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
}

void carts_put(struct db *db, const struct request_context *ctx,
               const Orders__V1__PutCartRequest *in)
{
    (void)db;
    stored(ctx);
    assert(uuid_valid(in->user_id) && name_valid(in->cart->cart_id));
    assert_lines(in->cart);
    assert_versions(in);
}

void carts_get(struct db *db, const struct request_context *ctx,
               const Orders__V1__GetCartRequest *in)
{
    (void)db;
    stored(ctx);
    assert(uuid_valid(in->user_id) && name_valid(in->cart_id));
}

void orders_list_checkouts(struct db *db, const struct request_context *ctx,
                           const Orders__V1__ListCheckoutsRequest *in, int64_t lease_ms)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->after_id) && empty_or(ulid_valid, in->only_id));
    assert(lease_ms == LEASE_MS);
}

void orders_list_newest(struct db *db, const struct request_context *ctx,
                        const Orders__V1__ListCheckoutsRequest *in, int64_t lease_ms)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->before_id) && time_good(in->since_ms, in->until_ms));
    assert(in->after_id[0] == '\0' && empty_or(ulid_valid, in->only_id));
    assert(empty_or(uuid_valid, in->user_id) && empty_or(ulid_valid, in->request_id));
    assert(lease_ms == LEASE_MS);
}

void orders_get_checkout(struct db *db, const struct request_context *ctx,
                         const Orders__V1__GetCheckoutRequest *in, int64_t lease_ms)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->order_id) && lease_ms == LEASE_MS);
}

void orders_retry(struct db *db, const struct request_context *ctx,
                  const Orders__V1__RetryCheckoutRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->order_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct orchestrator orchestrator;

    orchestrator_init(&orchestrator, NULL, NULL, NULL);
    dispatch(&orchestrator.service.base, data, size);
    return 0;
}
