/* Which user a token is about. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/auth/verifier.h"

#define NAMESPACE_DNS "6ba7b810-9dad-11d1-80b4-00c04fd430c8" /* RFC 9562, 6.6 */

/* Opens a verifier with these settings, and the keys of the test; the caller closes it. */
static struct err open_with(struct jwt_config config, struct jwt **jwt)
{
    char document[2048];
    struct jwks *keys;

    config.issuer = TOKEN_ISSUER;
    config.audience = TOKEN_AUDIENCE;
    config.remembered_max = 8;
    struct err e = jwt_open(&config, jwt);
    if (failed(e))
        return e;
    token_jwks(document);
    assert_false(failed(jwks_parse(document, strlen(document), "text", &keys)));
    jwt_renew(*jwt, keys);
    return e;
}

/* Whom claims with these members are about; "" when the token is refused, and *why. */
static const char *user_of(struct jwt *jwt, const char *members, struct err *why)
{
    static char user[UUID_LENGTH + 1];
    char claims[1000], token[4200];

    snprintf(claims, sizeof claims,
             "{\"iss\":\"%s\",\"aud\":\"%s\",\"exp\":9999999999,%s}", TOKEN_ISSUER,
             TOKEN_AUDIENCE, members);
    token_sign("ed", ED_HEADER, claims, token);
    user[0] = '\0';
    *why = jwt_verify(jwt, token, strlen(token), time(NULL), user);
    return user;
}

/* UUIDs as other implementations make them; the first is RFC 9562's, A.4. */
static void a_name_becomes_a_uuid_under_the_namespace(void **state)
{
    static const struct {
        const char *members, *user;
    } CASES[] = {
        {"\"sub\":\"www.example.com\"", "2ed6657d-e927-568b-95e1-2665a8aea6a2"},
        {"\"sub\":\"auth0|507f1f77bcf86cd799439011\"",
         "8642c5fe-f41c-5e67-a680-d1861a5bfb7f"},
        {"\"sub\":\"ann@shop.example\"", "0abcc073-802c-5ace-9c4a-6f622974fa86"},
        {"\"sub\":\"Ann@shop.example\"", "571d6d5e-5f45-593f-8388-73cdefa562b3"},
        {"\"sub\":\"andr\\u00e9\"", "97456f62-e0e4-5b2c-b796-b36264afe7ca"},
        {"\"sub\":\"00000000-0000-4000-8000-00000000000A\"",
         "c7fa4a05-be84-5792-9301-7795bc1fd8ad"},
        {"\"sub\":\"" TOKEN_USER "\"", TOKEN_USER},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(
        failed(open_with((struct jwt_config){.user_namespace = NAMESPACE_DNS}, &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(user_of(jwt, CASES[i].members, &why), CASES[i].user);
    jwt_close(jwt);
}

static void without_a_namespace_only_a_uuid_names_a_user(void **state)
{
    struct err why;

    assert_string_equal(user_of(*state, "\"sub\":\"auth0|1\"", &why), "");
    assert_int_equal(why.code, ERR_UNAUTHENTICATED);
    assert_non_null(strstr(why.message, "sub is not a UUID"));
    assert_non_null(strstr(why.message, "user_namespace"));
    assert_string_equal(
        user_of(*state, "\"sub\":\"2ed6657d-e927-568b-95e1-2665a8aea6a2\"", &why),
        "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

/* Else whoever may choose a name chooses the UUID that another's name is mapped to. */
static void no_name_is_the_uuid_that_another_is_mapped_to(void **state)
{
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(
        failed(open_with((struct jwt_config){.user_namespace = NAMESPACE_DNS}, &jwt)));
    assert_string_equal(
        user_of(jwt, "\"sub\":\"2ed6657d-e927-568b-95e1-2665a8aea6a2\"", &why), "");
    assert_non_null(strstr(why.message, "version 5"));
    jwt_close(jwt);
}

static void another_claim_can_name_the_user(void **state)
{
    static const struct {
        const char *members;
        bool good;
    } CASES[] = {
        {"\"sub\":\"auth0|1\",\"https://shop.example/id\":\"" TOKEN_USER "\"", true},
        {"\"sub\":\"" TOKEN_USER "\"", false},
        {"\"https://shop.example/id\":7", false},
        {"\"https://shop.example/id\":\"\"", false},
        {"\"https://shop.example/id\":[\"" TOKEN_USER "\"]", false},
        {"\"https://shop.example/id\":null", false},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(failed(
        open_with((struct jwt_config){.user_claim = "https://shop.example/id"}, &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(user_of(jwt, CASES[i].members, &why),
                            CASES[i].good ? TOKEN_USER : "");
    jwt_close(jwt);
}

static void an_email_counts_only_when_it_was_verified(void **state)
{
    static const struct {
        const char *members;
        bool good;
    } CASES[] = {
        {"\"email\":\"ann@shop.example\",\"email_verified\":true", true},
        {"\"email\":\"ann@shop.example\",\"email_verified\":false", false},
        {"\"email\":\"ann@shop.example\",\"email_verified\":\"true\"", false},
        {"\"email\":\"ann@shop.example\"", false},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(failed(open_with(
        (struct jwt_config){.user_claim = "email", .user_namespace = NAMESPACE_DNS},
        &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_int_equal(user_of(jwt, CASES[i].members, &why)[0] != '\0', CASES[i].good);
    jwt_close(jwt);
}

static void settings_that_name_no_user_are_refused(void **state)
{
    static const struct {
        const char *claim, *namespace, *setting;
    } CASES[] = {
        {"", "", "user_claim"},
        {"user id", "", "user_claim"},
        {"sub", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "user_namespace"},
        {"sub", "shop.example", "user_namespace"},
    };
    struct jwt *jwt;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct err e =
            open_with((struct jwt_config){.user_claim = CASES[i].claim,
                                          .user_namespace = CASES[i].namespace},
                      &jwt);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, CASES[i].setting));
    }
}

static void a_token_has_at_most_as_many_bytes_as_is_set(void **state)
{
    struct jwt *jwt;
    char token[4200], user[UUID_LENGTH + 1];

    (void)state;
    token_sign("ed", ED_HEADER, good_claims(), token);
    for (size_t less = 0; less < 2; less++) {
        assert_false(failed(
            open_with((struct jwt_config){.token_max = strlen(token) - less}, &jwt)));
        assert_int_equal(accepted(jwt, token), less == 0);
        jwt_close(jwt);
    }
    assert_false(failed(open_with((struct jwt_config){0}, &jwt)));
    static char huge[8194];
    memset(huge, 'a', sizeof huge);
    struct err e = jwt_verify(jwt, huge, 8192, time(NULL), user);
    assert_string_equal(e.message, "the token has not three parts");
    e = jwt_verify(jwt, huge, 8193, time(NULL), user);
    assert_string_equal(e.message, "the token is longer than 8192 bytes");
    jwt_close(jwt);
}

int main(void)
{
#define WITH_KEYS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_becomes_a_uuid_under_the_namespace),
        WITH_KEYS(without_a_namespace_only_a_uuid_names_a_user),
        cmocka_unit_test(no_name_is_the_uuid_that_another_is_mapped_to),
        cmocka_unit_test(another_claim_can_name_the_user),
        cmocka_unit_test(an_email_counts_only_when_it_was_verified),
        cmocka_unit_test(settings_that_name_no_user_are_refused),
        cmocka_unit_test(a_token_has_at_most_as_many_bytes_as_is_set),
    };

    log_start("jwt_user_test", LOG_WARN);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
