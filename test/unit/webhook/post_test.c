/* Tests of webhook/post.c: the signature, with the published vector of standardwebhooks.com. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those above */
#include <sodium.h>
#include <string.h>

#include "webhook/post.h"

static const char ID[] = "msg_p5jXN8AQM9LWM0D4loKWxJek",
                  BODY[] = "{\"test\": 2432232314}";
static const char SIGNATURE[] = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

static void add_secret(struct endpoint *endpoint, const char *base64)
{
    struct secret *secret = &endpoint->secrets[endpoint->secret_count++];

    assert_int_equal(sodium_base642bin(secret->bytes, sizeof secret->bytes, base64,
                                       strlen(base64), NULL, &secret->size, NULL,
                                       sodium_base64_VARIANT_ORIGINAL),
                     0);
}

static void the_published_message_has_its_published_signature(void **state)
{
    struct endpoint endpoint = {0};
    char out[SIGNATURE_SIZE];

    (void)state;
    add_secret(&endpoint, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    sign(&endpoint, ID, 1614265330, BODY, out);
    assert_string_equal(out, SIGNATURE);
}

static void two_secrets_give_two_signatures(void **state)
{
    struct endpoint endpoint = {0};
    char out[SIGNATURE_SIZE];

    (void)state;
    add_secret(&endpoint, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    add_secret(&endpoint, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    sign(&endpoint, ID, 1614265330, BODY, out);
    assert_memory_equal(out, SIGNATURE, strlen(SIGNATURE));
    assert_int_equal(out[strlen(SIGNATURE)], ' ');
    assert_memory_equal(out + strlen(SIGNATURE) + 1, "v1,", 3);
    assert_int_equal(strlen(out), 2 * strlen(SIGNATURE) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_message_has_its_published_signature),
        cmocka_unit_test(two_secrets_give_two_signatures),
    };

    return cmocka_run_group_tests_name("sign", tests, NULL, NULL);
}
