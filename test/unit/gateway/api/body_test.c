/* Keys, fingerprints and bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/contract/fingerprint.h"
#include "gateway/api/body.h"
#include "gateway/api/idempotency.h"

static int set_up(void **state)
{
    *state = arena_new(1 << 20);
    return *state == NULL;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

/* ---- keys and fingerprints ---- */

static void keys_of_all_allowed_forms_are_taken(void **state)
{
    static const struct {
        const char *header, *body, *key;
    } CASES[] = {
        {"12345678", NULL, "12345678"},
        {"9b2d2f0c-8f5e-4c1e-9d7a-2f6f5a1c3b4d", NULL,
         "9b2d2f0c-8f5e-4c1e-9d7a-2f6f5a1c3b4d"},
        {"\"0198d1f2-7c3a-7b1e-8000-9d7a2f6f5a1c\"", NULL,
         "0198d1f2-7c3a-7b1e-8000-9d7a2f6f5a1c"},
        {"\"a\\\"b\\\\cdefgh\"", NULL, "a\"b\\cdefgh"},
        {NULL, "in-the-body", "in-the-body"},
        {"\"the-same-1\"", "the-same-1", "the-same-1"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *key = NULL;
        struct err e = idempotency_key(*state, CASES[i].header, CASES[i].body, &key);
        assert_false(failed(e));
        assert_string_equal(key, CASES[i].key);
    }
}

static void a_quoted_key_is_read_by_the_grammar(void **state)
{
    static const struct {
        const char *field, *text; /* NULL: not a string */
    } CASES[] = {
        {"\"\"", ""},
        {"\"a b\"", "a b"},
        {"\"\\\"\\\\\"", "\"\\"},
        {"\"a\\\\\"", "a\\"},
        {"", NULL},
        {"a", NULL},
        {"\"", NULL},
        {"\"a", NULL},
        {"\"a\\", NULL},
        {"\"a\\\"", NULL},
        {"\"\\a\"", NULL},
        {"\"\t\"", NULL},
        {"\"\x7f\"", NULL},
        {"\"\xc3\xa4\"", NULL},
        {"\"a\";b=1", NULL},
        {"\"a\" ", NULL},
        {"\"a\", \"b\"", NULL},
    };
    char out[16];

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        bool read = idempotency_read_string(CASES[i].field, out);
        if (read != (CASES[i].text != NULL))
            fail_msg("%s", CASES[i].field);
        if (read)
            assert_string_equal(out, CASES[i].text);
    }
}

static void other_keys_are_refused(void **state)
{
    static const struct {
        const char *header, *body;
    } CASES[] = {
        {NULL, NULL},
        {"", NULL},
        {"1234567", NULL},
        {"\"1234567\"", NULL},
        {"has a blank", NULL},
        {"\"unclosed", NULL},
        {"\"closed\"twice\"", NULL},
        {"\"param-one\";a=1", NULL},
        {"\"bad\\escape\"", NULL},
        {"\"ends-in\\", NULL},
        {"not-\xc3\xa9-ascii", NULL},
        {"one-of-two", "two-of-two"},
        {"", "in-the-body"},
        {"one-of-two", ""},
    };
    static char long_key[257];
    const char *key;

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_int_equal(
            idempotency_key(*state, CASES[i].header, CASES[i].body, &key).code,
            ERR_INVALID_ARGUMENT);
    memset(long_key, 'k', 256);
    assert_true(failed(idempotency_key(*state, long_key, NULL, &key)));
    long_key[255] = '\0';
    assert_false(failed(idempotency_key(*state, long_key, NULL, &key)));
}

static void a_fingerprint_differs_when_anything_asked_for_does(void **state)
{
    static const struct {
        const char *method, *route;
        struct order_asked order;
    } CASES[] = {
        {"POST", "/v1/orders", {"u1", "c", "p", false, 0, NULL, NULL}},
        {"POST", "/v1/orders", {"u2", "c", "p", false, 0, NULL, NULL}},
        {"PUT", "/v1/orders", {"u1", "c", "p", false, 0, NULL, NULL}},
        {"POST", "/v1/other", {"u1", "c", "p", false, 0, NULL, NULL}},
        {"POST", "/v1/orders", {"u1", "cp", "", false, 0, NULL, NULL}},
        {"POST", "/v1/orders", {"u1", "", "cp", false, 0, NULL, NULL}},
        {"POST", "/v1/orders", {"u1", "c", "p", true, 0, NULL, NULL}},
        {"POST", "/v1/orders", {"u1", "c", "p", true, 10, NULL, NULL}},
    };
    enum { COUNT = sizeof CASES / sizeof CASES[0] };
    uint8_t prints[COUNT][FINGERPRINT_SIZE], again[FINGERPRINT_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        fingerprint_order(CASES[i].method, CASES[i].route, &CASES[i].order, prints[i]);
        fingerprint_order(CASES[i].method, CASES[i].route, &CASES[i].order, again);
        assert_memory_equal(prints[i], again, FINGERPRINT_SIZE);
        for (size_t k = 0; k < i; k++)
            assert_memory_not_equal(prints[i], prints[k], FINGERPRINT_SIZE);
    }
}

/* ---- bodies ---- */

static void bodies_that_are_not_strict_json_are_refused(void **state)
{
    static const char *const BODIES[] = {
        "",
        " ",
        "{",
        "[]x",
        "{} {}",
        "{\"a\":1,\"a\":1}",
        "{\"a\":\"\xff\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\u0000\"}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":1,}",
        "\xef\xbb\xbf{}",
        "nul",
        "1",
        "{\"a\":99999999999999999999}",
    };
    json_t *json;

    (void)state;
    for (size_t i = 0; i < sizeof BODIES / sizeof BODIES[0]; i++) {
        struct err e = body_parse(BODIES[i], strlen(BODIES[i]), &json);
        if (e.code != ERR_INVALID_ARGUMENT)
            fail_msg("taken: %s", BODIES[i]);
        assert_null(json);
    }
}

static void what_is_no_json_is_refused_by_the_field_it_is_in(void **state)
{
    static const char *const BODIES[] = {
        "{\"a\":1,\"cart_id\":\"\\ud800\"}",
        "{\"a\":1,\"cart_id\" : \"\\udc00x\"}",
        "{\"a\":1,\"cart_id\":\"\\ud83d\\u0041\"}",
        "{\"a\":\"b\\\":\",\"cart_id\":\"\xff\"}",
        "{\"a\":{},\"cart_id\":99999999999999999999}",
        "{\"a\":[\"x\"],\"cart_id\":-99999999999999999999}",
        "{\"a\":\"y\",\"cart_id\":1e999}",
        "{\"a\":1,\"cart_id\":01}",
        "{\"a\":1,\"cart_id\":+1}",
        "{\"a\":1,\"cart_id\":NaN}",
    };
    json_t *json;

    (void)state;
    for (size_t i = 0; i < sizeof BODIES / sizeof BODIES[0]; i++) {
        struct err e = body_parse(BODIES[i], strlen(BODIES[i]), &json);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        if (strstr(e.message, ", in cart_id: ") == NULL)
            fail_msg("%s: %s", BODIES[i], e.message);
    }
}

static void nesting_without_end_is_refused(void **state)
{
    static char deep[65536];
    json_t *json;

    (void)state;
    memset(deep, '[', sizeof deep);
    assert_int_equal(body_parse(deep, sizeof deep, &json).code, ERR_INVALID_ARGUMENT);
}

static void fields_are_refused_by_name(void **state)
{
    static const char *const NAMES[] = {"text", "number", NULL};
    static const struct {
        const char *body, *named;
    } CASES[] = {
        {"{\"number\":1}", "text"},
        {"{\"text\":1,\"number\":1}", "text"},
        {"{\"text\":null,\"number\":1}", "text"},
        {"{\"text\":\"a\"}", "number"},
        {"{\"text\":\"a\",\"number\":1.0}", "number"},
        {"{\"text\":\"a\",\"number\":1e1}", "number"},
        {"{\"text\":\"a\",\"number\":1e3}", "number"},
        {"{\"text\":\"a\",\"number\":9007199254740993}", "number"},
        {"{\"text\":\"a\",\"number\":9223372036854775807}", "number"},
        {"{\"text\":\"a\",\"number\":\"1\"}", "number"},
        {"{\"text\":\"a\",\"number\":true}", "number"},
        {"{\"text\":\"a\",\"number\":-1}", "number"},
        {"{\"text\":\"a\",\"number\":101}", "number"},
        {"{\"text\":\"a\",\"number\":1,\"extra\":1}", "extra"},
        {"[]", "The body"},
    };
    const char *text;
    int64_t number;
    json_t *json;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_false(failed(body_parse(CASES[i].body, strlen(CASES[i].body), &json)));
        struct err e = body_names(json, "The body", NAMES);
        if (!failed(e))
            e = body_text(json, "text", true, &text);
        if (!failed(e))
            e = body_integer(json, "number", 0, 100, NULL, &number);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, CASES[i].named));
        json_decref(json);
    }
}

int main(void)
{
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(keys_of_all_allowed_forms_are_taken),
        WITH_ARENA(a_quoted_key_is_read_by_the_grammar),
        WITH_ARENA(other_keys_are_refused),
        WITH_ARENA(a_fingerprint_differs_when_anything_asked_for_does),
        WITH_ARENA(bodies_that_are_not_strict_json_are_refused),
        WITH_ARENA(what_is_no_json_is_refused_by_the_field_it_is_in),
        WITH_ARENA(nesting_without_end_is_refused),
        WITH_ARENA(fields_are_refused_by_name),
    };

    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
