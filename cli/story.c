/* story.c - see story.h. */
#include "cli/story.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/states.h"

static void tell(struct story *story, int64_t at_ms, const char *service,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

static void tell(struct story *story, int64_t at_ms, const char *service,
                 const char *format, ...)
{
    va_list args;

    if (at_ms == 0 || story->count == MOMENTS_MAX)
        return;
    struct moment *m = &story->moments[story->count];
    *m = (struct moment){.at_ms = at_ms, .order = story->count++, .service = service};
    va_start(args, format);
    vsnprintf(m->text, sizeof m->text, format, args);
    va_end(args);
}

/* ---- what the orchestrator tells ---------------------------------------------- */

static void tell_incident(struct story *story, const Orders__V1__CheckoutIncident *i)
{
    if (strcmp(i->kind, "taken_over") == 0)
        tell(story, i->at_ms, "orchestrator",
             "taken over by %s, as epoch %" PRId64
             ": its owner was silent past its lease",
             i->owner, i->epoch);
    else if (strcmp(i->kind, "retried") == 0)
        tell(story, i->at_ms, "orchestrator",
             "an operator ended its lease (checkouts retry)");
    else if (strcmp(i->kind, "needs_attention") == 0)
        tell(story, i->at_ms, "orchestrator",
             "needs attention: undoing %s failed %" PRId64 " times, last: %s", i->step,
             i->tries, i->cause);
    else
        tell(story, i->at_ms, "orchestrator", "%s at attempt %" PRId64 " at %s: %s",
             i->kind, i->tries, i->step, i->cause);
}

static void tell_claim(struct story *story)
{
    const Orders__V1__GetCheckoutReply *r = story->checkout;
    const Orders__V1__Checkout *c = r->checkout;

    if (c->state != ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED)
        tell(story, c->created_at_ms, "orchestrator",
             "claimed: cart %s of user %s, to be paid with %s, key %s%s%s", c->cart_id,
             c->user_id, r->payment_method_id, c->idempotency_key,
             *r->request_id != '\0' ? ", by request " : "", r->request_id);
}

static void tell_incidents(struct story *story)
{
    const Orders__V1__GetCheckoutReply *r = story->checkout;

    for (size_t i = 0; i < r->n_incidents; i++)
        tell_incident(story, r->incidents[i]);
}

static void tell_end(struct story *story)
{
    const Orders__V1__GetCheckoutReply *r = story->checkout;
    const Orders__V1__Checkout *c = r->checkout;
    char total[MONEY_SIZE];

    if (c->ordered)
        tell(story, r->ordered_at_ms, "orchestrator", "order written, of %s",
             money_text(c->order_total_cents, c->order_currency, total));
    for (size_t i = 0; i < r->n_events; i++) {
        tell(story, r->events[i]->created_at_ms, "orchestrator", "event %s written",
             r->events[i]->type);
        tell(story, r->events[i]->published_at_ms, "orchestrator", "event %s published",
             r->events[i]->type);
        tell(story, r->events[i]->refused_at_ms, "orchestrator",
             "event %s refused by the bus: %s", r->events[i]->type,
             r->events[i]->refusal);
    }
    if (c->state == ORDERS__V1__CHECKOUT_STATE__FAILED)
        tell(story, c->finished_at_ms, "orchestrator", "failed: %s (%s)",
             c->failure_reason, r->failure_message);
    else
        tell(story, c->finished_at_ms, "orchestrator", "completed");
}

/* ---- what the others tell ----------------------------------------------------- */

static void tell_reserved(struct story *story)
{
    const Inventory__V1__GetReservationReply *r = story->reservation;
    char total[MONEY_SIZE], until[TIME_SIZE];

    if (r == NULL)
        return;
    if (r->expires_at_ms != 0)
        tell(story, r->created_at_ms, "inventory",
             "reserved: %zu SKU%s for %s, held until %s", r->n_lines,
             r->n_lines == 1 ? "" : "s", money_text(r->total_cents, r->currency, total),
             time_text(r->expires_at_ms, until));
    else if (r->state == INVENTORY__V1__RESERVATION_STATE__RELEASED)
        tell(story, r->created_at_ms, "inventory",
             "barred: released before it was ever held");
    if (r->state == INVENTORY__V1__RESERVATION_STATE__REFUSED)
        tell(story, r->created_at_ms, "inventory",
             "refused: not enough stock, or no such SKU");
}

static void tell_settled(struct story *story)
{
    const Inventory__V1__GetReservationReply *r = story->reservation;

    if (r != NULL && r->expires_at_ms != 0 &&
        r->state != INVENTORY__V1__RESERVATION_STATE__REFUSED)
        tell(story, r->settled_at_ms, "inventory", "reservation %s",
             reservation_state_text(r->state));
}

static void tell_intent(struct story *story)
{
    const Payment__V1__GetChargeReply *c = story->charge;
    char amount[MONEY_SIZE];

    if (c == NULL)
        return;
    if (*c->user_id == '\0')
        tell(story, c->created_at_ms, "payment",
             "barred: refunded before it was ever charged");
    else
        tell(story, c->created_at_ms, "payment", "charge of %s intended",
             money_text(c->amount_cents, c->currency, amount));
}

static void tell_outcome(struct story *story)
{
    const Payment__V1__GetChargeReply *c = story->charge;
    char refunded[MONEY_SIZE];

    if (c == NULL || *c->user_id == '\0')
        return;
    if (c->state == PAYMENT__V1__CHARGE_STATE__REFUNDED)
        tell(story, c->settled_at_ms, "payment", "charge %s refunded, %s given back",
             c->provider_charge_id, money_text(c->refunded_cents, c->currency, refunded));
    else
        tell(story, c->settled_at_ms, "payment", "charge %s%s%s",
             c->state == PAYMENT__V1__CHARGE_STATE__DECLINED ? "declined: "
                                                             : "captured, as ",
             c->state == PAYMENT__V1__CHARGE_STATE__DECLINED ? c->decline_code
                                                             : c->provider_charge_id,
             c->state == PAYMENT__V1__CHARGE_STATE__REFUNDING ? "; being refunded now"
                                                              : "");
}

static void tell_provider(struct story *story)
{
    const Payment__V1__ProviderEntry *p = story->provider;
    char amount[MONEY_SIZE];

    if (p == NULL)
        return;
    money_text(p->amount_cents, p->currency, amount);
    if (p->status == PAYMENT__V1__PROVIDER_STATUS__PROVIDER_VOIDED)
        tell(story, p->created_at_ms, "provider",
             "barred: refunded before it was ever charged");
    else if (p->status == PAYMENT__V1__PROVIDER_STATUS__PROVIDER_DECLINED)
        tell(story, p->created_at_ms, "provider", "declined to charge %s", amount);
    else
        tell(story, p->created_at_ms, "provider", "charged %s, as %s", amount,
             p->provider_charge_id);
    tell(story, p->refunded_at_ms, "provider", "gave back %s",
         money_text(p->refunded_cents, p->currency, amount));
}

/* ---- what happens next -------------------------------------------------------- */

/* The first step that is not known to be done; running the earlier ones again only finds
 * what they left. */
static const char *next_step(const struct story *story)
{
    const Inventory__V1__GetReservationReply *r = story->reservation;
    const Payment__V1__GetChargeReply *c = story->charge;

    if (r == NULL)
        return "reserve";
    if (r->state == INVENTORY__V1__RESERVATION_STATE__CONFIRMED)
        return "persist";
    if (r->state != INVENTORY__V1__RESERVATION_STATE__HELD)
        return "reserve, which will be refused";
    if (c == NULL || c->state == PAYMENT__V1__CHARGE_STATE__INTENT)
        return "charge";
    return c->state == PAYMENT__V1__CHARGE_STATE__CAPTURED
               ? "confirm"
               : "charge, which will be refused";
}

static const char *next_undoing(const struct story *story)
{
    const Payment__V1__GetChargeReply *c = story->charge;
    const Inventory__V1__GetReservationReply *r = story->reservation;

    if (c != NULL && c->state != PAYMENT__V1__CHARGE_STATE__REFUNDED &&
        c->state != PAYMENT__V1__CHARGE_STATE__DECLINED)
        return "refund, then release";
    if (r != NULL && (r->state == INVENTORY__V1__RESERVATION_STATE__HELD ||
                      r->state == INVENTORY__V1__RESERVATION_STATE__CONFIRMED))
        return "release";
    return "its end: nothing is left to be undone";
}

static void foretell_unfinished(struct story *story)
{
    const Orders__V1__Checkout *c = story->checkout->checkout;
    bool aborting = c->state == ORDERS__V1__CHECKOUT_STATE__ABORTING;
    const char *step = story->effects_missing ? "a step that is not known now"
                       : aborting             ? next_undoing(story)
                                              : next_step(story);
    double seconds = (double)c->lease_left_ms / 1000;

    if (c->needs_attention)
        snprintf(
            story->next, TEXT_SIZE,
            "It needs attention: undoing it keeps failing, at %s.  Once the cause is "
            "gone: checkoutctl checkouts retry %s",
            step, c->order_id);
    else if (c->lease_left_ms > 0)
        snprintf(story->next, TEXT_SIZE,
                 "Its owner %s it, at %s.  Should the owner fall silent, the lease ends "
                 "in %.1f s, then any orchestrator resumes it there.",
                 aborting ? "undoes" : "runs", step, seconds);
    else
        snprintf(
            story->next, TEXT_SIZE,
            "Its lease ended %.1f s ago: the next orchestrator that looks resumes it at "
            "%s.",
            -seconds, step);
}

static void foretell(struct story *story)
{
    const Orders__V1__Checkout *c =
        story->checkout == NULL ? NULL : story->checkout->checkout;

    if (c == NULL)
        snprintf(
            story->next, TEXT_SIZE, "%s",
            story->orders_missing
                ? "Not known: the orchestrator did not answer."
                : "Nothing: the orchestrator has no checkout and no order of this id.");
    else if (c->state == ORDERS__V1__CHECKOUT_STATE__ABORTING ||
             c->state == ORDERS__V1__CHECKOUT_STATE__RUNNING)
        foretell_unfinished(story);
    else
        snprintf(story->next, TEXT_SIZE, "Nothing more: it is %s.",
                 checkout_state_text(c->state));
}

/* ---- all of it ---------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
    const struct moment *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->order - y->order;
}

void story_tell(struct story *story)
{
    const bool claimed = story->checkout != NULL;

    /* What came in one millisecond stays in this order: that in which it happens. */
    if (claimed)
        tell_claim(story);
    tell_reserved(story);
    tell_intent(story);
    tell_provider(story);
    tell_outcome(story);
    if (claimed)
        tell_incidents(story);
    tell_settled(story);
    if (claimed)
        tell_end(story);
    qsort(story->moments, (size_t)story->count, sizeof *story->moments, by_time);
    foretell(story);
}
