/* shop.c - checkoutctl orders, stock and products: thin layers over one call each. */
#include <inttypes.h>
#include <string.h>

#include "base/bounds.h"
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"

/* Calls, and has `print` (or, with --json, the JSON mapping) show the reply. */
static struct outcome show(const struct cli *cli, const char *service, const char *method,
                           const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           void (*print)(FILE *out, const ProtobufCMessage *reply))
{
    const ProtobufCMessage *reply = NULL;
    struct outcome end =
        remote_call(cli, place_find(service), method, request, reply_type, &reply);

    if (end.status == 0 && cli->options[OPT_JSON] == NULL)
        print(cli->out, reply);
    else if (end.status == 0)
        end = local(output_message(cli, reply));
    return end;
}

/* Requests borrow words; protobuf-c's structs only lack the const. */
static char *borrow(const char *word)
{
    return (char *)(uintptr_t)word;
}

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
    fprintf(out, "  %-24s %8" PRId64 " %16s %16s\n", line->sku, line->quantity,
            money_text(line->unit_price_cents, currency, price),
            money_text(total, currency, sum));
}

static void print_order(FILE *out, const ProtobufCMessage *message)
{
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
    fprintf(out, "\n  %-24s %8s %16s %16s\n", "sku", "quantity", "unit price", "sum");
    for (size_t i = 0; i < order->n_lines; i++)
        print_line(out, order->lines[i], order->currency);
    fprintf(out, "  %-24s %8s %16s %16s\n", "total", "", "",
            money_text(order->total_cents, order->currency, total));
}

struct outcome command_orders_show(struct cli *cli)
{
    Orders__V1__GetOrderRequest request = ORDERS__V1__GET_ORDER_REQUEST__INIT;

    request.order_id = borrow(cli->words[0]);
    return show(cli, "orchestrator", "orders.v1.Orders/GetOrder", &request.base,
                &orders__v1__get_order_reply__descriptor, print_order);
}

/* ---- stock and products ---- */

static void print_stock(FILE *out, const ProtobufCMessage *message)
{
    const Inventory__V1__GetStockReply *stock =
        (const Inventory__V1__GetStockReply *)message;

    fprintf(out,
            "%s: %" PRId64 " available, %" PRId64 " held, %" PRId64 " sold, of %" PRId64
            " received\n",
            stock->sku, stock->available, stock->held, stock->sold, stock->received);
}

static void print_adjusted(FILE *out, const ProtobufCMessage *message)
{
    const Inventory__V1__AdjustStockReply *reply =
        (const Inventory__V1__AdjustStockReply *)message;

    fprintf(out, "%" PRId64 " available\n", reply->available);
}

static void print_put(FILE *out, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(out, "done\n");
}

struct outcome command_stock_show(struct cli *cli)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    request.sku = borrow(cli->words[0]);
    return show(cli, "inventory", "inventory.v1.Inventory/GetStock", &request.base,
                &inventory__v1__get_stock_reply__descriptor, print_stock);
}

struct outcome command_stock_adjust(struct cli *cli)
{
    Inventory__V1__AdjustStockRequest request = INVENTORY__V1__ADJUST_STOCK_REQUEST__INIT;
    const char *id = cli->options[OPT_ID];

    struct err e = cli_number(cli->words[1], "DELTA", -STOCK_DELTA_MAX, STOCK_DELTA_MAX,
                              &request.delta);
    if (failed(e))
        return misused(e);
    request.sku = borrow(cli->words[0]);
    request.reason = borrow(cli->options[OPT_REASON]);
    request.adjustment_id = borrow(id != NULL ? id : "");
    return show(cli, "inventory", "inventory.v1.Inventory/AdjustStock", &request.base,
                &inventory__v1__adjust_stock_reply__descriptor, print_adjusted);
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
    return show(cli, "inventory", "inventory.v1.Inventory/PutProduct", &request.base,
                &inventory__v1__put_product_reply__descriptor, print_put);
}
