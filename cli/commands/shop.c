/*
 * shop.c - checkoutctl orders, checkouts, reservations, charges, refund, stock and
 * products: thin layers over one call each.
 */
#include <inttypes.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/view/find.h"
#include "cli/view/view.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"

enum { CHECKOUT_WIDTH = 14, EFFECT_WIDTH = 12 }; /* of the names of shown fields */

/* ---- orders ------------------------------------------------------------------------ */

static void print_field(FILE *out, const char *name, const char *value)
{
    fprintf(out, "  %-12s", name);
    output_text(out, *value != '\0' ? value : "-");
    fputc('\n', out);
}

static void print_order_line(FILE *out, const Orders__V1__OrderLine *line,
                             const char *currency)
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

static void print_order(const struct cli *cli, const void *message)
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
        print_order_line(out, order->lines[i], order->currency);
    fprintf(out, "  %-24s %8s %16s %16s\n", "total", "", "",
            money_text(order->total_cents, order->currency, total));
}

struct outcome command_orders_show(struct cli *cli)
{
    Orders__V1__GetOrderRequest request = ORDERS__V1__GET_ORDER_REQUEST__INIT;

    return find_and_show(cli, &GET_ORDER, &request.base, &request.order_id, print_order);
}

static void print_orders(const struct cli *cli, const void *message)
{
    const Orders__V1__ListOrdersReply *reply = message;
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
    struct filters filters;
    int64_t limit = 20;
    struct err e = cli_option(cli, OPT_LIMIT, 1, 100, &limit);

    if (!failed(e))
        e = filters_read(cli, NULL, &filters);
    if (failed(e))
        return misused(e);
    request.limit = (int32_t)limit;
    request.since_ms = filters.since_ms;
    request.until_ms = filters.until_ms;
    request.cart_id = borrow(cli->options[OPT_CART]);
    request.user_id = borrow(cli->options[OPT_USER]);
    request.cursor = borrow(cli->options[OPT_AFTER]);
    request.idempotency_key = borrow(cli->options[OPT_IDEMPOTENCY_KEY]);
    return remote_show(cli, &LIST_ORDERS, &request.base, print_orders);
}

/* ---- checkouts --------------------------------------------------------------------- */

/* Copies the filters into a request of any of the three lists. */
#define TAKE_FILTERS(cli, request, filters, State)                                       \
    do {                                                                                 \
        (request).newest_first = true;                                                   \
        (request).limit = (filters).limit;                                               \
        (request).since_ms = (filters).since_ms;                                         \
        (request).until_ms = (filters).until_ms;                                         \
        (request).state = (State)(filters).state;                                        \
        (request).only_id = borrow((cli)->options[OPT_ORDER]);                           \
        (request).before_id = borrow((cli)->options[OPT_AFTER]);                         \
    } while (0)

static bool unfinished(const Orders__V1__Checkout *c)
{
    return c->state == CHECKOUT_STATE(RUNNING) || c->state == CHECKOUT_STATE(ABORTING);
}

/* The time left until the lease's end; "-" when there is no lease. */
static const char *lease_text(const Orders__V1__Checkout *c, char out[TIME_SIZE])
{
    if (!unfinished(c))
        return "-";
    snprintf(out, TIME_SIZE, "%s%.1f s", c->lease_left_ms < 0 ? "over by " : "",
             (double)(c->lease_left_ms < 0 ? -c->lease_left_ms : c->lease_left_ms) /
                 1000);
    return out;
}

static void print_checkouts(const struct cli *cli, const void *message)
{
    const Orders__V1__ListCheckoutsReply *reply = message;
    char time[TIME_SIZE], lease[TIME_SIZE];

    fprintf(cli->out, "%-26s %-10s %-23s %5s %-14s %s\n", "order", "state", "claimed",
            "epoch", "lease", "reason");
    for (size_t i = 0; i < reply->n_checkouts; i++) {
        const Orders__V1__Checkout *c = reply->checkouts[i];
        fprintf(cli->out, "%-26s %-10s %-23s %5" PRId64 " %-14s ", c->order_id,
                checkout_state_text(c->state), time_text(c->created_at_ms, time),
                c->epoch, lease_text(c, lease));
        output_text(cli->out, c->failure_reason);
        fprintf(cli->out, "%s\n", c->needs_attention ? " NEEDS ATTENTION" : "");
    }
    filters_print_more(cli, reply->n_checkouts, reply->next_before_id);
}

struct outcome command_checkouts_list(struct cli *cli)
{
    Orders__V1__ListCheckoutsRequest request = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;
    struct filters filters;
    struct err e = filters_read(cli, &orders__v1__checkout_state__descriptor, &filters);

    if (failed(e))
        return misused(e);
    TAKE_FILTERS(cli, request, filters, Orders__V1__CheckoutState);
    request.unfinished = cli->options[OPT_UNFINISHED] != NULL;
    request.user_id = borrow(cli->options[OPT_USER]);
    request.cart_id = borrow(cli->options[OPT_CART]);
    request.idempotency_key = borrow(cli->options[OPT_IDEMPOTENCY_KEY]);
    return remote_show(cli, &LIST_CHECKOUTS, &request.base, print_checkouts);
}

static void print_checkout(const struct cli *cli, const void *message)
{
    const Orders__V1__GetCheckoutReply *reply = message;
    const Orders__V1__Checkout *c = reply->checkout;
    char text[MONEY_SIZE];
    FILE *out = cli->out;

    if (c == NULL) {
        fprintf(out, "The reply holds no checkout.\n");
        return;
    }
    fprintf(out, "checkout %s, %s%s\n\n", c->order_id, checkout_state_text(c->state),
            c->needs_attention ? ", NEEDS ATTENTION" : "");
    output_time(out, CHECKOUT_WIDTH, "claimed", c->created_at_ms);
    output_time(out, CHECKOUT_WIDTH, "finished", c->finished_at_ms);
    output_field(out, CHECKOUT_WIDTH, "key", c->idempotency_key);
    output_field(out, CHECKOUT_WIDTH, "request", reply->request_id);
    output_field(out, CHECKOUT_WIDTH, "user", c->user_id);
    output_field(out, CHECKOUT_WIDTH, "cart", c->cart_id);
    output_field(out, CHECKOUT_WIDTH, "method", reply->payment_method_id);
    output_field(out, CHECKOUT_WIDTH, "owner", reply->owner);
    snprintf(text, sizeof text, "%" PRId64, c->epoch);
    output_field(out, CHECKOUT_WIDTH, "epoch", text);
    if (unfinished(c))
        output_field(out, CHECKOUT_WIDTH, "lease", lease_text(c, text));
    output_field(out, CHECKOUT_WIDTH, "failed for", c->failure_reason);
    output_field(out, CHECKOUT_WIDTH, "", reply->failure_message);
    output_field(out, CHECKOUT_WIDTH, "money", reply->money);
    if (c->ordered)
        output_field(out, CHECKOUT_WIDTH, "order of",
                     money_text(c->order_total_cents, c->order_currency, text));
    fprintf(out, "\nWhat happened to it: checkoutctl explain %s\n", c->order_id);
}

struct outcome command_checkouts_show(struct cli *cli)
{
    Orders__V1__GetCheckoutRequest request = ORDERS__V1__GET_CHECKOUT_REQUEST__INIT;

    return find_and_show(cli, &GET_CHECKOUT, &request.base, &request.order_id,
                         print_checkout);
}

struct outcome command_checkouts_retry(struct cli *cli)
{
    Orders__V1__RetryCheckoutRequest request = ORDERS__V1__RETRY_CHECKOUT_REQUEST__INIT;

    request.order_id = borrow(cli->words[0]);
    return remote_say(
        cli, &RETRY_CHECKOUT, &request.base,
        "Its lease has ended: the next orchestrator that looks takes it over.\n"
        "See what becomes of it: checkoutctl explain %s\n",
        cli->words[0]);
}

/* ---- reservations ------------------------------------------------------------------ */

static void print_reservations(const struct cli *cli, const void *message)
{
    const Inventory__V1__ListReservationsReply *reply = message;
    char time[TIME_SIZE], total[MONEY_SIZE];

    fprintf(cli->out, "%-26s %-10s %-23s %16s\n", "reservation", "state", "made",
            "total");
    for (size_t i = 0; i < reply->n_reservations; i++) {
        const Inventory__V1__ReservationEntry *r = reply->reservations[i];
        fprintf(cli->out, "%-26s %-10s %-23s %16s\n", r->reservation_id,
                reservation_state_text(r->state), time_text(r->created_at_ms, time),
                money_text(r->total_cents, r->currency, total));
    }
    filters_print_more(cli, reply->n_reservations, reply->next_before_id);
}

struct outcome command_reservations_list(struct cli *cli)
{
    Inventory__V1__ListReservationsRequest request =
        INVENTORY__V1__LIST_RESERVATIONS_REQUEST__INIT;
    struct filters filters;
    struct err e =
        filters_read(cli, &inventory__v1__reservation_state__descriptor, &filters);

    if (failed(e))
        return misused(e);
    TAKE_FILTERS(cli, request, filters, Inventory__V1__ReservationState);
    return remote_show(cli, &LIST_RESERVATIONS, &request.base, print_reservations);
}

static void print_reserved(FILE *out, const Inventory__V1__PricedLine *line,
                           const char *currency)
{
    char price[MONEY_SIZE];

    fprintf(out, "  %-24s %8" PRId64 " at %16s  ", line->sku, line->quantity,
            money_text(line->unit_price_cents, currency, price));
    output_text(out, line->title);
    fputc('\n', out);
}

static void print_reservation(const struct cli *cli, const void *message)
{
    const Inventory__V1__GetReservationReply *r = message;
    char price[MONEY_SIZE];
    FILE *out = cli->out;

    fprintf(out, "reservation %s, %s\n\n", r->reservation_id,
            reservation_state_text(r->state));
    output_time(out, EFFECT_WIDTH, "made", r->created_at_ms);
    output_time(out, EFFECT_WIDTH, "expires", r->expires_at_ms);
    output_time(out, EFFECT_WIDTH, "settled", r->settled_at_ms);
    for (size_t i = 0; i < r->n_lines; i++)
        print_reserved(out, r->lines[i], r->currency);
    output_field(out, EFFECT_WIDTH, "total",
                 money_text(r->total_cents, r->currency, price));
}

struct outcome command_reservations_show(struct cli *cli)
{
    Inventory__V1__GetReservationRequest request =
        INVENTORY__V1__GET_RESERVATION_REQUEST__INIT;

    return find_and_show(cli, &GET_RESERVATION, &request.base, &request.reservation_id,
                         print_reservation);
}

/* ---- charges ----------------------------------------------------------------------- */

static void print_charges(const struct cli *cli, const void *message)
{
    const Payment__V1__ListChargesReply *reply = message;
    char time[TIME_SIZE], amount[MONEY_SIZE], back[MONEY_SIZE];

    fprintf(cli->out, "%-26s %-10s %-23s %16s %16s\n", "charge", "state", "made",
            "amount", "refunded");
    for (size_t i = 0; i < reply->n_charges; i++) {
        const Payment__V1__ChargeEntry *c = reply->charges[i];
        fprintf(cli->out, "%-26s %-10s %-23s %16s %16s\n", c->charge_id,
                charge_state_text(c->state), time_text(c->created_at_ms, time),
                money_text(c->amount_cents, c->currency, amount),
                c->refunded_cents == 0
                    ? "-"
                    : money_text(c->refunded_cents, c->currency, back));
    }
    filters_print_more(cli, reply->n_charges, reply->next_before_id);
}

struct outcome command_charges_list(struct cli *cli)
{
    Payment__V1__ListChargesRequest request = PAYMENT__V1__LIST_CHARGES_REQUEST__INIT;
    struct filters filters;
    struct err e = filters_read(cli, &payment__v1__charge_state__descriptor, &filters);

    if (failed(e))
        return misused(e);
    TAKE_FILTERS(cli, request, filters, Payment__V1__ChargeState);
    request.user_id = borrow(cli->options[OPT_USER]);
    return remote_show(cli, &LIST_CHARGES, &request.base, print_charges);
}

static void print_charge(const struct cli *cli, const void *message)
{
    const Payment__V1__GetChargeReply *c = message;
    char amount[MONEY_SIZE];
    FILE *out = cli->out;

    fprintf(out, "charge %s, %s\n\n", c->charge_id, charge_state_text(c->state));
    output_field(out, EFFECT_WIDTH, "amount",
                 money_text(c->amount_cents, c->currency, amount));
    if (c->refunded_cents != 0)
        output_field(out, EFFECT_WIDTH, "refunded",
                     money_text(c->refunded_cents, c->currency, amount));
    output_field(out, EFFECT_WIDTH, "user", c->user_id);
    output_field(out, EFFECT_WIDTH, "provider's", c->provider_charge_id);
    output_field(out, EFFECT_WIDTH, "declined", c->decline_code);
    output_time(out, EFFECT_WIDTH, "made", c->created_at_ms);
    output_time(out, EFFECT_WIDTH, "settled", c->settled_at_ms);
}

struct outcome command_charges_show(struct cli *cli)
{
    Payment__V1__GetChargeRequest request = PAYMENT__V1__GET_CHARGE_REQUEST__INIT;

    return find_and_show(cli, &GET_CHARGE, &request.base, &request.charge_id,
                         print_charge);
}

static void print_refunded(const struct cli *cli, const void *message)
{
    const Payment__V1__RefundReply *reply = message;

    if (reply->refunded_cents == 0)
        fprintf(cli->out,
                "Nothing was charged; from now on this id cannot be charged.\n");
    else
        fprintf(cli->out,
                "%" PRId64 " minor units given back: checkoutctl charges show %s\n",
                reply->refunded_cents, cli->words[0]);
}

struct outcome command_refund(struct cli *cli)
{
    Payment__V1__RefundRequest request = PAYMENT__V1__REFUND_REQUEST__INIT;

    request.charge_id = borrow(cli->words[0]);
    return remote_show(cli, &REFUND, &request.base, print_refunded);
}

/* ---- stock and products ------------------------------------------------------------ */

static void print_stock(const struct cli *cli, const void *message)
{
    FILE *out = cli->out;
    const Inventory__V1__GetStockReply *stock = message;

    fprintf(out,
            "%s: %" PRId64 " available, %" PRId64 " held, %" PRId64 " sold, of %" PRId64
            " received\n",
            stock->sku, stock->available, stock->held, stock->sold, stock->received);
}

static void print_adjusted(const struct cli *cli, const void *message)
{
    FILE *out = cli->out;
    const Inventory__V1__AdjustStockReply *reply = message;

    fprintf(out, "%" PRId64 " available\n", reply->available);
}

static void print_products(const struct cli *cli, const void *message)
{
    const Inventory__V1__ListProductsReply *reply = message;
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
            return invalid("--sku takes %d SKUs at most", SKUS_MAX);
        request->skus[request->n_skus++] = strsep(&next, ",");
    }
    return ERR_NONE;
}

struct outcome command_products_list(struct cli *cli)
{
    Inventory__V1__ListProductsRequest request =
        INVENTORY__V1__LIST_PRODUCTS_REQUEST__INIT;
    int64_t most = LIST_DEFAULT;
    struct err e = cli_option(cli, OPT_LIMIT, 1, PRODUCTS_PAGE_MAX, &most);

    if (!failed(e))
        e = split_skus(cli, &request);
    if (failed(e))
        return misused(e);
    request.limit = (int32_t)most;
    request.cursor = borrow(cli->options[OPT_AFTER]);
    request.q = borrow(cli->options[OPT_QUERY]);
    return remote_show(cli, &LIST_PRODUCTS, &request.base, print_products);
}

struct outcome command_stock_show(struct cli *cli)
{
    Inventory__V1__GetStockRequest request = INVENTORY__V1__GET_STOCK_REQUEST__INIT;

    request.sku = borrow(cli->words[0]);
    return remote_show(cli, &GET_STOCK, &request.base, print_stock);
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
    return remote_show(cli, &ADJUST_STOCK, &request.base, print_adjusted);
}

struct outcome command_products_put(struct cli *cli)
{
    Inventory__V1__PutProductRequest request = INVENTORY__V1__PUT_PRODUCT_REQUEST__INIT;

    struct err e = cli_option(cli, OPT_PRICE, 0, PRICE_CENTS_MAX, &request.price_cents);
    if (failed(e))
        return misused(e);
    request.sku = borrow(cli->words[0]);
    request.title = borrow(cli->options[OPT_TITLE]);
    request.currency = borrow(cli->options[OPT_CURRENCY]);
    return remote_say(cli, &PUT_PRODUCT, &request.base, "done\n");
}
