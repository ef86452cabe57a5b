/* view_test.c - the audit's rules: one fine id, and everything that can be wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/view/view.h"

/* An id as all services see it, to be bent. */
struct bench {
    Orders__V1__Checkout checkout;
    Inventory__V1__ReservationEntry reservation;
    Payment__V1__ChargeEntry charge;
    Payment__V1__ProviderEntry provider;
    struct view view;
};

static char EUR[] = "EUR", USD[] = "USD", ONE[] = "sbx_1", TWO[] = "sbx_2";

/* A completed order of 5.00 EUR, as it must be. */
static struct view *fine(struct bench *b)
{
    orders__v1__checkout__init(&b->checkout);
    inventory__v1__reservation_entry__init(&b->reservation);
    payment__v1__charge_entry__init(&b->charge);
    payment__v1__provider_entry__init(&b->provider);
    b->checkout.state = ORDERS__V1__CHECKOUT_STATE__COMPLETED;
    b->checkout.ordered = b->checkout.order_matches = true;
    b->checkout.order_total_cents = 500;
    b->checkout.order_currency = EUR;
    b->checkout.created_events = b->checkout.orders_of_key = b->checkout.live_of_cart = 1;
    b->reservation.state = INVENTORY__V1__RESERVATION_STATE__CONFIRMED;
    b->reservation.total_cents = 500;
    b->reservation.currency = EUR;
    b->charge.state = PAYMENT__V1__CHARGE_STATE__CAPTURED;
    b->charge.amount_cents = b->provider.amount_cents = 500;
    b->charge.currency = b->provider.currency = EUR;
    b->charge.provider_charge_id = b->provider.provider_charge_id = ONE;
    b->provider.status = PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED;
    b->view = (struct view){
        "id", &b->checkout, &b->reservation, &b->charge, &b->provider, 60000, 10000};
    return &b->view;
}

/* A failed checkout of which nothing is left. */
static struct view *undone(struct bench *b)
{
    struct view *v = fine(b);

    b->checkout.state = ORDERS__V1__CHECKOUT_STATE__FAILED;
    b->checkout.ordered = b->checkout.order_matches = false;
    b->checkout.created_events = b->checkout.orders_of_key = 0;
    b->reservation.state = INVENTORY__V1__RESERVATION_STATE__RELEASED;
    b->charge.state = PAYMENT__V1__CHARGE_STATE__REFUNDED;
    b->provider.status = PAYMENT__V1__PROVIDER_STATUS__PROVIDER_REFUNDED;
    b->charge.refunded_cents = b->provider.refunded_cents = 500;
    return v;
}

static uint32_t judged(const struct view *view)
{
    return view_violates(view, view_standing(view, 0));
}

static void what_is_as_it_must_be_violates_nothing(void **state)
{
    struct bench b;

    (void)state;
    assert_int_equal(judged(fine(&b)), 0);
    assert_int_equal(judged(undone(&b)), 0);
}

static void an_order_is_held_against_its_charge_reservation_and_event(void **state)
{
    struct bench b;

    (void)state;
    fine(&b)->charge = NULL;
    assert_int_equal(judged(&b.view), CHECK(ORDER_CHARGE) | CHECK(BOOKS_EQUAL));
    fine(&b)->charge = NULL;
    b.view.provider = NULL;
    assert_int_equal(judged(&b.view), CHECK(ORDER_CHARGE));
    fine(&b)->reservation = NULL;
    assert_int_equal(judged(&b.view), CHECK(ORDER_RESERVATION));
    fine(&b);
    b.reservation.state = INVENTORY__V1__RESERVATION_STATE__HELD;
    assert_int_equal(judged(&b.view), CHECK(ORDER_RESERVATION));
    fine(&b);
    b.reservation.currency = USD;
    assert_int_equal(judged(&b.view), CHECK(ORDER_RESERVATION));
    fine(&b);
    b.checkout.order_total_cents = 499;
    assert_int_equal(judged(&b.view), CHECK(ORDER_RESERVATION) | CHECK(ORDER_CHARGE));
    fine(&b);
    b.checkout.created_events = 0;
    assert_int_equal(judged(&b.view), CHECK(ORDER_EVENT));
    fine(&b);
    b.checkout.live_of_cart = b.checkout.orders_of_key = 2;
    assert_int_equal(judged(&b.view), CHECK(ORDER_CART) | CHECK(ORDER_KEY));
}

static void an_order_and_its_checkout_are_one(void **state)
{
    struct bench b;

    (void)state;
    fine(&b);
    b.checkout.order_matches = false;
    assert_int_equal(judged(&b.view), CHECK(ORDER_CHECKOUT));
    b.checkout.state = ORDERS__V1__CHECKOUT_STATE__CHECKOUT_UNSPECIFIED; /* pruned */
    assert_int_equal(judged(&b.view), 0);
    fine(&b);
    b.checkout.ordered = false;
    assert_int_equal(judged(&b.view), CHECK(ORDER_CHECKOUT) | CHECK(CHARGE_ORDER) |
                                          CHECK(RESERVATION_ORDER));
    fine(&b);
    b.checkout.state = ORDERS__V1__CHECKOUT_STATE__FAILED;
    assert_int_equal(judged(&b.view) & CHECK(FAILED_UNDONE), CHECK(FAILED_UNDONE));
}

static void a_failed_checkout_keeps_nothing(void **state)
{
    static const Inventory__V1__ReservationState kept[] = {
        INVENTORY__V1__RESERVATION_STATE__HELD,
        INVENTORY__V1__RESERVATION_STATE__CONFIRMED};
    struct bench b;

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        undone(&b);
        b.reservation.state = kept[i];
        assert_int_equal(judged(&b.view), CHECK(FAILED_UNDONE));
    }
    undone(&b);
    b.charge.state = PAYMENT__V1__CHARGE_STATE__CAPTURED;
    assert_int_equal(judged(&b.view), CHECK(FAILED_UNDONE) | CHECK(BOOKS_EQUAL));
    undone(&b); /* the provider's answer was never written */
    b.charge.state = PAYMENT__V1__CHARGE_STATE__INTENT;
    b.charge.refunded_cents = b.provider.refunded_cents = 0;
    b.provider.status = PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED;
    assert_int_equal(judged(&b.view), CHECK(FAILED_UNDONE) | CHECK(BOOKS_EQUAL));
}

/* Every state of ours against every one of the provider's, or none; of a failed checkout. */
static void the_two_books_agree_or_not(void **state)
{
    enum { NONE = 0, CAPTURED, DECLINED, REFUNDED, VOIDED };
    static const struct {
        Payment__V1__ChargeState ours;
        bool agree[5];
    } rows[] = {
        /*                                           none   captured declined refunded voided */
        {PAYMENT__V1__CHARGE_STATE__CHARGE_UNSPECIFIED,
         {true, false, false, false, false}},
        {PAYMENT__V1__CHARGE_STATE__INTENT, {true, false, true, false, true}},
        {PAYMENT__V1__CHARGE_STATE__CAPTURED, {false, true, false, false, false}},
        {PAYMENT__V1__CHARGE_STATE__DECLINED, {true, false, true, false, true}},
        {PAYMENT__V1__CHARGE_STATE__REFUNDING, {true, false, true, false, true}},
        {PAYMENT__V1__CHARGE_STATE__REFUNDED, {true, false, true, true, true}},
    };
    struct bench b;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int theirs = NONE; theirs <= VOIDED; theirs++) {
            undone(&b);
            b.charge.state = rows[i].ours;
            b.provider.status = (Payment__V1__ProviderStatus)theirs;
            bool both =
                rows[i].ours == PAYMENT__V1__CHARGE_STATE__REFUNDED && theirs == REFUNDED;
            b.charge.refunded_cents = b.provider.refunded_cents = both ? 500 : 0;
            if (i == 0)
                b.view.charge = NULL;
            if (theirs == NONE)
                b.view.provider = NULL;
            assert_int_equal((judged(&b.view) & CHECK(BOOKS_EQUAL)) == 0,
                             rows[i].agree[theirs]);
        }
    fine(&b);
    b.provider.provider_charge_id = TWO;
    assert_int_equal(judged(&b.view), CHECK(BOOKS_EQUAL));
    fine(&b);
    b.provider.refunded_cents = 1;
    assert_int_equal(judged(&b.view), CHECK(BOOKS_EQUAL));
}

static void what_is_under_way_is_not_judged(void **state)
{
    struct bench b;

    (void)state;
    fine(&b);
    b.checkout.state = ORDERS__V1__CHECKOUT_STATE__RUNNING;
    b.checkout.ordered = b.checkout.order_matches = false;
    b.checkout.lease_left_ms = 1;
    assert_int_equal(view_standing(&b.view, 0), STANDING_UNDER_WAY);
    assert_int_equal(judged(&b.view), 0);
    b.checkout.lease_left_ms = -1;
    assert_int_equal(view_standing(&b.view, 5000), STANDING_UNDER_WAY);
    assert_int_equal(judged(&b.view), CHECK(FINISHED) | CHECK(CHARGE_ORDER));
    b.checkout.lease_left_ms = 1;
    b.checkout.needs_attention = true;
    assert_int_equal(judged(&b.view), CHECK(FINISHED) | CHECK(CHARGE_ORDER));
}

static void effects_without_a_checkout_are_judged_when_older_than_a_lease(void **state)
{
    struct bench b;

    (void)state;
    fine(&b)->checkout = NULL;
    assert_int_equal(judged(&b.view), CHECK(CHARGE_ORDER) | CHECK(RESERVATION_ORDER));
    b.view.effect_age_ms = b.view.lease_ms;
    assert_int_equal(judged(&b.view), 0);
}

static void no_more_is_refunded_than_was_charged(void **state)
{
    struct bench b;

    (void)state;
    undone(&b);
    b.charge.refunded_cents = b.provider.refunded_cents = 501;
    assert_int_equal(judged(&b.view), CHECK(CHARGE_REFUND));
    b.charge.refunded_cents = b.provider.refunded_cents = -1;
    assert_int_equal(judged(&b.view), CHECK(CHARGE_REFUND));
}

static void stock_adds_up(void **state)
{
    static const struct {
        int64_t received, available, held, sold, booked, held_reserved, sold_reserved;
        uint32_t violated;
    } cases[] = {
        {10, 5, 3, 2, 10, 3, 2, 0},
        {10, 6, 3, 2, 10, 3, 2, CHECK(STOCK_CONSERVED)},
        {10, 13, -3, 0, 10, -3, 0, CHECK(STOCK_CONSERVED)},
        {10, INT64_MAX, INT64_MAX, 12, 10, INT64_MAX, 12, CHECK(STOCK_CONSERVED)},
        {10, 5, 3, 2, 9, 3, 2, CHECK(STOCK_BOOKED)},
        {10, 5, 3, 2, 10, 2, 2, CHECK(STOCK_HELD)},
        {10, 5, 3, 2, 10, 3, 3, CHECK(STOCK_SOLD)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Inventory__V1__StockEntry s = INVENTORY__V1__STOCK_ENTRY__INIT;
        s.received = cases[i].received;
        s.available = cases[i].available;
        s.held = cases[i].held;
        s.sold = cases[i].sold;
        s.booked = cases[i].booked;
        s.held_reserved = cases[i].held_reserved;
        s.sold_reserved = cases[i].sold_reserved;
        assert_int_equal(stock_violates(&s), cases[i].violated);
    }
}

static void every_check_has_a_name_and_says_what_to_do(void **state)
{
    (void)state;
    for (int c = 0; c < CHECK_COUNT; c++) {
        assert_non_null(CHECKS[c].name);
        assert_non_null(CHECKS[c].holds);
        assert_non_null(strstr(CHECKS[c].todo, "%s"));
        for (int other = 0; other < c; other++)
            assert_string_not_equal(CHECKS[c].name, CHECKS[other].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_as_it_must_be_violates_nothing),
        cmocka_unit_test(an_order_is_held_against_its_charge_reservation_and_event),
        cmocka_unit_test(an_order_and_its_checkout_are_one),
        cmocka_unit_test(a_failed_checkout_keeps_nothing),
        cmocka_unit_test(the_two_books_agree_or_not),
        cmocka_unit_test(what_is_under_way_is_not_judged),
        cmocka_unit_test(effects_without_a_checkout_are_judged_when_older_than_a_lease),
        cmocka_unit_test(no_more_is_refunded_than_was_charged),
        cmocka_unit_test(stock_adds_up),
        cmocka_unit_test(every_check_has_a_name_and_says_what_to_do),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
