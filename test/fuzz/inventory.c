/* inventory.c - every method of inventory.v1.Inventory, up to the stock; see dispatch.h. */
#include "fuzz/dispatch.h"
#include "inventory/service.h"
#include "inventory/stock.h"

enum { TTL_MS = 900000 };

static const uint8_t CURSOR_KEY[CURSOR_KEY_SIZE] = {7};

void stock_reserve(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReserveRequest *in, int64_t ttl_ms)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->reservation_id) && ttl_ms == TTL_MS);
    assert(in->n_lines >= 1 && in->n_lines <= LINES_MAX);
    for (size_t i = 0; i < in->n_lines; i++) {
        int64_t sum = 0;
        for (size_t k = 0; k < in->n_lines; k++)
            if (strcmp(in->lines[k]->sku, in->lines[i]->sku) == 0)
                sum += in->lines[k]->quantity;
        assert(sku_valid(in->lines[i]->sku) && in->lines[i]->quantity >= 1);
        assert(sum <= QUANTITY_MAX);
    }
}

void stock_confirm(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ConfirmRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->reservation_id));
}

void stock_release(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReleaseRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->reservation_id));
}

void stock_get_reservation(struct db *db, const struct request_context *ctx,
                           const Inventory__V1__GetReservationRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->reservation_id));
}

void stock_get(struct db *db, const struct request_context *ctx,
               const Inventory__V1__GetStockRequest *in)
{
    (void)db;
    stored(ctx);
    assert(sku_valid(in->sku));
}

void stock_list_products(struct db *db, const struct request_context *ctx,
                         const uint8_t *cursor_key,
                         const Inventory__V1__ListProductsRequest *in)
{
    (void)db;
    stored(ctx);
    assert(cursor_key[0] == CURSOR_KEY[0]);
    assert(page_good(in->limit, "") && utf8_valid(in->q, SEARCH_SIZE_MAX));
    assert(in->n_skus <= SKUS_MAX);
    for (size_t i = 0; i < in->n_skus; i++)
        assert(sku_valid(in->skus[i]));
}

void stock_put_product(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__PutProductRequest *in)
{
    (void)db;
    stored(ctx);
    assert(sku_valid(in->sku) && currency_valid(in->currency));
    assert(in->title[0] != '\0' && utf8_valid(in->title, TITLE_SIZE_MAX));
    assert(in->price_cents >= 0 && in->price_cents <= PRICE_CENTS_MAX);
}

void stock_adjust(struct db *db, const struct request_context *ctx,
                  const Inventory__V1__AdjustStockRequest *in, const char *adjustment_id)
{
    (void)db;
    stored(ctx);
    assert(sku_valid(in->sku) && visible_ascii(adjustment_id, 1, ADJUSTMENT_ID_MAX));
    assert(in->delta != 0 && llabs(in->delta) <= STOCK_DELTA_MAX);
    assert(in->reason[0] != '\0' && utf8_valid(in->reason, REASON_SIZE_MAX));
}

void stock_list_reservations(struct db *db, const struct request_context *ctx,
                             const Inventory__V1__ListReservationsRequest *in)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->after_id) && empty_or(ulid_valid, in->only_id));
}

void stock_list_newest(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__ListReservationsRequest *in)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->before_id) && time_good(in->since_ms, in->until_ms));
    assert(in->after_id[0] == '\0' && empty_or(ulid_valid, in->only_id));
}

void stock_list(struct db *db, const struct request_context *ctx,
                const Inventory__V1__ListStockRequest *in)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, "") && empty_or(sku_valid, in->after_sku));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct inventory inventory;

    inventory_init(&inventory, NULL, TTL_MS, CURSOR_KEY);
    dispatch(&inventory.service.base, data, size);
    return 0;
}
