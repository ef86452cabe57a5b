/* checkouts.c - checkoutctl checkouts: look at them, and have one taken over. */
#include <inttypes.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/filters.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/states.h"

enum { NAME_WIDTH = 14 }; /* of what is shown of one */

/* ---- list --------------------------------------------------------------------- */

static bool unfinished(const Orders__V1__Checkout *c)
{
    return c->state == ORDERS__V1__CHECKOUT_STATE__RUNNING ||
           c->state == ORDERS__V1__CHECKOUT_STATE__ABORTING;
}

/* How far off the lease's end is, or that there is none. */
static const char *lease_text(const Orders__V1__Checkout *c, char out[TIME_SIZE])
{
    if (!unfinished(c))
        return "-";
    snprintf(out, TIME_SIZE, "%s%.1f s", c->lease_left_ms < 0 ? "over by " : "",
             (double)(c->lease_left_ms < 0 ? -c->lease_left_ms : c->lease_left_ms) /
                 1000);
    return out;
}

static void print_list(const struct cli *cli, const ProtobufCMessage *message)
{
    const Orders__V1__ListCheckoutsReply *reply =
        (const Orders__V1__ListCheckoutsReply *)message;
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
    filter_tell_more(cli, reply->n_checkouts, reply->next_before_id);
}

struct outcome command_checkouts_list(struct cli *cli)
{
    Orders__V1__ListCheckoutsRequest request = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;
    int state = 0;
    struct err e = filter_limit(cli, &request.limit);

    if (!failed(e))
        e = filter_times(cli, &request.since_ms, &request.until_ms);
    if (!failed(e))
        e = filter_state(cli, &orders__v1__checkout_state__descriptor, &state);
    if (failed(e))
        return misused(e);
    request.newest_first = true;
    request.only_id = borrow(cli->options[OPT_ORDER]);
    request.state = (Orders__V1__CheckoutState)state;
    request.before_id = borrow(cli->options[OPT_AFTER]);
    request.unfinished = cli->options[OPT_UNFINISHED] != NULL;
    request.user_id = borrow(cli->options[OPT_USER]);
    request.cart_id = borrow(cli->options[OPT_CART]);
    request.idempotency_key = borrow(cli->options[OPT_IDEMPOTENCY_KEY]);
    return remote_show(cli, "orchestrator", "orders.v1.Orders/ListCheckouts",
                       &request.base, &orders__v1__list_checkouts_reply__descriptor,
                       print_list);
}

/* ---- show --------------------------------------------------------------------- */

static void print_checkout(const struct cli *cli, const ProtobufCMessage *message)
{
    const Orders__V1__GetCheckoutReply *reply =
        (const Orders__V1__GetCheckoutReply *)message;
    const Orders__V1__Checkout *c = reply->checkout;
    char text[MONEY_SIZE];
    FILE *out = cli->out;

    if (c == NULL) {
        fprintf(out, "The reply holds no checkout.\n");
        return;
    }
    fprintf(out, "checkout %s, %s%s\n\n", c->order_id, checkout_state_text(c->state),
            c->needs_attention ? ", NEEDS ATTENTION" : "");
    output_time(out, NAME_WIDTH, "claimed", c->created_at_ms);
    output_time(out, NAME_WIDTH, "finished", c->finished_at_ms);
    output_field(out, NAME_WIDTH, "key", c->idempotency_key);
    output_field(out, NAME_WIDTH, "request", reply->request_id);
    output_field(out, NAME_WIDTH, "user", c->user_id);
    output_field(out, NAME_WIDTH, "cart", c->cart_id);
    output_field(out, NAME_WIDTH, "method", reply->payment_method_id);
    output_field(out, NAME_WIDTH, "owner", reply->owner);
    snprintf(text, sizeof text, "%" PRId64, c->epoch);
    output_field(out, NAME_WIDTH, "epoch", text);
    if (unfinished(c))
        output_field(out, NAME_WIDTH, "lease", lease_text(c, text));
    output_field(out, NAME_WIDTH, "failed for", c->failure_reason);
    output_field(out, NAME_WIDTH, "", reply->failure_message);
    output_field(out, NAME_WIDTH, "money", reply->money);
    if (c->ordered)
        output_field(out, NAME_WIDTH, "order of",
                     money_text(c->order_total_cents, c->order_currency, text));
    fprintf(out, "\nWhat happened to it: checkoutctl explain %s\n", c->order_id);
}

struct outcome command_checkouts_show(struct cli *cli)
{
    Orders__V1__GetCheckoutRequest request = ORDERS__V1__GET_CHECKOUT_REQUEST__INIT;

    return find_and_show(cli, "orchestrator", "orders.v1.Orders/GetCheckout",
                         &request.base, &request.order_id,
                         &orders__v1__get_checkout_reply__descriptor, print_checkout);
}

/* ---- retry -------------------------------------------------------------------- */

static void print_retried(const struct cli *cli, const ProtobufCMessage *message)
{
    (void)message;
    fprintf(cli->out,
            "Its lease has ended: the next orchestrator that looks takes it over.\n"
            "See what becomes of it: checkoutctl explain %s\n",
            cli->words[0]);
}

struct outcome command_checkouts_retry(struct cli *cli)
{
    Orders__V1__RetryCheckoutRequest request = ORDERS__V1__RETRY_CHECKOUT_REQUEST__INIT;

    request.order_id = borrow(cli->words[0]);
    return remote_show(cli, "orchestrator", "orders.v1.Orders/RetryCheckout",
                       &request.base, &orders__v1__retry_checkout_reply__descriptor,
                       print_retried);
}
