/*
 * fingerprint.h - a hash of a request to place an order.
 *
 * An idempotency key that is reused with another fingerprint is rejected.  So the gateway
 * and the client library must compute the same one, and no release may change it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/contract/bounds.h"

/* Texts are borrowed, and not NULL unless said so. */
struct order_asked {
    const char *user_id;
    const char *cart_id;
    const char *payment_method_id;
    bool has_expected_total;
    int64_t expected_total_cents;
    const char *expected_currency; /* or NULL */
    const char *expected_cart;     /* the cart's version, or NULL */
};

/* BLAKE2b-256 over user, method, route, cart, payment method and expected total (digits,
 * or empty), each preceded by its length as eight bytes, big-endian.  If a currency or a
 * cart is expected, both follow, an absent one as empty. */
void fingerprint_order(const char *method, const char *route,
                       const struct order_asked *asked, uint8_t out[FINGERPRINT_SIZE]);
