/* service.c - see service.h.  All input is validated here. */
#include "inventory/service.h"

#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "base/program/worker.h"
#include "inventory/stock.h"
#include "rpc/server/server.h"

static struct db *db_of(Inventory__V1__Inventory_Service *service)
{
    return ((struct inventory *)service)->db;
}

static struct err check_id(const char *id)
{
    if (ulid_valid(id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "reservation_id must be a ULID of 26 characters.");
}

static struct err check_sku(const char *sku)
{
    if (sku_valid(sku))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "sku must be 1 to %d letters, digits, dots, dashes or underscores.",
                    SKU_LENGTH_MAX);
}

/* ---- reservations ------------------------------------------------------------------- */

/* Checks the i-th line's quantity, and its sum with earlier lines of the same SKU. */
static bool quantity_valid(const Inventory__V1__ReserveRequest *in, size_t i)
{
    int64_t sum = 0;

    if (in->lines[i]->quantity < 1 || in->lines[i]->quantity > QUANTITY_MAX)
        return false;
    for (size_t k = 0; k <= i; k++)
        if (strcmp(in->lines[k]->sku, in->lines[i]->sku) == 0)
            sum += in->lines[k]->quantity;
    return sum <= QUANTITY_MAX;
}

static struct err check_lines(const Inventory__V1__ReserveRequest *in)
{
    if (in->n_lines < 1 || in->n_lines > LINES_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "A reservation has 1 to %d lines, not %zu.",
                        LINES_MAX, in->n_lines);
    for (size_t i = 0; i < in->n_lines; i++) {
        struct err e = check_sku(in->lines[i]->sku);
        if (failed(e))
            return e;
        if (!quantity_valid(in, i))
            return err_make(ERR_INVALID_ARGUMENT,
                            "The quantity of %s must be 1 to %d, also in sum.",
                            in->lines[i]->sku, QUANTITY_MAX);
    }
    return ERR_NONE;
}

static void reserve(Inventory__V1__Inventory_Service *service,
                    const Inventory__V1__ReserveRequest *in,
                    Inventory__V1__ReserveReply_Closure reply, void *call)
{
    struct err e = check_id(in->reservation_id);
    struct request_context ctx;

    rpc_call_set_order(call, in->reservation_id);
    if (!failed(e))
        e = check_lines(in);
    if (!request_context_open(&ctx, call, (ProtobufCClosure)reply, e))
        return;
    const struct inventory *inventory = (const struct inventory *)service;
    worker_reset_backoff(inventory->reaper);
    stock_reserve(inventory->db, &ctx, in, inventory->reservation_ttl_ms);
}

static void confirm(Inventory__V1__Inventory_Service *service,
                    const Inventory__V1__ConfirmRequest *in,
                    Inventory__V1__ConfirmReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->reservation_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_id(in->reservation_id)))
        stock_confirm(db_of(service), &ctx, in);
}

static void release(Inventory__V1__Inventory_Service *service,
                    const Inventory__V1__ReleaseRequest *in,
                    Inventory__V1__ReleaseReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->reservation_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_id(in->reservation_id)))
        stock_release(db_of(service), &ctx, in);
}

static void get_reservation(Inventory__V1__Inventory_Service *service,
                            const Inventory__V1__GetReservationRequest *in,
                            Inventory__V1__GetReservationReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->reservation_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_id(in->reservation_id)))
        stock_get_reservation(db_of(service), &ctx, in);
}

/* ---- stock and products ------------------------------------------------------------- */

static void get_stock(Inventory__V1__Inventory_Service *service,
                      const Inventory__V1__GetStockRequest *in,
                      Inventory__V1__GetStockReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_sku(in->sku)))
        stock_get(db_of(service), &ctx, in);
}

static struct err check_limit(int32_t limit)
{
    if (limit >= 0 && limit <= ENTRIES_PAGE_MAX)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.",
                    ENTRIES_PAGE_MAX, limit);
}

static struct err check_page(int32_t limit, const char *after_sku)
{
    struct err e = check_limit(limit);

    return failed(e) || after_sku[0] == '\0' ? e : check_sku(after_sku);
}

/* The filters; the cursor is opened by the store. */
static struct err check_products(const Inventory__V1__ListProductsRequest *in)
{
    if (in->limit < 0 || in->limit > PRODUCTS_PAGE_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.",
                        PRODUCTS_PAGE_MAX, in->limit);
    if (!utf8_valid(in->q, SEARCH_SIZE_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "q must be at most %d bytes of plain UTF-8.", SEARCH_SIZE_MAX);
    if (in->n_skus > SKUS_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "skus may be %d at most, not %zu.",
                        SKUS_MAX, in->n_skus);
    struct err e = ERR_NONE;
    for (size_t i = 0; !failed(e) && i < in->n_skus; i++)
        e = check_sku(in->skus[i]);
    return e;
}

static void list_products(Inventory__V1__Inventory_Service *service,
                          const Inventory__V1__ListProductsRequest *in,
                          Inventory__V1__ListProductsReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_products(in)))
        stock_list_products(db_of(service), &ctx,
                            ((struct inventory *)service)->cursor_key, in);
}

static struct err check_product(const Inventory__V1__PutProductRequest *in)
{
    if (in->title[0] == '\0' || !utf8_valid(in->title, TITLE_SIZE_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "title must be 1 to %d bytes of plain UTF-8.", TITLE_SIZE_MAX);
    if (in->price_cents < 0 || in->price_cents > PRICE_CENTS_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "price_cents must be 0 to %lld.",
                        (long long)PRICE_CENTS_MAX);
    if (!currency_valid(in->currency))
        return err_make(ERR_INVALID_ARGUMENT,
                        "currency must be three capital letters, such as EUR.");
    return check_sku(in->sku);
}

static void put_product(Inventory__V1__Inventory_Service *service,
                        const Inventory__V1__PutProductRequest *in,
                        Inventory__V1__PutProductReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_product(in)))
        stock_put_product(db_of(service), &ctx, in);
}

static struct err check_adjustment(const Inventory__V1__AdjustStockRequest *in)
{
    if (in->delta == 0 || in->delta < -STOCK_DELTA_MAX || in->delta > STOCK_DELTA_MAX)
        return err_make(ERR_INVALID_ARGUMENT,
                        "delta must be -%lld to %lld pieces, and not 0.",
                        (long long)STOCK_DELTA_MAX, (long long)STOCK_DELTA_MAX);
    if (in->reason[0] == '\0' || !utf8_valid(in->reason, REASON_SIZE_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "reason must be 1 to %d bytes of plain UTF-8.", REASON_SIZE_MAX);
    if (in->adjustment_id[0] != '\0' &&
        !visible_ascii(in->adjustment_id, 1, ADJUSTMENT_ID_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "adjustment_id must be 1 to %d visible ASCII characters.",
                        ADJUSTMENT_ID_MAX);
    return check_sku(in->sku);
}

static void adjust_stock(Inventory__V1__Inventory_Service *service,
                         const Inventory__V1__AdjustStockRequest *in,
                         Inventory__V1__AdjustStockReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_adjustment(in)))
        stock_adjust(db_of(service), &ctx, in,
                     in->adjustment_id[0] != '\0' ? in->adjustment_id
                                                  : rpc_call_id(call));
}

/* ---- audits ------------------------------------------------------------------------- */

static struct err check_newest(const Inventory__V1__ListReservationsRequest *in)
{
    struct err e = check_limit(in->limit);

    if (!failed(e) && in->after_id[0] != '\0')
        e = err_make(ERR_INVALID_ARGUMENT,
                     "after_id cannot be combined with newest_first.");
    if (!failed(e) && in->only_id[0] != '\0')
        e = check_id(in->only_id);
    if (!failed(e) && in->before_id[0] != '\0' &&
        !visible_ascii(in->before_id, 1, PAGE_AFTER_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "before_id must be at most %d visible ASCII characters.",
                     PAGE_AFTER_MAX);
    if (!failed(e) && (in->since_ms < 0 || in->since_ms >= ULID_MS_END ||
                       in->until_ms < 0 || in->until_ms >= ULID_MS_END))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "since_ms and until_ms must be Unix milliseconds, or 0.");
    if (!failed(e) &&
        (in->state < 0 || in->state > INVENTORY__V1__RESERVATION_STATE__REFUSED))
        e = err_make(ERR_INVALID_ARGUMENT, "state %d is not a reservation's state.",
                     (int)in->state);
    return e;
}

/* Filters that need newest_first. */
static bool has_filter(const Inventory__V1__ListReservationsRequest *in)
{
    return in->before_id[0] != '\0' || in->since_ms != 0 || in->until_ms != 0 ||
           in->state != INVENTORY__V1__RESERVATION_STATE__RESERVATION_UNSPECIFIED;
}

static struct err check_reservations(const Inventory__V1__ListReservationsRequest *in)
{
    struct err e = check_limit(in->limit);

    if (in->newest_first)
        return check_newest(in);
    if (!failed(e) && has_filter(in))
        e = err_make(ERR_INVALID_ARGUMENT, "A filter needs newest_first.");
    if (!failed(e) && in->after_id[0] != '\0' &&
        !visible_ascii(in->after_id, 1, PAGE_AFTER_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "after_id must be at most %d visible ASCII characters.",
                     PAGE_AFTER_MAX);
    return failed(e) || in->only_id[0] == '\0' ? e : check_id(in->only_id);
}

static void list_reservations(Inventory__V1__Inventory_Service *service,
                              const Inventory__V1__ListReservationsRequest *in,
                              Inventory__V1__ListReservationsReply_Closure reply,
                              void *call)
{
    struct request_context ctx;

    if (!request_context_open(&ctx, call, (ProtobufCClosure)reply,
                              check_reservations(in)))
        return;
    if (in->newest_first)
        stock_list_newest(db_of(service), &ctx, in);
    else
        stock_list_reservations(db_of(service), &ctx, in);
}

static void list_stock(Inventory__V1__Inventory_Service *service,
                       const Inventory__V1__ListStockRequest *in,
                       Inventory__V1__ListStockReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_page(in->limit, in->after_sku)))
        stock_list(db_of(service), &ctx, in);
}

void inventory_init(struct inventory *inventory, struct db *db,
                    int64_t reservation_ttl_ms, const uint8_t *cursor_key)
{
    static const Inventory__V1__Inventory_Service METHODS = {
        .base = INVENTORY__V1__INVENTORY__BASE_INIT,
        .reserve = reserve,
        .confirm = confirm,
        .release = release,
        .get_reservation = get_reservation,
        .get_stock = get_stock,
        .list_products = list_products,
        .put_product = put_product,
        .adjust_stock = adjust_stock,
        .list_reservations = list_reservations,
        .list_stock = list_stock,
    };

    *inventory = (struct inventory){.service = METHODS,
                                    .db = db,
                                    .reservation_ttl_ms = reservation_ttl_ms,
                                    .cursor_key = cursor_key};
}
