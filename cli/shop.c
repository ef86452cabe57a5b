/* shop.c - checkoutctl orders, stock and products: thin layers over one call each. */
#include <inttypes.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "cli/commands.h"
#include "cli/filters.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"

/* ---- orders ---- */

static void print_field(FILE *out, const char *name, const char *value)
{
    fprintf(out, "  %-12s", name);
    output_text(out, *value != '\0' ? value : "-");
    fputc('\n', out);
}

static void print_line(FILE *out, const Orders__V1__OrderLine *line, const char *currency)
{
    char price[MONEY_SIZE], sum[MONEY_SIZE];
    int64_t total;

    /* Bounds are the service's; what comes in from elsewhere is still only data. */
    if (__builtin_mul_overflow(line->quantity, line->unit_price_cents, &total))
        total = 0;
    fprintf(out, "  %-24s %8" PRId64 " %16s %16s  ", line->sku, line->quantity,
            money_text(line->unit_price_cents, currency, price),
            money_text(total, currency, sum));
    output_text(out, line->title);
    fputc('\n', out);
}

static void print_order(const struct cli *cli, const ProtobufCMessage *message)
{
    FILE *out = cli->out;
    const Orders__V1__Order *order = ((const Orders__V1__GetOrderReply *)message)->order;
    char time[TIME_SIZE], total[MONEY_SIZE];

    if (order == NULL) {
        fprintf(out, "The reply holds no order.\n");
        return;
    }
    fprintf(out, "order %s, %s\n\n", order->order_id, order->status);
    print_field(out, "placed", time_text(order->created_at_ms, time));
    print_field(out, "user", order->user_id);
    print_field(out, "cart", order->cart_id);
    print_field(out, "reservation", order->reservation_id);
    print_field(out, "charge", order->charge_id);
    fprintf(out, "\n  %-24s %8s %16s %16s  %s\n", "sku", "quantity", "unit price", "sum",
            "title");
    for (size_t i = 0; i < order->n_lines; i++)
        print_line(out, order->lines[i], order->currency);
    fprintf(out, "  %-24s %8s %16s %16s\n", "total", "", "",
            money_text(order->total_cents, order->currency, total));
}

struct outcome command_orders_show(struct cli *cli)
{
    Orders__V1__GetOrderRequest request = ORDERS__V1__GET_ORDER_REQUEST__INIT;

    return find_and_show(cli, "orchestrator", "orders.v1.Orders/GetOrder", &request.base,
                         &request.order_id, &orders__v1__get_order_reply__descriptor,
                         print_order);
}

static void print_orders(const struct cli *cli, const ProtobufCMessage *message)
{
    const Orders__V1__ListOrdersReply *reply =
        (const Orders__V1__ListOrdersReply *)message;
    char time[TIME_SIZE], total[MONEY_SIZE];

    fprintf(cli->out, "%-26s %-23s %16s  %s\n", "order", "placed", "total", "cart");
    for (size_t i = 0; i < reply->n_orders; i++) {
        const Orders__V1__Order *o = reply->orders[i];
        fprintf(cli->out, "%-26s %-23s %16s  ", o->order_id,
                time_text(o->created_at_ms, time),
                money_text(o->total_cents, o->currency, total));
        output_text(cli->out, o->cart_id);
        fputc('\n', cli->out);
    }
    if (*reply->next_cursor != '\0')
        fprintf(cli->err, "More: the same command with --after %s\n", reply->next_cursor);
}

struct outcome command_orders_list(struct cli *cli)
{
    Orders__V1__ListOrdersRequest request = ORDERS__V1__LIST_ORDERS_REQUEST__INIT;
    const char *limit = cli->options[OPT_LIMIT];
    const char *key = cli->options[OPT_IDEMPOTENCY_KEY];
    int64_t most = 20;
    struct err e = limit == NULL ? ERR_NONE : cli_number(limit, "--limit", 1, 100, &most);

    if (!failed(e))
        e = filter_times(cli, &request.since_ms, &request.until_ms);
    if (failed(e))
        return misused(e);
    request.cart_id = borrow(cli->options[OPT_CART]);
    request.user_id = borrow(cli->options[OPT_USER]);
    request.limit = (int32_t)most;
    request.cursor = borrow(cli->options[OPT_AFTER]);
    request.idempotency_key = borrow(key);
    return remote_show(cli, "orchestrator", "orders.v1.Orders/ListOrders", &request.base,
                       &orders__v1__list_orders_reply__descriptor, print_orders);
}

/* ---- stock and products ---- */

static void print_stock(const struct cli *cli, const ProtobufCMessage *message)
{
    FILE *out = cli->out;
    const Inventory__V1__GetStockReply *stock =
        (const Inventory__V1__GetStockReply *)message;

    fprintf(out,
            "%s: %" PRId64 " available, %" PRId64 " held, %" PRId64 " sold, of %" PRId64
            " received\n",
            stock->sku, stock->available, stock->held, stock->sold, stock->received);
}

static void print_adjusted(const struct cli *cli, const ProtobufCMessage *message)
{
    FILE *out = cli->out;
    const Inventory__V1__AdjustStockReply *reply =
        (const Inventory__V1__AdjustStockReply *)message;

    fprintf(out, "%" PRId64 " available\n", reply->available);
}

static void print_put(const struct cli *cli, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(cli->out, "done\n");
}

static void print_products(const struct cli *cli, const ProtobufCMessage *message)
{
    const Inventory__V1__ListProductsReply *reply =
        (const Inventory__V1__ListProductsReply *)message;
    char price[MONEY_SIZE];

    fprintf(cli->out, "%-24s %10s %16s  %s\n", "sku", "available", "price", "title");
    for (size_t i = 0; i < reply->n_products; i++) {
        const Inventory__V1__Product *p = reply->products[i];
        fprintf(cli->out, "%-24s %10" PRId64 " %16s  ", p->sku, p->available,
                money_text(p->price_cents, p->currency, price));
        output_text(cli->out, p->title);
        fputc('\n', cli->out);
    }
    if (*reply->next_cursor != '\0')
        fprintf(cli->err, "More: the same command with --after %s\n", reply->next_cursor);
}

/* The words between commas; they are the arena's. */
static struct err split_skus(struct cli *cli, Inventory__V1__ListProductsRequest *request)
{
    const char *given = cli->options[OPT_SKU];
    char *text = arena_strdup(cli->arena, given == NULL ? "" : given);

    request->skus = arena_alloc(cli->arena, SKUS_MAX * sizeof *request->skus);
    if (text == NULL || request->skus == NULL)
        return err_memory();
    for (char *next = given == NULL ? NULL : text; next != NULL;) {
        if (request->n_skus == SKUS_MAX)
            return err_make(ERR_INVALID_ARGUMENT, "--sku takes %d SKUs at most",
                            SKUS_MAX);
        request->skus[request->n_skus++] = strsep(&next, ",");
    }
    return ERR_NONE;
}

struct outcome command_products_list(struct cli *cli)
{
    Inventory__V1__ListProductsRequest request =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    const char *limit = cli->options[OPT_LIMIT];
    int64_t most = LIST_DEFAULT;
    struct err e = limit == NULL
                       ? ERR_NONE
                       : cli_number(limit, "--limit", 1, PRODUCTS_PAGE_MAX, &most);

    if (!failed(e))
        e = split_skus(cli, &request);
    if (failed(e))
        return misused(e);
    request.limit = (int32_t)most;
    request.cursor = borrow(cli->options[OPT_AFTER]);
    request.q = borrow(cli->options[OPT_QUERY]);
    return remote_show(cli, "inventory", "inventory.v1.Inventory/ListProducts",
                       &request.base, &inventory__v1__list_products_reply__descriptor,
                       print_products);
}

struct outcome command_stock_show(struct cli *cli)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    request.sku = borrow(cli->words[0]);
    return remote_show(cli, "inventory", "inventory.v1.Inventory/GetStock", &request.base,
                       &inventory__v1__get_stock_reply__descriptor, print_stock);
}

struct outcome command_stock_adjust(struct cli *cli)
{
    Inventory__V1__AdjustStockRequest request = INVENTORY__V1__ADJUST_STOCK_REQUEST__INIT;
    struct err e = cli_number(cli->words[1], "DELTA", -STOCK_DELTA_MAX, STOCK_DELTA_MAX,
                              &request.delta);
    if (failed(e))
        return misused(e);
    request.sku = borrow(cli->words[0]);
    request.reason = borrow(cli->options[OPT_REASON]);
    request.adjustment_id = borrow(cli->options[OPT_ID]);
    return remote_show(cli, "inventory", "inventory.v1.Inventory/AdjustStock",
                       &request.base, &inventory__v1__adjust_stock_reply__descriptor,
                       print_adjusted);
}

struct outcome command_products_put(struct cli *cli)
{
    Inventory__V1__PutProductRequest request = INVENTORY__V1__PUT_PRODUCT_REQUEST__INIT;

    struct err e = cli_number(cli->options[OPT_PRICE], "--price", 0, PRICE_CENTS_MAX,
                              &request.price_cents);
    if (failed(e))
        return misused(e);
    request.sku = borrow(cli->words[0]);
    request.title = borrow(cli->options[OPT_TITLE]);
    request.currency = borrow(cli->options[OPT_CURRENCY]);
    return remote_show(cli, "inventory", "inventory.v1.Inventory/PutProduct",
                       &request.base, &inventory__v1__put_product_reply__descriptor,
                       print_put);
}
