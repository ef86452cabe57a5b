/*
 * fingerprint.h - what a request to place an order asks for, in 32 bytes.
 *
 * A key that comes again with another fingerprint is refused, so every door an order comes in
 * by (gateway, client library) must make it alike, and no release may make it otherwise than
 * the one before.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/bounds.h"

/* Texts are borrowed; those not said to may not be NULL. */
struct order_asked {
    const char *user_id;
    const char *cart_id;
    const char *payment_method_id;
    bool has_expected_total;
    int64_t expected_total_cents;
    const char *expected_currency; /* or NULL */
    const char *expected_cart;     /* the cart's version, or NULL */
};

/* BLAKE2b-256 over user, method, route, cart, payment method and expected total (its digits,
 * or nothing), each with its length before it in eight bytes, big end first.  If a currency or
 * a cart is expected, both follow, each as its text or nothing. */
void fingerprint_order(const char *method, const char *route,
                       const struct order_asked *asked, uint8_t out[FINGERPRINT_SIZE]);
