/*
 * view_text.c - the checks of view.h in words: what must hold, what was found instead, and
 * what to do about it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "cli/output.h"
#include "cli/states.h"
#include "cli/view.h"

enum { WORDS_SIZE = MONEY_SIZE + 32 };

/* clang-format off */
const struct check_row CHECKS[CHECK_COUNT] = {
    [CHECK_STOCK_CONSERVED] = {NEEDS_STOCK,
        "stock.conserved", "received = available + held + sold, none below zero",
        "somebody wrote to inventory.stock by hand; compare with: checkoutctl stock "
        "show %s"},
    [CHECK_STOCK_BOOKED] = {NEEDS_STOCK,
        "stock.booked", "received is the sum of the ledger",
        "find what was received but not booked, then: checkoutctl stock adjust %s "
        "DELTA --reason TEXT"},
    [CHECK_STOCK_HELD] = {NEEDS_STOCK,
        "stock.held", "held is what held reservations say",
        "somebody wrote to inventory's tables by hand; compare with: checkoutctl "
        "stock show %s"},
    [CHECK_STOCK_SOLD] = {NEEDS_STOCK,
        "stock.sold", "sold is what confirmed reservations say",
        "somebody wrote to inventory's tables by hand; compare with: checkoutctl "
        "stock show %s"},
    [CHECK_ORDER_CHECKOUT] = {NEEDS_ORDERS,
        "order.checkout", "an order and its completed checkout are one",
        "see both with: checkoutctl explain %s"},
    [CHECK_ORDER_KEY] = {NEEDS_ORDERS,
        "order.key", "a key has at most one order",
        "keep one order, refund the other: checkoutctl explain %s"},
    [CHECK_ORDER_CART] = {NEEDS_ORDERS,
        "order.cart", "a cart has at most one live checkout",
        "keep one order, refund the other: checkoutctl explain %s"},
    [CHECK_ORDER_CHARGE] = {NEEDS_ORDERS | NEEDS_MONEY,
        "order.charge", "an order has one captured charge of its amount",
        "after a refund by hand this is as it should be, and stays; else see what was "
        "charged with: checkoutctl explain %s"},
    [CHECK_ORDER_RESERVATION] = {NEEDS_ORDERS | NEEDS_STOCK,
        "order.reservation", "an order has one confirmed reservation of its total",
        "see what became of it with: checkoutctl explain %s; when it is held still: "
        "checkoutctl call Inventory/Confirm '{\"reservation_id\":\"%s\"}'"},
    [CHECK_ORDER_EVENT] = {NEEDS_ORDERS,
        "order.event", "an order has one order.created event",
        "tell those who listen of it by hand; what it said: checkoutctl orders show "
        "%s"},
    [CHECK_CHARGE_ORDER] = {NEEDS_ORDERS | NEEDS_MONEY,
        "charge.order", "money that is kept is of an order",
        "give it back: checkoutctl call Payment/Refund '{\"charge_id\":\"%s\"}'"},
    [CHECK_CHARGE_REFUND] = {NEEDS_MONEY,
        "charge.refund", "no more is refunded than was charged",
        "see both books with: checkoutctl explain %s"},
    [CHECK_RESERVATION_ORDER] = {NEEDS_ORDERS | NEEDS_STOCK,
        "reservation.order", "stock that is set aside is of an order",
        "give it back: checkoutctl call Inventory/Release "
        "'{\"reservation_id\":\"%s\"}'"},
    [CHECK_FAILED_UNDONE] = {NEEDS_ORDERS | NEEDS_STOCK | NEEDS_MONEY,
        "failed.undone", "a failed checkout keeps no stock and no money",
        "undo it: checkoutctl call Payment/Refund '{\"charge_id\":\"%s\"}' and "
        "checkoutctl call Inventory/Release '{\"reservation_id\":\"%s\"}'"},
    [CHECK_FINISHED] = {NEEDS_ORDERS,
        "checkout.finished", "no checkout is unfinished past its lease",
        "see that an orchestrator runs (checkoutctl health), then: checkoutctl "
        "checkouts retry %s"},
    [CHECK_BOOKS_EQUAL] = {NEEDS_ORDERS | NEEDS_MONEY,
        "books.equal", "payment's books and the provider's say the same",
        "see both with: checkoutctl explain %s; what the provider says is what "
        "happened"},
    [CHECK_EVENT_BUS] = {NEEDS_ORDERS,
        "event.bus", "no event was refused by the bus for good",
        "mend what the bus says, then: checkoutctl events resend %s; or, if nobody "
        "needs it: checkoutctl events drop %s"},
};
/* clang-format on */

/* ---- sentences ---------------------------------------------------------------- */

/* "captured for 12.34 EUR". */
static const char *state_words(const char *state, int64_t cents, const char *currency,
                               char out[WORDS_SIZE])
{
    char money[MONEY_SIZE];

    snprintf(out, WORDS_SIZE, "%s for %s", state, money_text(cents, currency, money));
    return out;
}

static const char *charge_words(const struct view *v, char out[WORDS_SIZE])
{
    const Payment__V1__ChargeEntry *c = v->charge;

    return c == NULL ? "none"
                     : state_words(charge_state_text(c->state), c->amount_cents,
                                   c->currency, out);
}

static const char *provider_words(const struct view *v, char out[WORDS_SIZE])
{
    const Payment__V1__ProviderEntry *p = v->provider;

    return p == NULL ? "none"
                     : state_words(provider_status_text(p->status), p->amount_cents,
                                   p->currency, out);
}

static const char *reservation_words(const struct view *v, char out[WORDS_SIZE])
{
    const Inventory__V1__ReservationEntry *r = v->reservation;

    return r == NULL ? "none"
                     : state_words(reservation_state_text(r->state), r->total_cents,
                                   r->currency, out);
}

static const char *checkout_words(const struct view *v)
{
    return v->checkout == NULL ? "no checkout or order"
                               : checkout_state_text(v->checkout->state);
}

static void describe_finished(const struct view *v, char out[FINDING_SIZE])
{
    const Orders__V1__Checkout *c = v->checkout;

    if (c->needs_attention)
        snprintf(out, FINDING_SIZE,
                 "The checkout is %s and needs attention: undoing it keeps failing.",
                 checkout_state_text(c->state));
    else
        snprintf(out, FINDING_SIZE,
                 "The checkout is %s; its lease ran out %" PRId64
                 " ms ago and nobody took it "
                 "over.",
                 checkout_state_text(c->state), -c->lease_left_ms);
}

static void describe_order(const struct view *v, enum check check, char out[FINDING_SIZE])
{
    const Orders__V1__Checkout *c = v->checkout;
    char total[MONEY_SIZE], words[WORDS_SIZE];

    money_text(c->order_total_cents, c->order_currency, total);
    switch (check) {
    case CHECK_ORDER_CHARGE:
        snprintf(out, FINDING_SIZE, "The order is of %s; its charge: %s.", total,
                 charge_words(v, words));
        return;
    case CHECK_ORDER_RESERVATION:
        snprintf(out, FINDING_SIZE, "The order is of %s; its reservation: %s.", total,
                 reservation_words(v, words));
        return;
    case CHECK_ORDER_EVENT:
        snprintf(out, FINDING_SIZE, "The order of %s has %d order.created events.", total,
                 c->created_events);
        return;
    case CHECK_ORDER_KEY:
        snprintf(out, FINDING_SIZE, "%d orders have the key of this one.",
                 c->orders_of_key);
        return;
    case CHECK_ORDER_CART:
        snprintf(out, FINDING_SIZE, "%d checkouts of cart %s of user %s have not failed.",
                 c->live_of_cart, c->cart_id, c->user_id);
        return;
    default:
        snprintf(out, FINDING_SIZE, "The checkout is %s, %s.",
                 checkout_state_text(c->state),
                 !c->ordered         ? "but there is no order"
                 : !c->order_matches ? "but its order is of another key, user or cart"
                                     : "but there is an order");
    }
}

void view_describe(const struct view *v, enum check check, char out[FINDING_SIZE])
{
    char charge[WORDS_SIZE], provider[WORDS_SIZE], reserved[WORDS_SIZE];

    switch (check) {
    case CHECK_FINISHED:
        describe_finished(v, out);
        return;
    case CHECK_RESERVATION_ORDER:
        snprintf(out, FINDING_SIZE, "Reservation: %s; %s.",
                 reservation_words(v, reserved), checkout_words(v));
        return;
    case CHECK_FAILED_UNDONE:
        snprintf(
            out, FINDING_SIZE,
            "The checkout failed (%s), but - reservation: %s; charge: %s; provider: %s.",
            v->checkout->failure_reason, reservation_words(v, reserved),
            charge_words(v, charge), provider_words(v, provider));
        return;
    case CHECK_CHARGE_ORDER:
    case CHECK_CHARGE_REFUND:
    case CHECK_BOOKS_EQUAL:
        snprintf(
            out, FINDING_SIZE,
            "Charge: %s, %" PRId64 " cents refunded; provider: %s, %" PRId64
            " cents refunded; %s.",
            charge_words(v, charge), v->charge == NULL ? 0 : v->charge->refunded_cents,
            provider_words(v, provider),
            v->provider == NULL ? 0 : v->provider->refunded_cents, checkout_words(v));
        return;
    default:
        describe_order(v, check, out);
    }
}

void stock_describe(const Inventory__V1__StockEntry *s, enum check check,
                    char out[FINDING_SIZE])
{
    switch (check) {
    case CHECK_STOCK_BOOKED:
        snprintf(out, FINDING_SIZE,
                 "%" PRId64 " received, but the ledger's sum is %" PRId64 ".",
                 s->received, s->booked);
        return;
    case CHECK_STOCK_HELD:
        snprintf(out, FINDING_SIZE,
                 "%" PRId64 " held, but held reservations are of %" PRId64 ".", s->held,
                 s->held_reserved);
        return;
    case CHECK_STOCK_SOLD:
        snprintf(out, FINDING_SIZE,
                 "%" PRId64 " sold, but confirmed reservations are of %" PRId64 ".",
                 s->sold, s->sold_reserved);
        return;
    default:
        snprintf(out, FINDING_SIZE,
                 "%" PRId64 " received, but %" PRId64 " available, %" PRId64
                 " held and %" PRId64 " sold.",
                 s->received, s->available, s->held, s->sold);
    }
}
