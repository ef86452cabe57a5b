/*
 * view.h - one id as all services see it, and the rules that must hold for it.
 *
 * Makes no calls.  A checkout in progress is not judged, because on a live system only a
 * final state proves anything.
 *
 *   checkout final ----------------------> judged
 *   checkout unfinished, lease runs -----> in progress: its effects come and go
 *   checkout unfinished, lease expired --> late: that is itself a violation
 *   no checkout, effect is young --------> in progress: may have been read at another time
 *   no checkout, older than a lease -----> judged: a claim comes before every effect
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"

/* The contract's states under short names: CHARGE_STATE(CAPTURED). */
#define CHECKOUT_STATE(name)    ORDERS__V1__CHECKOUT_STATE__##name
#define RESERVATION_STATE(name) INVENTORY__V1__RESERVATION_STATE__##name
#define CHARGE_STATE(name)      PAYMENT__V1__CHARGE_STATE__##name
#define PROVIDER_STATUS(name)   PAYMENT__V1__PROVIDER_STATUS__PROVIDER_##name

/* NULL where a service has nothing under the id.  Ages by each service's own clock. */
struct view {
    const char *id;
    const Orders__V1__Checkout *checkout;
    const Inventory__V1__ReservationEntry *reservation;
    const Payment__V1__ChargeEntry *charge;
    const Payment__V1__ProviderEntry *provider;
    int64_t effect_age_ms; /* of the youngest of the three */
    int64_t lease_ms;      /* how long an owner may go without renewing */
};

enum check {
    CHECK_STOCK_CONSERVED,
    CHECK_STOCK_BOOKED,
    CHECK_STOCK_HELD,
    CHECK_STOCK_SOLD,
    CHECK_ORDER_CHECKOUT,
    CHECK_ORDER_KEY,
    CHECK_ORDER_CART,
    CHECK_ORDER_CHARGE,
    CHECK_ORDER_RESERVATION,
    CHECK_ORDER_EVENT,
    CHECK_CHARGE_ORDER,
    CHECK_CHARGE_REFUND,
    CHECK_RESERVATION_ORDER,
    CHECK_FAILED_UNDONE,
    CHECK_FINISHED,
    CHECK_BOOKS_EQUAL,
    CHECK_EVENT_BUS,
    CHECK_COUNT
};

#define CHECK(name) (UINT32_C(1) << CHECK_##name)

/* What a check cannot be made without. */
enum { NEEDS_ORDERS = 1, NEEDS_STOCK = 2, NEEDS_MONEY = 4 };

struct check_row {
    unsigned needs;    /* the services: bits of NEEDS_... */
    const char *name;  /* for programs: "order.charge" */
    const char *holds; /* what must hold, in words */
    const char *todo;  /* what to do about a violation; %s is the id or SKU */
};

extern const struct check_row CHECKS[CHECK_COUNT];

/* The checks that can be made with the answers of those services (bits of NEEDS_...). */
uint32_t checks_possible(unsigned have);

enum standing { STANDING_UNDER_WAY, STANDING_LATE, STANDING_FINAL };

/* `grace_ms` is how long after the lease's end a checkout is not yet late. */
enum standing view_standing(const struct view *view, int64_t grace_ms);

/* The checks that apply to this id, and those of them that fail. */
uint32_t view_applies(const struct view *view);
uint32_t view_violates(const struct view *view, enum standing standing);

/* The same for a product's stock. */
uint32_t stock_violates(const Inventory__V1__StockEntry *stock);

enum { FINDING_SIZE = 512 };

/* What was found instead, as a sentence. */
void view_describe(const struct view *view, enum check check, char out[FINDING_SIZE]);
void stock_describe(const Inventory__V1__StockEntry *stock, enum check check,
                    char out[FINDING_SIZE]);

/* A state in words, such as "being refunded"; an unknown state has words, too. */
const char *checkout_state_text(Orders__V1__CheckoutState state);
const char *reservation_state_text(Inventory__V1__ReservationState state);
const char *charge_state_text(Payment__V1__ChargeState state);
const char *provider_status_text(Payment__V1__ProviderStatus status);
