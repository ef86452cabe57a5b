/* book_kinds.c - see book_kinds.h. */
#include "cli/book_kinds.h"

#include "base/contract/bounds.h"
#include "cli/remote.h"

static void younger(struct view *view, int64_t now_ms, int64_t created_at_ms)
{
    if (now_ms - created_at_ms < view->effect_age_ms)
        view->effect_age_ms = now_ms - created_at_ms;
}

/* ---- checkouts ---------------------------------------------------------------- */

static void ask_checkouts(const struct book_kind *kind, struct line *line,
                          struct line_call *call, const char *after, const char *only,
                          struct arena *arena, int64_t timeout_ms)
{
    Orders__V1__ListCheckoutsRequest request = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_id = borrow(after);
    request.only_id = borrow(only);
    line_start(line, call, kind->method, &request.base, kind->reply_type, arena,
               timeout_ms);
}

static size_t count_checkouts(const ProtobufCMessage *reply)
{
    return ((const Orders__V1__ListCheckoutsReply *)reply)->n_checkouts;
}

static const char *id_of_checkout(const ProtobufCMessage *reply, size_t row)
{
    return ((const Orders__V1__ListCheckoutsReply *)reply)->checkouts[row]->order_id;
}

static void show_checkout(const ProtobufCMessage *message, size_t row, struct view *view)
{
    const Orders__V1__ListCheckoutsReply *reply =
        (const Orders__V1__ListCheckoutsReply *)message;

    view->checkout = reply->checkouts[row];
}

/* ---- reservations ------------------------------------------------------------- */

static void ask_reservations(const struct book_kind *kind, struct line *line,
                             struct line_call *call, const char *after, const char *only,
                             struct arena *arena, int64_t timeout_ms)
{
    Inventory__V1__ListReservationsRequest request =
        INVENTORY__V1__LIST_RESERVATIONS_REQUEST__INIT;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_id = borrow(after);
    request.only_id = borrow(only);
    line_start(line, call, kind->method, &request.base, kind->reply_type, arena,
               timeout_ms);
}

static size_t count_reservations(const ProtobufCMessage *reply)
{
    return ((const Inventory__V1__ListReservationsReply *)reply)->n_reservations;
}

static const char *id_of_reservation(const ProtobufCMessage *reply, size_t row)
{
    return ((const Inventory__V1__ListReservationsReply *)reply)
        ->reservations[row]
        ->reservation_id;
}

static void show_reservation(const ProtobufCMessage *message, size_t row,
                             struct view *view)
{
    const Inventory__V1__ListReservationsReply *reply =
        (const Inventory__V1__ListReservationsReply *)message;

    view->reservation = reply->reservations[row];
    younger(view, reply->now_ms, view->reservation->created_at_ms);
}

/* ---- charges ------------------------------------------------------------------ */

static void ask_charges(const struct book_kind *kind, struct line *line,
                        struct line_call *call, const char *after, const char *only,
                        struct arena *arena, int64_t timeout_ms)
{
    Payment__V1__ListChargesRequest request = PAYMENT__V1__LIST_CHARGES_REQUEST__INIT;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_id = borrow(after);
    request.only_id = borrow(only);
    line_start(line, call, kind->method, &request.base, kind->reply_type, arena,
               timeout_ms);
}

static size_t count_charges(const ProtobufCMessage *reply)
{
    return ((const Payment__V1__ListChargesReply *)reply)->n_charges;
}

static const char *id_of_charge(const ProtobufCMessage *reply, size_t row)
{
    return ((const Payment__V1__ListChargesReply *)reply)->charges[row]->charge_id;
}

static void show_charge(const ProtobufCMessage *message, size_t row, struct view *view)
{
    const Payment__V1__ListChargesReply *reply =
        (const Payment__V1__ListChargesReply *)message;

    view->charge = reply->charges[row];
    younger(view, reply->now_ms, view->charge->created_at_ms);
}

/* ---- the provider's ----------------------------------------------------------- */

static void ask_provider(const struct book_kind *kind, struct line *line,
                         struct line_call *call, const char *after, const char *only,
                         struct arena *arena, int64_t timeout_ms)
{
    Payment__V1__ListProviderChargesRequest request =
        PAYMENT__V1__LIST_PROVIDER_CHARGES_REQUEST__INIT;

    request.limit = ENTRIES_PAGE_MAX;
    request.after_key = borrow(after);
    request.only_id = borrow(only);
    line_start(line, call, kind->method, &request.base, kind->reply_type, arena,
               timeout_ms);
}

static size_t count_provider(const ProtobufCMessage *reply)
{
    return ((const Payment__V1__ListProviderChargesReply *)reply)->n_charges;
}

static const char *key_of_provider(const ProtobufCMessage *reply, size_t row)
{
    return ((const Payment__V1__ListProviderChargesReply *)reply)->charges[row]->key;
}

/* Keys are "chg_" and the id, so those that are ours are in the order of ids. */
static const char *id_of_provider(const ProtobufCMessage *reply, size_t row)
{
    return ((const Payment__V1__ListProviderChargesReply *)reply)
        ->charges[row]
        ->charge_id;
}

static void show_provider(const ProtobufCMessage *message, size_t row, struct view *view)
{
    const Payment__V1__ListProviderChargesReply *reply =
        (const Payment__V1__ListProviderChargesReply *)message;

    view->provider = reply->charges[row];
    younger(view, reply->now_ms, view->provider->created_at_ms);
}

const struct book_kind BOOK_KINDS[BOOK_COUNT] = {
    [BOOK_CHECKOUTS] = {"orchestrator", "orders.v1.Orders/ListCheckouts",
                        &orders__v1__list_checkouts_reply__descriptor, ask_checkouts,
                        count_checkouts, id_of_checkout, id_of_checkout, show_checkout},
    [BOOK_RESERVATIONS] = {"inventory", "inventory.v1.Inventory/ListReservations",
                           &inventory__v1__list_reservations_reply__descriptor,
                           ask_reservations, count_reservations, id_of_reservation,
                           id_of_reservation, show_reservation},
    [BOOK_CHARGES] = {"payment", "payment.v1.Payment/ListCharges",
                      &payment__v1__list_charges_reply__descriptor, ask_charges,
                      count_charges, id_of_charge, id_of_charge, show_charge},
    [BOOK_PROVIDER] = {"payment", "payment.v1.Payment/ListProviderCharges",
                       &payment__v1__list_provider_charges_reply__descriptor,
                       ask_provider, count_provider, key_of_provider, id_of_provider,
                       show_provider},
};
