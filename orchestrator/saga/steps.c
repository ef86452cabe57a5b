/*
 * steps.c - turn one checkout into one order, or into nothing at all.
 *
 * No transaction spans three services.  This is safe because every step is keyed by the order
 * id and may be repeated, and because undoing what never happened changes nothing and prevents
 * it from happening later.
 *
 *      claim -> reserve -> charge -> confirm -> persist -> (reply)
 *                  |          |
 *               release     refund
 *
 * The claim is made before the saga exists (claim.c); the engine that runs the table is
 * engine.c.
 */
#include "orchestrator/saga/steps.h"

#include <string.h>

#include "orchestrator/checkout/checkouts.h"
#include "proto/inventory.pb-c.h"
#include "proto/payment.pb-c.h"

static void call(struct saga *s, struct channel *channel, const char *method,
                 const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *reply_type, channel_done *done)
{
    const struct channel_call c = {
        .method = method,
        .request = request,
        .reply_type = reply_type,
        .arena = s->scratch,
        .deadline_ms = saga_deadline(s),
        .id = s->request,
        .traceparent = s->trace.parent,
        .tracestate = s->trace.state,
    };

    channel_call(channel, &c, done, s);
}

/* ---- reserve, and its undo ---------------------------------------------------------- */

/* A title that PutProduct would refuse is left out, rather than failing the order. */
static struct err keep_line(struct arena *arena, const Inventory__V1__PricedLine *from,
                            struct line *to)
{
    if (!sku_valid(from->sku) || from->quantity < 1 || from->quantity > QUANTITY_MAX ||
        from->unit_price_cents < 0)
        return err_make(ERR_DATA_LOSS, "A line of the reservation is out of bounds.");
    bool titled = from->title[0] != '\0' && utf8_valid(from->title, TITLE_SIZE_MAX);

    *to = (struct line){arena_strdup(arena, from->sku), from->quantity,
                        from->unit_price_cents,
                        titled ? arena_strdup(arena, from->title) : NULL};
    return to->sku == NULL || (titled && to->title == NULL) ? err_memory() : ERR_NONE;
}

/* The reservation is the price snapshot: its total is what is charged. */
static struct err keep_reserved(struct saga *s, const Inventory__V1__ReserveReply *reply)
{
    struct checkout *c = &s->checkout;

    if (reply->n_lines == 0 || reply->total_cents < 0 || !currency_valid(reply->currency))
        return err_make(ERR_DATA_LOSS,
                        "The reservation has no lines, total or currency.");
    c->total_cents = reply->total_cents;
    c->currency = arena_strdup(s->arena, reply->currency);
    c->lines.count = reply->n_lines;
    c->lines.items = arena_alloc(s->arena, reply->n_lines * sizeof *c->lines.items);
    if (c->currency == NULL || c->lines.items == NULL)
        return err_memory();
    struct err e = ERR_NONE;
    for (size_t i = 0; !failed(e) && i < reply->n_lines; i++)
        e = keep_line(s->arena, reply->lines[i], &c->lines.items[i]);
    return e;
}

static struct err check_total(const struct checkout *c)
{
    struct err e;

    if (c->expected_currency != NULL && strcmp(c->expected_currency, c->currency) != 0)
        e = err_make(ERR_PRICE_CHANGED, "The total is now in %s, not in the %s expected.",
                     c->currency, c->expected_currency);
    else if (c->expected_total_cents >= 0 && c->expected_total_cents != c->total_cents)
        e = err_make(ERR_PRICE_CHANGED, "The total is now %lld, not the %lld expected.",
                     (long long)c->total_cents, (long long)c->expected_total_cents);
    else
        return ERR_NONE;
    e.effect = EFFECT_APPLIED; /* the stock is held */
    return e;
}

static void on_reserved(void *arg, struct err e, const ProtobufCMessage *reply,
                        bool replayed)
{
    struct saga *s = arg;

    (void)replayed;
    if (!failed(e)) {
        e = keep_reserved(s, (const Inventory__V1__ReserveReply *)reply);
        if (failed(e))
            e.effect = e.code == ERR_DATA_LOSS ? EFFECT_APPLIED : EFFECT_UNKNOWN;
        else
            e = check_total(&s->checkout);
    }
    saga_step_done(s, e);
}

static void reserve(struct saga *s)
{
    const struct lines *cart = &s->checkout.cart;
    Inventory__V1__ReserveRequest req = INVENTORY__V1__RESERVE_REQUEST__INIT;
    Inventory__V1__Line *lines = arena_alloc(s->scratch, cart->count * sizeof *lines);

    req.lines = arena_alloc(s->scratch, cart->count * sizeof *req.lines);
    if (lines == NULL || req.lines == NULL) {
        saga_step_done(s, err_memory());
        return;
    }
    for (size_t i = 0; i < cart->count; i++) {
        inventory__v1__line__init(&lines[i]);
        lines[i].sku = (char *)cart->items[i].sku;
        lines[i].quantity = cart->items[i].quantity;
        req.lines[i] = &lines[i];
    }
    req.n_lines = cart->count;
    req.reservation_id = (char *)s->checkout.order_id;
    call(s, sagas_config(s->sagas)->inventory, "inventory.v1.Inventory/Reserve",
         &req.base, &inventory__v1__reserve_reply__descriptor, on_reserved);
}

static void on_undone(void *arg, struct err e, const ProtobufCMessage *reply,
                      bool replayed)
{
    (void)reply;
    (void)replayed;
    saga_undo_done(arg, e);
}

static void release(struct saga *s)
{
    Inventory__V1__ReleaseRequest req = INVENTORY__V1__RELEASE_REQUEST__INIT;

    req.reservation_id = (char *)s->checkout.order_id;
    call(s, sagas_config(s->sagas)->inventory, "inventory.v1.Inventory/Release",
         &req.base, &inventory__v1__release_reply__descriptor, on_undone);
}

/* ---- charge, and its undo ----------------------------------------------------------- */

static void on_done(void *arg, struct err e, const ProtobufCMessage *reply, bool replayed)
{
    (void)reply;
    (void)replayed;
    saga_step_done(arg, e);
}

static void charge(struct saga *s)
{
    const struct checkout *c = &s->checkout;
    Payment__V1__ChargeRequest req = PAYMENT__V1__CHARGE_REQUEST__INIT;

    req.charge_id = (char *)c->order_id;
    req.user_id = (char *)c->user_id;
    req.payment_method_id = (char *)c->payment_method_id;
    req.amount_cents = c->total_cents;
    req.currency = (char *)c->currency;
    call(s, sagas_config(s->sagas)->payment, "payment.v1.Payment/Charge", &req.base,
         &payment__v1__charge_reply__descriptor, on_done);
}

/* Nothing is refunded for a charge that was declined, or prevented before it was made. */
static void on_refunded(void *arg, struct err e, const ProtobufCMessage *message,
                        bool replayed)
{
    const Payment__V1__RefundReply *reply = (const Payment__V1__RefundReply *)message;

    (void)replayed;
    if (!failed(e))
        saga_set_money(arg, reply->refunded_cents > 0 ? MONEY_REFUNDED : MONEY_NONE);
    saga_undo_done(arg, e);
}

static void refund(struct saga *s)
{
    Payment__V1__RefundRequest req = PAYMENT__V1__REFUND_REQUEST__INIT;

    req.charge_id = (char *)s->checkout.order_id;
    call(s, sagas_config(s->sagas)->payment, "payment.v1.Payment/Refund", &req.base,
         &payment__v1__refund_reply__descriptor, on_refunded);
}

/* ---- confirm ------------------------------------------------------------------------ */

/* Before persist: an order is only acknowledged once its stock can no longer expire. */
static void confirm(struct saga *s)
{
    Inventory__V1__ConfirmRequest req = INVENTORY__V1__CONFIRM_REQUEST__INIT;

    req.reservation_id = (char *)s->checkout.order_id;
    call(s, sagas_config(s->sagas)->inventory, "inventory.v1.Inventory/Confirm",
         &req.base, &inventory__v1__confirm_reply__descriptor, on_done);
}

/* ---- persist: the pivot ------------------------------------------------------------- */

static void on_persisted(void *arg, struct err e, const struct db_rows *rows)
{
    struct saga *s = arg;
    struct transitioned now = {0};

    if (!failed(e))
        e = checkouts_transitioned(rows, &now);
    if (e.code == ERR_DATA_LOSS) {
        saga_damaged(s, e);
        return;
    }
    if (failed(e)) {
        e.effect = EFFECT_UNKNOWN; /* a retry gets the outcome */
        saga_step_done(s, e);
        return;
    }
    s->checkout.created_at_ms = now.created_at_ms;
    if (now.state == CHECKOUT_COMPLETED) {
        saga_ordered(s);
        saga_step_done(s, ERR_NONE);
    } else if (now.state == CHECKOUT_RUNNING && now.epoch == s->checkout.epoch) {
        saga_step_done(s,
                       err_unknown(ERR_UNAVAILABLE, /* an earlier owner was in the way */
                                   "The order could not be written yet."));
    } else {
        saga_lost(s);
    }
}

static void persist(struct saga *s)
{
    const char *lines = lines_to_json(s->scratch, &s->checkout.lines, true);

    if (lines == NULL) {
        saga_step_done(s, err_memory());
        return;
    }
    checkouts_persist(&s->op, &s->checkout, lines);
    s->op.deadline_ms = saga_deadline(s);
    s->op.done = on_persisted;
    s->op.arg = s;
    db_submit(sagas_config(s->sagas)->db, &s->op);
}

static const struct saga_step PLACE[] = {
    /* name        act       undo            takes money */
    {"reserve", reserve, release, NULL, false, false},
    {"charge", charge, refund, NULL, false, true},
    {"confirm", confirm, SAGA_UNDONE_BY("reserve")},
    {"persist", persist, SAGA_PIVOT},
};

const struct saga_step *steps_of_checkout(int *count)
{
    *count = (int)(sizeof PLACE / sizeof *PLACE);
    return PLACE;
}
