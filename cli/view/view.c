/*
 * view.c - see view.h: states in words, the rules, and each rule's words (CHECKS):
 * what must hold, what was found instead, and what to do about it.
 */
#include "cli/view/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/output.h"

/* ---- states in words --------------------------------------------------------------- */

/* The word of a state's number; `unknown` for a number without one. */
static const char *word_of(const char *const *words, size_t count, int state,
                           const char *unknown)
{
    return state >= 0 && (size_t)state < count && words[state] != NULL ? words[state]
                                                                       : unknown;
}

#define WORD_OF(words, state, unknown)                                                   \
    word_of(words, sizeof words / sizeof *words, (int)state, unknown)

static const char UNKNOWN[] = "in an unknown state";

const char *checkout_state_text(Orders__V1__CheckoutState state)
{
    static const char *const words[] = {
        [CHECKOUT_STATE(RUNNING)] = "running",
        [CHECKOUT_STATE(ABORTING)] = "aborting",
        [CHECKOUT_STATE(COMPLETED)] = "completed",
        [CHECKOUT_STATE(FAILED)] = "failed",
    };

    return WORD_OF(words, state, "gone");
}

const char *reservation_state_text(Inventory__V1__ReservationState state)
{
    static const char *const words[] = {
        [RESERVATION_STATE(HELD)] = "held",
        [RESERVATION_STATE(CONFIRMED)] = "confirmed",
        [RESERVATION_STATE(RELEASED)] = "released",
        [RESERVATION_STATE(EXPIRED)] = "expired",
        [RESERVATION_STATE(REFUSED)] = "refused",
    };

    return WORD_OF(words, state, UNKNOWN);
}

const char *charge_state_text(Payment__V1__ChargeState state)
{
    static const char *const words[] = {
        [CHARGE_STATE(INTENT)] = "intended",
        [CHARGE_STATE(CAPTURED)] = "captured",
        [CHARGE_STATE(DECLINED)] = "declined",
        [CHARGE_STATE(REFUNDING)] = "being refunded",
        [CHARGE_STATE(REFUNDED)] = "refunded",
    };

    return WORD_OF(words, state, UNKNOWN);
}

const char *provider_status_text(Payment__V1__ProviderStatus status)
{
    static const char *const words[] = {
        [PROVIDER_STATUS(CAPTURED)] = "captured",
        [PROVIDER_STATUS(DECLINED)] = "declined",
        [PROVIDER_STATUS(REFUNDED)] = "refunded",
        [PROVIDER_STATUS(VOIDED)] = "barred",
    };

    return WORD_OF(words, status, UNKNOWN);
}

uint32_t checks_possible(unsigned have)
{
    uint32_t mask = 0;

    for (unsigned c = 0; c < CHECK_COUNT; c++)
        mask |= (CHECKS[c].needs & ~have) == 0 ? UINT32_C(1) << c : 0;
    return mask;
}

/* ---- predicates -------------------------------------------------------------------- */

static bool checkout_is(const struct view *v, Orders__V1__CheckoutState state)
{
    return v->checkout != NULL && v->checkout->state == state;
}

static bool unfinished(const struct view *v)
{
    return checkout_is(v, CHECKOUT_STATE(RUNNING)) ||
           checkout_is(v, CHECKOUT_STATE(ABORTING));
}

static bool completed(const struct view *v)
{
    return checkout_is(v, CHECKOUT_STATE(COMPLETED));
}

static bool has_failed(const struct view *v)
{
    return checkout_is(v, CHECKOUT_STATE(FAILED));
}

static bool ordered(const struct view *v)
{
    return v->checkout != NULL && v->checkout->ordered;
}

static bool charge_is(const struct view *v, Payment__V1__ChargeState state)
{
    return v->charge != NULL && v->charge->state == state;
}

static bool provider_is(const struct view *v, Payment__V1__ProviderStatus status)
{
    return v->provider != NULL && v->provider->status == status;
}

static bool reservation_is(const struct view *v, Inventory__V1__ReservationState state)
{
    return v->reservation != NULL && v->reservation->state == state;
}

/* Whether our ledger or the provider's says that we have the shopper's money. */
static bool money_kept(const struct view *v)
{
    return charge_is(v, CHARGE_STATE(CAPTURED)) ||
           charge_is(v, CHARGE_STATE(REFUNDING)) ||
           provider_is(v, PROVIDER_STATUS(CAPTURED));
}

static bool stock_kept(const struct view *v)
{
    return reservation_is(v, RESERVATION_STATE(HELD)) ||
           reservation_is(v, RESERVATION_STATE(CONFIRMED));
}

/* ---- standing ---------------------------------------------------------------------- */

enum standing view_standing(const struct view *v, int64_t grace_ms)
{
    if (v->checkout == NULL)
        return v->effect_age_ms > v->lease_ms + grace_ms ? STANDING_FINAL
                                                         : STANDING_UNDER_WAY;
    if (!unfinished(v))
        return STANDING_FINAL;
    return v->checkout->needs_attention || v->checkout->lease_left_ms < -grace_ms
               ? STANDING_LATE
               : STANDING_UNDER_WAY;
}

/* ---- the rules --------------------------------------------------------------------- */

static bool charge_is_the_orders(const struct view *v)
{
    const Orders__V1__Checkout *c = v->checkout;

    return charge_is(v, CHARGE_STATE(CAPTURED)) &&
           v->charge->amount_cents == c->order_total_cents &&
           strcmp(v->charge->currency, c->order_currency) == 0 &&
           v->charge->refunded_cents == 0;
}

static bool reservation_is_the_orders(const struct view *v)
{
    const Orders__V1__Checkout *c = v->checkout;

    return reservation_is(v, RESERVATION_STATE(CONFIRMED)) &&
           v->reservation->total_cents == c->order_total_cents &&
           strcmp(v->reservation->currency, c->order_currency) == 0;
}

/* A checkout without order row, an order without its checkout, or two that do not match;
 * an order alone is one whose key was pruned. */
static bool order_is_the_checkouts(const Orders__V1__Checkout *c)
{
    if (c->state == CHECKOUT_STATE(CHECKOUT_UNSPECIFIED))
        return true;
    return (c->state == CHECKOUT_STATE(COMPLETED)) == c->ordered &&
           (!c->ordered || c->order_matches);
}

static bool refunds_are_within(const struct view *v)
{
    const Payment__V1__ChargeEntry *c = v->charge;
    const Payment__V1__ProviderEntry *p = v->provider;

    return (c == NULL ||
            (c->refunded_cents >= 0 && c->refunded_cents <= c->amount_cents)) &&
           (p == NULL ||
            (p->refunded_cents >= 0 && p->refunded_cents <= p->amount_cents));
}

static bool same_capture(const Payment__V1__ChargeEntry *c,
                         const Payment__V1__ProviderEntry *p)
{
    return c->amount_cents == p->amount_cents && strcmp(c->currency, p->currency) == 0 &&
           strcmp(c->provider_charge_id, p->provider_charge_id) == 0 &&
           c->refunded_cents == p->refunded_cents;
}

/* An intent is in our ledger before the provider is called, so the provider never knows
 * an id that we do not; it may lack ids whose call never reached it. */
static bool books_agree(const struct view *v)
{
    bool captured = provider_is(v, PROVIDER_STATUS(CAPTURED));
    bool refunded = provider_is(v, PROVIDER_STATUS(REFUNDED));

    if (v->charge == NULL)
        return v->provider == NULL;
    switch (v->charge->state) {
    case CHARGE_STATE(CAPTURED):
        return captured && same_capture(v->charge, v->provider);
    case CHARGE_STATE(DECLINED):
        return !captured && !refunded;
    case CHARGE_STATE(REFUNDED):
        return !captured &&
               v->charge->refunded_cents == (refunded ? v->provider->refunded_cents : 0);
    case CHARGE_STATE(INTENT):
    case CHARGE_STATE(REFUNDING): /* the answer is still to be written */
        return unfinished(v) || (!captured && !refunded);
    default:
        return false;
    }
}

uint32_t view_applies(const struct view *v)
{
    uint32_t mask = 0;

    if (v->checkout != NULL)
        mask |= CHECK(ORDER_KEY);
    if (completed(v) || ordered(v))
        mask |= CHECK(ORDER_CHECKOUT);
    if (ordered(v))
        mask |= CHECK(ORDER_CHARGE) | CHECK(ORDER_RESERVATION) | CHECK(ORDER_EVENT);
    if (completed(v) || unfinished(v))
        mask |= CHECK(ORDER_CART);
    if (completed(v) || unfinished(v) || has_failed(v))
        mask |= CHECK(FINISHED);
    if (has_failed(v))
        mask |= CHECK(FAILED_UNDONE);
    if (v->reservation != NULL)
        mask |= CHECK(RESERVATION_ORDER);
    if (v->charge != NULL || v->provider != NULL)
        mask |= CHECK(CHARGE_ORDER) | CHECK(CHARGE_REFUND) | CHECK(BOOKS_EQUAL);
    return mask;
}

uint32_t view_violates(const struct view *v, enum standing standing)
{
    uint32_t mask = 0;

    if (standing == STANDING_UNDER_WAY)
        return 0;
    if (standing == STANDING_LATE)
        mask |= CHECK(FINISHED);
    if (v->checkout != NULL && !order_is_the_checkouts(v->checkout))
        mask |= CHECK(ORDER_CHECKOUT);
    if (v->checkout != NULL && v->checkout->orders_of_key > 1)
        mask |= CHECK(ORDER_KEY);
    if (v->checkout != NULL && v->checkout->live_of_cart > 1)
        mask |= CHECK(ORDER_CART);
    if (ordered(v) && !charge_is_the_orders(v))
        mask |= CHECK(ORDER_CHARGE);
    if (ordered(v) && !reservation_is_the_orders(v))
        mask |= CHECK(ORDER_RESERVATION);
    if (ordered(v) && v->checkout->created_events != 1)
        mask |= CHECK(ORDER_EVENT);
    if (!ordered(v) && !has_failed(v) && money_kept(v))
        mask |= CHECK(CHARGE_ORDER);
    if (!ordered(v) && !has_failed(v) && !unfinished(v) && stock_kept(v))
        mask |= CHECK(RESERVATION_ORDER); /* an unfinished checkout still needs it */
    if (!refunds_are_within(v))
        mask |= CHECK(CHARGE_REFUND);
    if (has_failed(v) && (stock_kept(v) || money_kept(v)))
        mask |= CHECK(FAILED_UNDONE);
    if (!books_agree(v))
        mask |= CHECK(BOOKS_EQUAL);
    return mask & view_applies(v);
}

uint32_t stock_violates(const Inventory__V1__StockEntry *s)
{
    int64_t sum;
    bool overflow = __builtin_add_overflow(s->available, s->held, &sum) ||
                    __builtin_add_overflow(sum, s->sold, &sum);
    uint32_t mask = 0;

    if (overflow || sum != s->received || s->available < 0 || s->held < 0 || s->sold < 0)
        mask |= CHECK(STOCK_CONSERVED);
    if (s->received != s->booked)
        mask |= CHECK(STOCK_BOOKED);
    if (s->held != s->held_reserved)
        mask |= CHECK(STOCK_HELD);
    if (s->sold != s->sold_reserved)
        mask |= CHECK(STOCK_SOLD);
    return mask;
}

/* ---- the rules in words ------------------------------------------------------------ */

enum { WORDS_SIZE = MONEY_SIZE + 32 };

/* clang-format off */
const struct check_row CHECKS[CHECK_COUNT] = {
    [CHECK_STOCK_CONSERVED] = {NEEDS_STOCK,
        "stock.conserved", "received = available + held + sold, none below zero",
        "inventory.stock was changed by hand; compare with: checkoutctl stock "
        "show %s"},
    [CHECK_STOCK_BOOKED] = {NEEDS_STOCK,
        "stock.booked", "received is the sum of the ledger",
        "find what was received but not booked, then: checkoutctl stock adjust %s "
        "DELTA --reason TEXT"},
    [CHECK_STOCK_HELD] = {NEEDS_STOCK,
        "stock.held", "held is the sum of the held reservations",
        "inventory's tables were changed by hand; compare with: checkoutctl "
        "stock show %s"},
    [CHECK_STOCK_SOLD] = {NEEDS_STOCK,
        "stock.sold", "sold is the sum of the confirmed reservations",
        "inventory's tables were changed by hand; compare with: checkoutctl "
        "stock show %s"},
    [CHECK_ORDER_CHECKOUT] = {NEEDS_ORDERS,
        "order.checkout", "an order and its completed checkout match",
        "see both with: checkoutctl explain %s"},
    [CHECK_ORDER_KEY] = {NEEDS_ORDERS,
        "order.key", "a key has at most one order",
        "keep one order, refund the other: checkoutctl explain %s"},
    [CHECK_ORDER_CART] = {NEEDS_ORDERS,
        "order.cart", "a cart has at most one live checkout",
        "keep one order, refund the other: checkoutctl explain %s"},
    [CHECK_ORDER_CHARGE] = {NEEDS_ORDERS | NEEDS_MONEY,
        "order.charge", "an order has one captured charge of its amount",
        "after a refund by hand this is expected, and stays; else see what was "
        "charged with: checkoutctl explain %s"},
    [CHECK_ORDER_RESERVATION] = {NEEDS_ORDERS | NEEDS_STOCK,
        "order.reservation", "an order has one confirmed reservation of its total",
        "see its state with: checkoutctl explain %s; if it is still held: "
        "checkoutctl call Inventory/Confirm '{\"reservation_id\":\"%s\"}'"},
    [CHECK_ORDER_EVENT] = {NEEDS_ORDERS,
        "order.event", "an order has one order.created event",
        "inform its consumers by hand; for its contents: checkoutctl orders show "
        "%s"},
    [CHECK_CHARGE_ORDER] = {NEEDS_ORDERS | NEEDS_MONEY,
        "charge.order", "captured money belongs to an order",
        "refund it: checkoutctl call Payment/Refund '{\"charge_id\":\"%s\"}'"},
    [CHECK_CHARGE_REFUND] = {NEEDS_MONEY,
        "charge.refund", "no more is refunded than was charged",
        "see both books with: checkoutctl explain %s"},
    [CHECK_RESERVATION_ORDER] = {NEEDS_ORDERS | NEEDS_STOCK,
        "reservation.order", "reserved stock belongs to an order",
        "release it: checkoutctl call Inventory/Release "
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
        "books.equal", "payment's ledger and the provider's agree",
        "see both with: checkoutctl explain %s; the provider's ledger is "
        "authoritative"},
    [CHECK_EVENT_BUS] = {NEEDS_ORDERS,
        "event.bus", "no event was given up after the bus refused it",
        "fix what the bus reports, then: checkoutctl events resend %s; or, if nobody "
        "needs it: checkoutctl events drop %s"},
};
/* clang-format on */

/* ---- sentences --------------------------------------------------------------------- */

static const char *state_words(const char *state, int64_t cents, const char *currency,
                               char out[WORDS_SIZE])
{
    char money[MONEY_SIZE];

    snprintf(out, WORDS_SIZE, "%s for %s", state, money_text(cents, currency, money));
    return out;
}

/* "captured for 12.34 EUR"; "none" without an entry. */
#define ENTRY_WORDS(entry, state_text, cents, out)                                       \
    ((entry) == NULL ? "none"                                                            \
                     : state_words(state_text, (entry)->cents, (entry)->currency, out))

static const char *charge_words(const struct view *v, char out[WORDS_SIZE])
{
    return ENTRY_WORDS(v->charge, charge_state_text(v->charge->state), amount_cents, out);
}

static const char *provider_words(const struct view *v, char out[WORDS_SIZE])
{
    return ENTRY_WORDS(v->provider, provider_status_text(v->provider->status),
                       amount_cents, out);
}

static const char *reservation_words(const struct view *v, char out[WORDS_SIZE])
{
    return ENTRY_WORDS(v->reservation, reservation_state_text(v->reservation->state),
                       total_cents, out);
}

static const char *checkout_words(const struct view *v)
{
    return v->checkout == NULL ? "no checkout or order"
                               : checkout_state_text(v->checkout->state);
}

/* Writes a finding, a printf format and its arguments. */
#define say(out, ...) snprintf(out, FINDING_SIZE, __VA_ARGS__)

static void describe_finished(const struct view *v, char out[FINDING_SIZE])
{
    const Orders__V1__Checkout *c = v->checkout;

    if (c->needs_attention)
        say(out, "The checkout is %s and needs attention: undoing it keeps failing.",
            checkout_state_text(c->state));
    else
        say(out,
            "The checkout is %s; its lease expired %" PRId64
            " ms ago and no orchestrator took it over.",
            checkout_state_text(c->state), -c->lease_left_ms);
}

static void describe_order(const struct view *v, enum check check, char out[FINDING_SIZE])
{
    const Orders__V1__Checkout *c = v->checkout;
    char total[MONEY_SIZE], words[WORDS_SIZE];

    money_text(c->order_total_cents, c->order_currency, total);
    switch (check) {
    case CHECK_ORDER_CHARGE:
        say(out, "The order is of %s; its charge: %s.", total, charge_words(v, words));
        break;
    case CHECK_ORDER_RESERVATION:
        say(out, "The order is of %s; its reservation: %s.", total,
            reservation_words(v, words));
        break;
    case CHECK_ORDER_EVENT:
        say(out, "The order of %s has %d order.created events.", total,
            c->created_events);
        break;
    case CHECK_ORDER_KEY:
        say(out, "%d orders have the key of this one.", c->orders_of_key);
        break;
    case CHECK_ORDER_CART:
        say(out, "%d checkouts of cart %s of user %s have not failed.", c->live_of_cart,
            c->cart_id, c->user_id);
        break;
    default:
        say(out, "The checkout is %s, %s.", checkout_state_text(c->state),
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
        break;
    case CHECK_RESERVATION_ORDER:
        say(out, "Reservation: %s; %s.", reservation_words(v, reserved),
            checkout_words(v));
        break;
    case CHECK_FAILED_UNDONE:
        say(out,
            "The checkout failed (%s), but - reservation: %s; charge: %s; provider: %s.",
            v->checkout->failure_reason, reservation_words(v, reserved),
            charge_words(v, charge), provider_words(v, provider));
        break;
    case CHECK_CHARGE_ORDER:
    case CHECK_CHARGE_REFUND:
    case CHECK_BOOKS_EQUAL:
        say(out,
            "Charge: %s, %" PRId64 " cents refunded; provider: %s, %" PRId64
            " cents refunded; %s.",
            charge_words(v, charge), v->charge == NULL ? 0 : v->charge->refunded_cents,
            provider_words(v, provider),
            v->provider == NULL ? 0 : v->provider->refunded_cents, checkout_words(v));
        break;
    default:
        describe_order(v, check, out);
    }
}

void stock_describe(const Inventory__V1__StockEntry *s, enum check check,
                    char out[FINDING_SIZE])
{
    switch (check) {
    case CHECK_STOCK_BOOKED:
        say(out, "%" PRId64 " received, but the ledger's sum is %" PRId64 ".",
            s->received, s->booked);
        break;
    case CHECK_STOCK_HELD:
        say(out, "%" PRId64 " held, but held reservations are of %" PRId64 ".", s->held,
            s->held_reserved);
        break;
    case CHECK_STOCK_SOLD:
        say(out, "%" PRId64 " sold, but confirmed reservations are of %" PRId64 ".",
            s->sold, s->sold_reserved);
        break;
    default:
        say(out,
            "%" PRId64 " received, but %" PRId64 " available, %" PRId64
            " held and %" PRId64 " sold.",
            s->received, s->available, s->held, s->sold);
    }
}
