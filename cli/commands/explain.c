/*
 * explain.c - checkoutctl explain: one order's history as a timeline, and what happens
 * next.
 *
 * If the id may be of another kind, first finds its order.  Then reads claim, incidents,
 * order and events from the orchestrator, the reservation from inventory, and the charge
 * and the provider's entry from payment, and merges the answers into one timeline.  Each
 * service's times are by its own database's clock.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/view/find.h"
#include "cli/view/view.h"

enum { LINES_MAX = 220, TEXT_SIZE = 480 };

struct line {
    int64_t at_ms;
    int order; /* among lines of one millisecond */
    const char *service;
    char text[TEXT_SIZE];
};

/* What the services answered, then what make_timeline makes of it. */
struct timeline {
    const struct cli *cli;
    const Orders__V1__GetCheckoutReply *checkout;          /* or NULL */
    const Inventory__V1__GetReservationReply *reservation; /* or NULL */
    const Payment__V1__GetChargeReply *charge;             /* or NULL */
    const Payment__V1__ProviderEntry *provider;            /* or NULL */
    bool orders_missing;  /* the orchestrator did not answer: there may be a checkout */
    bool effects_missing; /* the same of inventory or payment */
    struct line lines[LINES_MAX];
    int count;
    char next[TEXT_SIZE];
};

/* Adds a line to the timeline, if it happened (at_ms is not 0) and there is room. */
static void add_line(struct timeline *t, int64_t at_ms, const char *service,
                     const char *format, ...) __attribute__((format(printf, 4, 5)));

static void add_line(struct timeline *t, int64_t at_ms, const char *service,
                     const char *format, ...)
{
    va_list args;

    if (at_ms == 0 || t->count == LINES_MAX)
        return;
    struct line *line = &t->lines[t->count];
    *line = (struct line){.at_ms = at_ms, .order = t->count++, .service = service};
    va_start(args, format);
    vsnprintf(line->text, sizeof line->text, format, args);
    va_end(args);
}

/* ---- lines of the orchestrator ----------------------------------------------------- */

static void add_incident(struct timeline *t, const Orders__V1__CheckoutIncident *i)
{
    if (strcmp(i->kind, "taken_over") == 0)
        add_line(t, i->at_ms, "orchestrator",
                 "taken over by %s, as epoch %" PRId64
                 ": its owner did not renew its lease",
                 i->owner, i->epoch);
    else if (strcmp(i->kind, "retried") == 0)
        add_line(t, i->at_ms, "orchestrator",
                 "an operator ended its lease (checkouts retry)");
    else if (strcmp(i->kind, "needs_attention") == 0)
        add_line(t, i->at_ms, "orchestrator",
                 "needs attention: undoing %s failed %" PRId64 " times, last: %s",
                 i->step, i->tries, i->cause);
    else
        add_line(t, i->at_ms, "orchestrator", "%s at attempt %" PRId64 " at %s: %s",
                 i->kind, i->tries, i->step, i->cause);
}

static void add_claim(struct timeline *t)
{
    const Orders__V1__GetCheckoutReply *r = t->checkout;
    const Orders__V1__Checkout *c = r->checkout;

    if (c->state != CHECKOUT_STATE(CHECKOUT_UNSPECIFIED))
        add_line(t, c->created_at_ms, "orchestrator",
                 "claimed: cart %s of user %s, to be paid with %s, key %s%s%s",
                 c->cart_id, c->user_id, r->payment_method_id, c->idempotency_key,
                 *r->request_id != '\0' ? ", by request " : "", r->request_id);
}

static void add_end(struct timeline *t)
{
    const Orders__V1__GetCheckoutReply *r = t->checkout;
    const Orders__V1__Checkout *c = r->checkout;
    char total[MONEY_SIZE];

    if (c->ordered)
        add_line(t, r->ordered_at_ms, "orchestrator", "order written, of %s",
                 money_text(c->order_total_cents, c->order_currency, total));
    for (size_t i = 0; i < r->n_events; i++) {
        add_line(t, r->events[i]->created_at_ms, "orchestrator", "event %s written",
                 r->events[i]->type);
        add_line(t, r->events[i]->published_at_ms, "orchestrator", "event %s published",
                 r->events[i]->type);
        add_line(t, r->events[i]->refused_at_ms, "orchestrator",
                 "event %s refused by the bus: %s", r->events[i]->type,
                 r->events[i]->refusal);
    }
    if (c->state == CHECKOUT_STATE(FAILED))
        add_line(t, c->finished_at_ms, "orchestrator", "failed: %s (%s)",
                 c->failure_reason, r->failure_message);
    else
        add_line(t, c->finished_at_ms, "orchestrator", "completed");
}

/* ---- lines of the other services --------------------------------------------------- */

static void add_reserved(struct timeline *t)
{
    const Inventory__V1__GetReservationReply *r = t->reservation;
    char total[MONEY_SIZE], until[TIME_SIZE];

    if (r == NULL)
        return;
    if (r->expires_at_ms != 0)
        add_line(t, r->created_at_ms, "inventory",
                 "reserved: %zu SKU%s for %s, held until %s", r->n_lines,
                 r->n_lines == 1 ? "" : "s",
                 money_text(r->total_cents, r->currency, total),
                 time_text(r->expires_at_ms, until));
    else if (r->state == RESERVATION_STATE(RELEASED))
        add_line(t, r->created_at_ms, "inventory",
                 "blocked: released before it was reserved");
    if (r->state == RESERVATION_STATE(REFUSED))
        add_line(t, r->created_at_ms, "inventory",
                 "refused: not enough stock, or no such SKU");
}

static void add_settled(struct timeline *t)
{
    const Inventory__V1__GetReservationReply *r = t->reservation;

    if (r != NULL && r->expires_at_ms != 0 && r->state != RESERVATION_STATE(REFUSED))
        add_line(t, r->settled_at_ms, "inventory", "reservation %s",
                 reservation_state_text(r->state));
}

static void add_intent(struct timeline *t)
{
    const Payment__V1__GetChargeReply *c = t->charge;
    char amount[MONEY_SIZE];

    if (c == NULL)
        return;
    if (*c->user_id == '\0')
        add_line(t, c->created_at_ms, "payment",
                 "blocked: refunded before it was charged");
    else
        add_line(t, c->created_at_ms, "payment", "charge of %s intended",
                 money_text(c->amount_cents, c->currency, amount));
}

static void add_outcome(struct timeline *t)
{
    const Payment__V1__GetChargeReply *c = t->charge;
    char refunded[MONEY_SIZE];

    if (c == NULL || *c->user_id == '\0')
        return;
    if (c->state == CHARGE_STATE(REFUNDED) && *c->provider_charge_id == '\0')
        add_line(t, c->settled_at_ms, "payment", "refunded before it was charged");
    else if (c->state == CHARGE_STATE(REFUNDED))
        add_line(t, c->settled_at_ms, "payment", "charge %s refunded, %s given back",
                 c->provider_charge_id,
                 money_text(c->refunded_cents, c->currency, refunded));
    else
        add_line(t, c->settled_at_ms, "payment", "charge %s%s%s",
                 c->state == CHARGE_STATE(DECLINED) ? "declined: " : "captured, as ",
                 c->state == CHARGE_STATE(DECLINED) ? c->decline_code
                                                    : c->provider_charge_id,
                 c->state == CHARGE_STATE(REFUNDING) ? "; being refunded now" : "");
}

static void add_provider(struct timeline *t)
{
    const Payment__V1__ProviderEntry *p = t->provider;
    char amount[MONEY_SIZE];

    if (p == NULL)
        return;
    money_text(p->amount_cents, p->currency, amount);
    if (p->status == PROVIDER_STATUS(VOIDED))
        add_line(t, p->created_at_ms, "provider",
                 "blocked: refunded before it was charged");
    else if (p->status == PROVIDER_STATUS(DECLINED))
        add_line(t, p->created_at_ms, "provider", "declined to charge %s", amount);
    else
        add_line(t, p->created_at_ms, "provider", "charged %s, as %s", amount,
                 p->provider_charge_id);
    add_line(t, p->refunded_at_ms, "provider", "gave back %s",
             money_text(p->refunded_cents, p->currency, amount));
}

/* ---- what happens next ------------------------------------------------------------- */

/* The first step that is not known to be done.  Earlier ones run again, but change
 * nothing. */
static const char *next_step(const struct timeline *t)
{
    const Inventory__V1__GetReservationReply *r = t->reservation;
    const Payment__V1__GetChargeReply *c = t->charge;

    if (r == NULL)
        return "reserve";
    if (r->state == RESERVATION_STATE(CONFIRMED))
        return "persist";
    if (r->state != RESERVATION_STATE(HELD))
        return "reserve, which will be refused";
    if (c == NULL || c->state == CHARGE_STATE(INTENT))
        return "charge";
    return c->state == CHARGE_STATE(CAPTURED) ? "confirm"
                                              : "charge, which will be refused";
}

static const char *next_undoing(const struct timeline *t)
{
    const Payment__V1__GetChargeReply *c = t->charge;
    const Inventory__V1__GetReservationReply *r = t->reservation;

    if (c != NULL && c->state != CHARGE_STATE(REFUNDED) &&
        c->state != CHARGE_STATE(DECLINED))
        return "refund, then release";
    if (r != NULL &&
        (r->state == RESERVATION_STATE(HELD) || r->state == RESERVATION_STATE(CONFIRMED)))
        return "release";
    return "its end: nothing is left to be undone";
}

/* Writes t->next, from a printf format and its arguments. */
#define say_next(t, ...) snprintf((t)->next, TEXT_SIZE, __VA_ARGS__)

static void set_next_unfinished(struct timeline *t)
{
    const Orders__V1__Checkout *c = t->checkout->checkout;
    bool aborting = c->state == CHECKOUT_STATE(ABORTING);
    const char *step = t->effects_missing ? "a step that is not known now"
                       : aborting         ? next_undoing(t)
                                          : next_step(t);
    double seconds = (double)c->lease_left_ms / 1000;

    if (c->needs_attention)
        say_next(
            t,
            "It needs attention: undoing it keeps failing, at %s.  Once the cause is "
            "gone: checkoutctl checkouts retry %s",
            step, c->order_id);
    else if (c->lease_left_ms > 0)
        say_next(t,
                 "Its owner %s it, at %s.  If the owner stops, the lease ends in %.1f s, "
                 "then any orchestrator resumes it there.",
                 aborting ? "undoes" : "runs", step, seconds);
    else
        say_next(
            t,
            "Its lease ended %.1f s ago: the next orchestrator that looks resumes it at "
            "%s.",
            -seconds, step);
}

static void set_next(struct timeline *t)
{
    const Orders__V1__Checkout *c = t->checkout == NULL ? NULL : t->checkout->checkout;

    if (c == NULL)
        say_next(
            t, "%s",
            t->orders_missing
                ? "Not known: the orchestrator did not answer."
                : "Nothing: the orchestrator has no checkout and no order of this id.");
    else if (c->state == CHECKOUT_STATE(ABORTING) || c->state == CHECKOUT_STATE(RUNNING))
        set_next_unfinished(t);
    else
        say_next(t, "Nothing more: it is %s.", checkout_state_text(c->state));
}

/* ---- the timeline ------------------------------------------------------------------ */

static int by_time(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    if (x->at_ms != y->at_ms)
        return x->at_ms < y->at_ms ? -1 : 1;
    return x->order - y->order;
}

/* Makes the lines of the answers, in the order of their times, and the text of `next`. */
static void make_timeline(struct timeline *t)
{
    const Orders__V1__GetCheckoutReply *claimed = t->checkout;

    /* Lines of the same millisecond stay in this order, which is that of the steps. */
    if (claimed != NULL)
        add_claim(t);
    add_reserved(t);
    add_intent(t);
    add_provider(t);
    add_outcome(t);
    for (size_t i = 0; claimed != NULL && i < claimed->n_incidents; i++)
        add_incident(t, claimed->incidents[i]);
    add_settled(t);
    if (claimed != NULL)
        add_end(t);
    qsort(t->lines, (size_t)t->count, sizeof *t->lines, by_time);
    set_next(t);
}

/* ---- asking ------------------------------------------------------------------------ */

enum asked {
    ASKED_CHECKOUT,
    ASKED_RESERVATION,
    ASKED_CHARGE,
    ASKED_PROVIDER,
    ASKED_COUNT
};

struct requests {
    Orders__V1__GetCheckoutRequest checkout;
    Inventory__V1__GetReservationRequest reservation;
    Payment__V1__GetChargeRequest charge;
    Payment__V1__ListProviderChargesRequest provider;
};

/* Asks all at once. */
static void ask_all(const struct cli *cli, char *id, int64_t deadline_ms,
                    struct question *q)
{
    struct requests r = {ORDERS__V1__GET_CHECKOUT_REQUEST__INIT,
                         INVENTORY__V1__GET_RESERVATION_REQUEST__INIT,
                         PAYMENT__V1__GET_CHARGE_REQUEST__INIT,
                         PAYMENT__V1__LIST_PROVIDER_CHARGES_REQUEST__INIT};

    r.checkout.order_id = r.reservation.reservation_id = id;
    r.charge.charge_id = r.provider.only_id = id;
    const struct question all[ASKED_COUNT] = {
        [ASKED_CHECKOUT] = {.method = &GET_CHECKOUT, .request = &r.checkout.base},
        [ASKED_RESERVATION] = {.method = &GET_RESERVATION,
                               .request = &r.reservation.base},
        [ASKED_CHARGE] = {.method = &GET_CHARGE, .request = &r.charge.base},
        [ASKED_PROVIDER] = {.method = &LIST_PROVIDER_CHARGES,
                            .request = &r.provider.base},
    };
    memcpy(q, all, sizeof all);
    for (int i = 0; i < ASKED_COUNT; i++)
        q[i].timeout_ms = several_share(deadline_ms, true);
    several_ask(cli, q, ASKED_COUNT);
}

/* Whether a service has an entry under the id, which then is an order's. */
static bool has_answers(const struct timeline *t)
{
    return t->checkout != NULL || t->reservation != NULL || t->charge != NULL ||
           t->provider != NULL;
}

static struct outcome take_answers(struct timeline *t, const struct question *q)
{
    const Payment__V1__ListProviderChargesReply *provider = q[ASKED_PROVIDER].reply;

    t->checkout = q[ASKED_CHECKOUT].reply;
    t->reservation = q[ASKED_RESERVATION].reply;
    t->charge = q[ASKED_CHARGE].reply;
    if (provider != NULL && provider->n_charges > 0)
        t->provider = provider->charges[0];
    t->orders_missing = question_missing(&q[ASKED_CHECKOUT]);
    t->effects_missing = question_missing(&q[ASKED_RESERVATION]) ||
                         question_missing(&q[ASKED_CHARGE]) ||
                         question_missing(&q[ASKED_PROVIDER]);
    if (t->checkout != NULL && t->checkout->checkout == NULL)
        return remote(err_make(ERR_DATA_LOSS, "The reply holds no checkout."));
    return !has_answers(t) && !t->orders_missing ? q[ASKED_CHECKOUT].end : done();
}

/* ---- output ------------------------------------------------------------------------ */

static const char *state_of(const struct timeline *t)
{
    return t->checkout != NULL ? checkout_state_text(t->checkout->checkout->state)
           : t->orders_missing ? "state not known"
                               : "no checkout";
}

static const char *money_of(const struct timeline *t)
{
    return t->checkout != NULL ? t->checkout->money : "";
}

/* Only the orchestrator knows that an id is a request's. */
static void print_head(const struct timeline *t, const char *id)
{
    const char *money = money_of(t);
    FILE *out = t->cli->out;

    if (has_answers(t))
        fprintf(out, "order %s, %s", id, state_of(t));
    else
        fprintf(out, "%s, an order's id or a request's: that is not known now", id);
    if (*money != '\0') {
        fprintf(out, "; money: ");
        output_text(out, money);
    }
    fprintf(out, "\n\n");
}

static void print_timeline(const struct timeline *t, const char *id)
{
    FILE *out = t->cli->out;
    char time[TIME_SIZE];

    print_head(t, id);
    for (int i = 0; i < t->count; i++) {
        const struct line *line = &t->lines[i];
        int64_t since = line->at_ms - t->lines[0].at_ms;
        /* "2026-01-31 12:00:00 UTC": the milliseconds go before the zone. */
        fprintf(out, "  %.19s.%03d  %+9.3f s  %-12s ", time_text(line->at_ms, time),
                (int)(line->at_ms % 1000), (double)since / 1000, line->service);
        output_text(out, line->text);
        fputc('\n', out);
    }
    fprintf(out, "\nNext: %s\n", t->next);
}

static struct err json_timeline(const struct timeline *t, const char *id,
                                const struct question *questions)
{
    json_t *lines = json_array();

    for (int i = 0; i < t->count; i++)
        json_array_append_new(
            lines, json_pack("{s:I, s:s, s:s}", "at_ms", (json_int_t)t->lines[i].at_ms,
                             "service", t->lines[i].service, "what", t->lines[i].text));
    return output_json(
        t->cli, json_pack("{s:s, s:s?, s:s, s:s, s:o, s:s, s:o}", "id", t->cli->words[0],
                          "order_id", has_answers(t) ? id : NULL, "state", state_of(t),
                          "money", money_of(t), "timeline", lines, "next", t->next,
                          "missing", several_missing_json(questions, ASKED_COUNT)));
}

static struct outcome print(struct timeline *t, const char *id,
                            const struct question *questions)
{
    struct err e = ERR_NONE;

    make_timeline(t);
    if (t->cli->options[OPT_JSON] == NULL)
        print_timeline(t, id);
    else
        e = json_timeline(t, id, questions);
    if (failed(e))
        return local(e);
    several_name_others(t->cli, questions, ASKED_COUNT);
    return several_end(questions, ASKED_COUNT);
}

/* ---- the command ------------------------------------------------------------------- */

static struct outcome explain(struct timeline *t, const char *id, int64_t deadline_ms)
{
    struct question questions[ASKED_COUNT];

    ask_all(t->cli, borrow(id), deadline_ms, questions);
    struct outcome end = take_answers(t, questions);
    if (end.status == 0)
        end = print(t, id, questions);
    end.error.subject = NULL; /* freed with a question */
    several_close(questions, ASKED_COUNT);
    return end;
}

/* A ULID that is no known request id, or when the orchestrator does not answer, may be an
 * order's. */
static struct outcome find(const struct cli *cli, int64_t deadline_ms, char id[ULID_SIZE])
{
    const char *text = cli->words[0];

    if (!ulid_valid(text))
        return find_order(cli, text, deadline_ms, id);
    if (find_of_request(cli, text, deadline_ms, id).status != 0)
        memcpy(id, text, ULID_SIZE);
    return done();
}

struct outcome command_explain(struct cli *cli)
{
    struct timeline *t = arena_alloc(cli->arena, sizeof *t);
    int64_t deadline_ms = several_deadline(cli);
    char id[ULID_SIZE];

    if (t == NULL)
        return local(err_memory());
    t->cli = cli;
    struct outcome end = find(cli, deadline_ms, id);
    return end.status != 0 ? end : explain(t, id, deadline_ms);
}
