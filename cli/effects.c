/*
 * effects.c - checkoutctl reservations, charges and refund: what checkouts left with the
 * other two services, each a thin layer over one call.
 */
#include <inttypes.h>

#include "cli/commands.h"
#include "cli/filters.h"
#include "cli/find.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/states.h"
#include "proto/inventory.pb-c.h"
#include "proto/payment.pb-c.h"

enum { NAME_WIDTH = 12 }; /* of what is shown of one */

/* ---- reservations ---------------------------------------------------------------- */

static void print_reservations(const struct cli *cli, const ProtobufCMessage *message)
{
    const Inventory__V1__ListReservationsReply *reply =
        (const Inventory__V1__ListReservationsReply *)message;
    char time[TIME_SIZE], total[MONEY_SIZE];

    fprintf(cli->out, "%-26s %-10s %-23s %16s\n", "reservation", "state", "made",
            "total");
    for (size_t i = 0; i < reply->n_reservations; i++) {
        const Inventory__V1__ReservationEntry *r = reply->reservations[i];
        fprintf(cli->out, "%-26s %-10s %-23s %16s\n", r->reservation_id,
                reservation_state_text(r->state), time_text(r->created_at_ms, time),
                money_text(r->total_cents, r->currency, total));
    }
    filter_tell_more(cli, reply->n_reservations, reply->next_before_id);
}

struct outcome command_reservations_list(struct cli *cli)
{
    Inventory__V1__ListReservationsRequest request =
        INVENTORY__V1__LIST_RESERVATIONS_REQUEST__INIT;
    int state = 0;
    struct err e = filter_limit(cli, &request.limit);

    if (!failed(e))
        e = filter_times(cli, &request.since_ms, &request.until_ms);
    if (!failed(e))
        e = filter_state(cli, &inventory__v1__reservation_state__descriptor, &state);
    if (failed(e))
        return misused(e);
    request.newest_first = true;
    request.only_id = borrow(cli->options[OPT_ORDER]);
    request.state = (Inventory__V1__ReservationState)state;
    request.before_id = borrow(cli->options[OPT_AFTER]);
    return remote_show(cli, "inventory", "inventory.v1.Inventory/ListReservations",
                       &request.base, &inventory__v1__list_reservations_reply__descriptor,
                       print_reservations);
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

static void print_reservation(const struct cli *cli, const ProtobufCMessage *message)
{
    const Inventory__V1__GetReservationReply *r =
        (const Inventory__V1__GetReservationReply *)message;
    char price[MONEY_SIZE];
    FILE *out = cli->out;

    fprintf(out, "reservation %s, %s\n\n", r->reservation_id,
            reservation_state_text(r->state));
    output_time(out, NAME_WIDTH, "made", r->created_at_ms);
    output_time(out, NAME_WIDTH, "expires", r->expires_at_ms);
    output_time(out, NAME_WIDTH, "settled", r->settled_at_ms);
    for (size_t i = 0; i < r->n_lines; i++)
        print_reserved(out, r->lines[i], r->currency);
    output_field(out, NAME_WIDTH, "total",
                 money_text(r->total_cents, r->currency, price));
}

struct outcome command_reservations_show(struct cli *cli)
{
    Inventory__V1__GetReservationRequest request =
        INVENTORY__V1__GET_RESERVATION_REQUEST__INIT;

    return find_and_show(cli, "inventory", "inventory.v1.Inventory/GetReservation",
                         &request.base, &request.reservation_id,
                         &inventory__v1__get_reservation_reply__descriptor,
                         print_reservation);
}

/* ---- charges ----------------------------------------------------------------------- */

static void print_charges(const struct cli *cli, const ProtobufCMessage *message)
{
    const Payment__V1__ListChargesReply *reply =
        (const Payment__V1__ListChargesReply *)message;
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
    filter_tell_more(cli, reply->n_charges, reply->next_before_id);
}

struct outcome command_charges_list(struct cli *cli)
{
    Payment__V1__ListChargesRequest request = PAYMENT__V1__LIST_CHARGES_REQUEST__INIT;
    int state = 0;
    struct err e = filter_limit(cli, &request.limit);

    if (!failed(e))
        e = filter_times(cli, &request.since_ms, &request.until_ms);
    if (!failed(e))
        e = filter_state(cli, &payment__v1__charge_state__descriptor, &state);
    if (failed(e))
        return misused(e);
    request.newest_first = true;
    request.only_id = borrow(cli->options[OPT_ORDER]);
    request.state = (Payment__V1__ChargeState)state;
    request.before_id = borrow(cli->options[OPT_AFTER]);
    request.user_id = borrow(cli->options[OPT_USER]);
    return remote_show(cli, "payment", "payment.v1.Payment/ListCharges", &request.base,
                       &payment__v1__list_charges_reply__descriptor, print_charges);
}

static void print_charge(const struct cli *cli, const ProtobufCMessage *message)
{
    const Payment__V1__GetChargeReply *c = (const Payment__V1__GetChargeReply *)message;
    char amount[MONEY_SIZE];
    FILE *out = cli->out;

    fprintf(out, "charge %s, %s\n\n", c->charge_id, charge_state_text(c->state));
    output_field(out, NAME_WIDTH, "amount",
                 money_text(c->amount_cents, c->currency, amount));
    if (c->refunded_cents != 0)
        output_field(out, NAME_WIDTH, "refunded",
                     money_text(c->refunded_cents, c->currency, amount));
    output_field(out, NAME_WIDTH, "user", c->user_id);
    output_field(out, NAME_WIDTH, "provider's", c->provider_charge_id);
    output_field(out, NAME_WIDTH, "declined", c->decline_code);
    output_time(out, NAME_WIDTH, "made", c->created_at_ms);
    output_time(out, NAME_WIDTH, "settled", c->settled_at_ms);
}

struct outcome command_charges_show(struct cli *cli)
{
    Payment__V1__GetChargeRequest request = PAYMENT__V1__GET_CHARGE_REQUEST__INIT;

    return find_and_show(cli, "payment", "payment.v1.Payment/GetCharge", &request.base,
                         &request.charge_id, &payment__v1__get_charge_reply__descriptor,
                         print_charge);
}

static void print_refunded(const struct cli *cli, const ProtobufCMessage *message)
{
    const Payment__V1__RefundReply *reply = (const Payment__V1__RefundReply *)message;

    if (reply->refunded_cents == 0)
        fprintf(cli->out, "Nothing had been charged; now it cannot be any more.\n");
    else
        fprintf(cli->out,
                "%" PRId64 " minor units given back: checkoutctl charges show %s\n",
                reply->refunded_cents, cli->words[0]);
}

struct outcome command_refund(struct cli *cli)
{
    Payment__V1__RefundRequest request = PAYMENT__V1__REFUND_REQUEST__INIT;

    request.charge_id = borrow(cli->words[0]);
    return remote_show(cli, "payment", "payment.v1.Payment/Refund", &request.base,
                       &payment__v1__refund_reply__descriptor, print_refunded);
}
