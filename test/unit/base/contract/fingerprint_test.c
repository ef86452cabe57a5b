/* fingerprint_test.c - a fingerprint stays what it was: another implementation's (Python's
 * hashlib.blake2b) stand here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/contract/fingerprint.h"

static void expect(const struct order_asked *asked, const char *hex)
{
    uint8_t print[FINGERPRINT_SIZE];
    char text[2 * FINGERPRINT_SIZE + 1];

    fingerprint_order("POST", "/v1/orders", asked, print);
    sodium_bin2hex(text, sizeof text, print, sizeof print);
    assert_string_equal(text, hex);
}

static void a_fingerprint_is_blake2b_over_length_prefixed_fields(void **state)
{
    struct order_asked asked = {"u1", "cart", "pm_card_visa", false, 0, NULL, NULL};

    (void)state;
    expect(&asked, "84deeb8b2f12629811b5bd4c5ae841e07f8439ab3d515cbdedc997e73d766de2");
    asked.expected_total_cents = -1200; /* of no meaning yet */
    expect(&asked, "84deeb8b2f12629811b5bd4c5ae841e07f8439ab3d515cbdedc997e73d766de2");
    asked.has_expected_total = true;
    expect(&asked, "dcd832cd87595ff4f3a48d8950749b9c992f7fb8be3b7410c726ef100ac312e3");
    asked.expected_currency = "EUR";
    expect(&asked, "e5c7b7e49e2aa0c391657592469a079f13f1c7d6584747e7dbd2a2599ee7fd87");
    asked.expected_cart = "00ff";
    expect(&asked, "8d2e136e493abb6973c521368f7dbb1e91e20b65ff34484eb94fcff94a66ea3b");
    asked.expected_currency = NULL;
    expect(&asked, "6d950d2537e6225bbee8c463b451ea517b30e96a4ddaba066b53a33f4ca9d80b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fingerprint_is_blake2b_over_length_prefixed_fields),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
