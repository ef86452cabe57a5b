/* view.c - see view.h: the rules. */
#include "cli/view.h"

#include <string.h>

uint32_t checks_possible(unsigned have)
{
    uint32_t mask = 0;

    for (unsigned c = 0; c < CHECK_COUNT; c++)
        mask |= (CHECKS[c].needs & ~have) == 0 ? UINT32_C(1) << c : 0;
    return mask;
}

/* ---- small questions ---------------------------------------------------------- */

static bool checkout_is(const struct view *v, Orders__V1__CheckoutState state)
{
    return v->checkout != NULL && v->checkout->state == state;
}

static bool unfinished(const struct view *v)
{
    return checkout_is(v, ORDERS__V1__CHECKOUT_STATE__RUNNING) ||
           checkout_is(v, ORDERS__V1__CHECKOUT_STATE__ABORTING);
}

static bool completed(const struct view *v)
{
    return checkout_is(v, ORDERS__V1__CHECKOUT_STATE__COMPLETED);
}

static bool has_failed(const struct view *v)
{
    return checkout_is(v, ORDERS__V1__CHECKOUT_STATE__FAILED);
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

/* Whether either book says that we have the shopper's money. */
static bool money_kept(const struct view *v)
{
    return charge_is(v, PAYMENT__V1__CHARGE_STATE__CAPTURED) ||
           charge_is(v, PAYMENT__V1__CHARGE_STATE__REFUNDING) ||
           provider_is(v, PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED);
}

static bool stock_kept(const struct view *v)
{
    return reservation_is(v, INVENTORY__V1__RESERVATION_STATE__HELD) ||
           reservation_is(v, INVENTORY__V1__RESERVATION_STATE__CONFIRMED);
}

/* ---- standing ----------------------------------------------------------------- */

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

/* ---- the rules ---------------------------------------------------------------- */

static bool charge_is_the_orders(const struct view *v)
{
    const Orders__V1__Checkout *c = v->checkout;

    return charge_is(v, PAYMENT__V1__CHARGE_STATE__CAPTURED) &&
           v->charge->amount_cents == c->order_total_cents &&
           strcmp(v->charge->currency, c->order_currency) == 0 &&
           v->charge->refunded_cents == 0;
}

static bool reservation_is_the_orders(const struct view *v)
{
    const Orders__V1__Checkout *c = v->checkout;

    return reservation_is(v, INVENTORY__V1__RESERVATION_STATE__CONFIRMED) &&
           v->reservation->total_cents == c->order_total_cents &&
           strcmp(v->reservation->currency, c->order_currency) == 0;
}

/* A checkout without order row, an order without its checkout, or two that do not match;
 * an order alone is one whose key was pruned. */
static bool order_is_the_checkouts(const Orders__V1__Checkout *c)
{
    if (c->state == ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED)
        return true;
    return (c->state == ORDERS__V1__CHECKOUT_STATE__COMPLETED) == c->ordered &&
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

/* An intent stands in our book before the provider is asked, so it never knows more ids
 * than we do; what never reached it, it need not know. */
static bool books_agree(const struct view *v)
{
    bool captured = provider_is(v, PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED);
    bool refunded = provider_is(v, PAYMENT__V1__PROVIDER_STATUS__PROVIDER_REFUNDED);

    if (v->charge == NULL)
        return v->provider == NULL;
    switch (v->charge->state) {
    case PAYMENT__V1__CHARGE_STATE__CAPTURED:
        return captured && same_capture(v->charge, v->provider);
    case PAYMENT__V1__CHARGE_STATE__DECLINED:
        return !captured && !refunded;
    case PAYMENT__V1__CHARGE_STATE__REFUNDED:
        return !captured &&
               v->charge->refunded_cents == (refunded ? v->provider->refunded_cents : 0);
    case PAYMENT__V1__CHARGE_STATE__INTENT:
    case PAYMENT__V1__CHARGE_STATE__REFUNDING: /* the answer is still to be written */
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
        mask |= CHECK(RESERVATION_ORDER); /* of an unfinished one it is still wanted */
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
