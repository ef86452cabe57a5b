/* fingerprint.c - see fingerprint.h. */
#include "base/contract/fingerprint.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void add(crypto_generichash_state *state, const char *field)
{
    size_t length = strlen(field);
    uint8_t prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    crypto_generichash_update(state, prefix, sizeof prefix);
    crypto_generichash_update(state, (const unsigned char *)field, length);
}

void fingerprint_order(const char *method, const char *route,
                       const struct order_asked *asked, uint8_t out[FINGERPRINT_SIZE])
{
    crypto_generichash_state state;
    char total[24] = "";

    if (asked->has_expected_total)
        snprintf(total, sizeof total, "%" PRId64, asked->expected_total_cents);
    crypto_generichash_init(&state, NULL, 0, FINGERPRINT_SIZE);
    add(&state, asked->user_id);
    add(&state, method);
    add(&state, route);
    add(&state, asked->cart_id);
    add(&state, asked->payment_method_id);
    add(&state, total);
    if (asked->expected_currency != NULL || asked->expected_cart != NULL) {
        add(&state, asked->expected_currency != NULL ? asked->expected_currency : "");
        add(&state, asked->expected_cart != NULL ? asked->expected_cart : "");
    }
    crypto_generichash_final(&state, out, FINGERPRINT_SIZE);
}
