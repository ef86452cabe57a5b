/*
 * json_test.c - protobuf's JSON mapping, in both directions.
 *
 * The contract's own messages are used where they have the kind of field in question;
 * `struct every` below, described by hand as protoc-c would, has the kinds they lack.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/schema/json.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

/* ---- a message with every kind of field, containing itself ---- */

struct every {
    ProtobufCMessage base;
    double a_double;
    float a_float;
    uint64_t a_uint64;
    int32_t a_sint32;
    size_t n_numbers;
    int32_t *numbers;
    size_t n_flags;
    protobuf_c_boolean *flags;
    size_t n_texts;
    char **texts;
    struct every *inner;
    uint32_t which_case;
    union {
        char *left;
        int64_t right;
    } which;
    protobuf_c_boolean has_maybe;
    int32_t maybe;
    size_t n_prices;
    ProtobufCMessage **prices;
};

static const ProtobufCMessageDescriptor EVERY, ENTRY;

#define FIELD(id, name, label, type, quantifier, member, descriptor, flags)              \
    {                                                                                    \
        name, id, PROTOBUF_C_LABEL_##label, PROTOBUF_C_TYPE_##type, quantifier,          \
            offsetof(struct every, member), descriptor, NULL, flags, 0, NULL, NULL       \
    }
#define AT(member) offsetof(struct every, member)

static const ProtobufCFieldDescriptor EVERY_FIELDS[] = {
    FIELD(1, "a_double", NONE, DOUBLE, 0, a_double, NULL, 0),
    FIELD(2, "a_float", NONE, FLOAT, 0, a_float, NULL, 0),
    FIELD(3, "a_uint64", NONE, UINT64, 0, a_uint64, NULL, 0),
    FIELD(4, "a_sint32", NONE, SINT32, 0, a_sint32, NULL, 0),
    FIELD(5, "numbers", REPEATED, INT32, AT(n_numbers), numbers, NULL, 0),
    FIELD(6, "flags", REPEATED, BOOL, AT(n_flags), flags, NULL, 0),
    FIELD(7, "texts", REPEATED, STRING, AT(n_texts), texts, NULL, 0),
    FIELD(8, "inner", NONE, MESSAGE, 0, inner, &EVERY, 0),
    FIELD(9, "left", NONE, STRING, AT(which_case), which.left, NULL,
          PROTOBUF_C_FIELD_FLAG_ONEOF),
    FIELD(10, "right", NONE, INT64, AT(which_case), which.right, NULL,
          PROTOBUF_C_FIELD_FLAG_ONEOF),
    FIELD(11, "maybe", OPTIONAL, INT32, AT(has_maybe), maybe, NULL, 0),
    FIELD(12, "unit_prices", REPEATED, MESSAGE, AT(n_prices), prices, &ENTRY, 0),
};
static const unsigned EVERY_BY_NAME[] = {0, 1, 3, 2, 5, 7, 8, 10, 4, 9, 6, 11};
static const ProtobufCIntRange EVERY_RANGES[] = {{1, 0}, {0, 12}};

static void every_init(ProtobufCMessage *message)
{
    *(struct every *)message = (struct every){.base.descriptor = &EVERY};
}

static const ProtobufCMessageDescriptor EVERY = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.Every",
    .sizeof_message = sizeof(struct every),
    .n_fields = 12,
    .fields = EVERY_FIELDS,
    .fields_sorted_by_name = EVERY_BY_NAME,
    .n_field_ranges = 1,
    .field_ranges = EVERY_RANGES,
    .message_init = every_init,
};

/* As protoc shows map<string, int64> unit_prices: only its names are looked at. */
static const ProtobufCFieldDescriptor ENTRY_FIELDS[] = {{.name = "key"},
                                                        {.name = "value"}};
static const ProtobufCMessageDescriptor ENTRY = {
    .magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
    .name = "test.Every.UnitPricesEntry",
    .n_fields = 2,
    .fields = ENTRY_FIELDS,
};

/* ---- helpers ---- */

static struct arena *arena;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(1 << 20);
    return arena == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct err try(const ProtobufCMessageDescriptor *type, const char *json,
                      void **out)
{
    return message_from_json(json, strlen(json), type, arena, (ProtobufCMessage **)out);
}

static void *read_json(const ProtobufCMessageDescriptor *type, const char *json)
{
    void *message = NULL;
    struct err e = try(type, json, &message);

    if (failed(e))
        fail_msg("%s: %s", json, e.message);
    return message;
}

/* Refused, and the sentence contains `words`. */
static void refused(const ProtobufCMessageDescriptor *type, const char *json,
                    const char *words)
{
    void *message = &message;
    struct err e = try(type, json, &message);

    if (e.code != ERR_INVALID_ARGUMENT || strstr(e.message, words) == NULL)
        fail_msg("%s: expected \"%s\", got %s \"%s\"", json, words, err_reason(e.code),
                 e.message);
    assert_null(message);
}

static void writes(const void *message, struct json_style style, const char *expected)
{
    json_t *json = NULL;

    assert_false(failed(message_to_json(message, style, &json)));
    char *text = json_dumps(json, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(json);
}

static const struct json_style ORIGINAL = {.original_names = true};

#define REQUEST  (&rpc__v1__request__descriptor)
#define RESPONSE (&rpc__v1__response__descriptor)
#define RESERVE  (&inventory__v1__reserve_request__descriptor)
#define STOCK    (&inventory__v1__get_stock_reply__descriptor)
#define LIST     (&inventory__v1__list_products_request__descriptor)

/* ---- tests ---- */

static void names_are_read_in_both_spellings(void **state)
{
    (void)state;
    Rpc__V1__Request *a = read_json(REQUEST, "{\"timeout_ms\": 5}");
    Rpc__V1__Request *b = read_json(REQUEST, "{\"timeoutMs\": 5}");

    assert_int_equal(a->timeout_ms, 5);
    assert_int_equal(b->timeout_ms, 5);
    refused(REQUEST, "{\"timeout_ms\": 5, \"timeoutMs\": 5}", "timeoutMs is given twice");
    refused(REQUEST, "{\"timeoutMs\": 5, \"timeout_ms\": 5}", "timeoutMs is given twice");
    refused(REQUEST, "{\"id\": \"a\", \"id\": \"a\"}", "duplicate");
}

static void unknown_fields_are_refused_with_their_path(void **state)
{
    (void)state;
    refused(REQUEST, "{\"timeout\": 5}", "timeout is not a field of rpc.v1.Request");
    refused(REQUEST, "{\"timeout\": null}", "timeout is not a field");
    refused(REQUEST, "{\"TimeoutMs\": 5}", "TimeoutMs is not a field");
    refused(RESERVE, "{\"lines\": [{}, {\"sku\": \"a\", \"qty\": 1}]}",
            "lines[1].qty is not a field of inventory.v1.Line");
}

static void a_value_of_another_kind_is_refused_with_its_path(void **state)
{
    static const char *const cases[][2] = {
        {"{\"lines\": {}}", "lines must be an array"},
        {"{\"lines\": [1]}", "lines[0] must be an object"},
        {"{\"lines\": [null]}", "lines[0] must be an object"},
        {"{\"lines\": [{\"sku\": 1}]}", "lines[0].sku must be a string"},
        {"{\"lines\": [{\"quantity\": true}]}",
         "lines[0].quantity must be a whole number"},
        {"{\"lines\": [{\"quantity\": []}]}", "lines[0].quantity must be a whole number"},
        {"{\"reservation_id\": false}", "reservation_id must be a string"},
        {"[]", "the message must be an object"},
        {"{", "not JSON at line 1"},
        {"", "not JSON"},
        {"{} {}", "not JSON"},
        {"{\"reservation_id\":\n \"a\\u0000b\"}", "line 2, column 4: a zero character"},
        {"{\"a\\u0000\": 1}", "line 1, column 4: a zero character"},
        {"{\"reservation_id\": \"a\\\\u0000", "not JSON"},
        {"{\"\": 1}", "the message has a field with an empty name"},
        {"{\"lines\": [{}, {\"\": 1}]}", "lines[1] has a field with an empty name"},
        {"{\"lines\": [{\"sku\": 7}]}", "lines[0].sku must be a string"},
        {"{\"reservation_id\": \"\xff\"}", "not JSON"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refused(RESERVE, cases[i][0], cases[i][1]);
    refused(RESPONSE, "{\"replayed\": 1}", "replayed must be true or false");
    refused(RESPONSE, "{\"replayed\": \"true\"}", "replayed must be true or false");
}

static void whole_numbers_are_read_plain_quoted_or_with_exponent(void **state)
{
    static const struct {
        const char *json;
        int64_t value;
    } cases[] = {
        {"7", 7},
        {"\"7\"", 7},
        {"-7", -7},
        {"\"-7\"", -7},
        {"7.0", 7},
        {"1e2", 100},
        {"\"1e2\"", 100},
        {"\"100.0\"", 100},
        {"-0", 0},
        {"9223372036854775807", INT64_MAX},
        {"\"9223372036854775807\"", INT64_MAX},
        {"9007199254740993.0", INT64_C(9007199254740993)},
        {"9007199254740993e0", INT64_C(9007199254740993)},
        {"900719925474099.3e1", INT64_C(9007199254740993)},
        {"9223372036854775807.000", INT64_MAX},
        {"-9223372036854775.808e3", INT64_MIN},
        {"0.0", 0},
        {"0e5", 0},
        {"0e99999999999999999999", 0},
        {"1200e-2", 12},
        {"0.00012e5", 12},
        {"-9223372036854775808", INT64_MIN},
        {"\"-9223372036854775808\"", INT64_MIN},
    };
    char json[80];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(json, sizeof json, "{\"held\": %s}", cases[i].json);
        Inventory__V1__GetStockReply *stock = read_json(STOCK, json);
        assert_true(stock->held == cases[i].value);
    }
}

static void numbers_that_are_none_or_out_of_range_are_refused(void **state)
{
    static const char *const none[] = {
        "1.5",
        "\"1.5\"",
        "\"\"",
        "\" 1\"",
        "\"1 \"",
        "\"+1\"",
        "\"0x1\"",
        "\"01\"",
        "\"1.\"",
        "\"1e\"",
        "\"nan\"",
        "\"9223372036854775808\"",
        "1e19",
        "\"1e19\"",
        "\"--1\"",
        "\"-9223372036854775809\"",
        "-0.0",
        "-0e1",
        "\"-0.0\"",
        "9007199254740993.5",
        "9223372036854775808",
        "9223372036854775808.0",
        "1201e-2",
        "1e-1",
        "1e400",
    };
    char json[80];

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        snprintf(json, sizeof json, "{\"held\": %s}", none[i]);
        refused(STOCK, json, "held must be a whole number");
    }
    refused(LIST, "{\"limit\": 2147483648}", "limit must be a whole number");
    refused(LIST, "{\"limit\": -2147483649}", "limit must be a whole number");
    refused(REQUEST, "{\"timeout_ms\": 4294967296}", "timeout_ms must be a whole number");
    refused(REQUEST, "{\"timeout_ms\": -1}", "timeout_ms must be a whole number");
    refused(&EVERY, "{\"a_uint64\": -1}", "a_uint64 must be a whole number");
    refused(&EVERY, "{\"a_uint64\": \"-1\"}", "a_uint64 must be a whole number");
    refused(&EVERY, "{\"a_uint64\": \"18446744073709551616\"}", "a_uint64 must be");
    refused(&EVERY, "{\"a_uint64\": 1e20}", "a_uint64 must be");
    refused(&EVERY, "{\"a_uint64\": 18446744073709551616}", "a_uint64 must be");
    refused(&EVERY, "{\"a_uint64\": 1e99999999999999999999}", "a_uint64 must be");
    refused(&EVERY, "{\"a_double\": 1e400}", "a_double must be a number");
}

static void the_bounds_of_each_integer_go_there_and_back(void **state)
{
    (void)state;
    writes(read_json(LIST, "{\"limit\": -2147483648}"), ORIGINAL,
           "{\"limit\":-2147483648}");
    writes(read_json(LIST, "{\"limit\": \"2147483647\"}"), ORIGINAL,
           "{\"limit\":2147483647}");
    writes(read_json(REQUEST, "{\"timeout_ms\": 4294967295}"), ORIGINAL,
           "{\"timeout_ms\":4294967295}");
    writes(read_json(STOCK, "{\"held\": -9223372036854775808}"), ORIGINAL,
           "{\"held\":\"-9223372036854775808\"}");
    writes(read_json(&EVERY, "{\"a_uint64\": \"18446744073709551615\", \"aSint32\": -3}"),
           ORIGINAL, "{\"a_uint64\":\"18446744073709551615\",\"a_sint32\":-3}");
}

static void enums_are_read_by_name_or_number_and_written_by_name(void **state)
{
    (void)state;
    writes(read_json(RESPONSE, "{\"effect\": \"EFFECT_UNKNOWN\"}"), ORIGINAL,
           "{\"effect\":\"EFFECT_UNKNOWN\"}");
    writes(read_json(RESPONSE, "{\"effect\": 1}"), ORIGINAL,
           "{\"effect\":\"EFFECT_APPLIED\"}");
    /* Open enums: a number without a name is kept. */
    writes(read_json(RESPONSE, "{\"effect\": 77}"), ORIGINAL, "{\"effect\":77}");
    refused(RESPONSE, "{\"effect\": \"EFFECT_MAYBE\"}",
            "effect must be a name of Effect");
    refused(RESPONSE, "{\"effect\": 4294967296}", "effect must be a name of Effect");
    refused(RESPONSE, "{\"effect\": true}", "effect must be a name of Effect");
}

static void bytes_are_read_in_either_base64_and_written_padded(void **state)
{
    static const char *const same[] = {"-_8", "+/8", "-_8=", "+/8="};
    static const char *const bad[] = {
        "+/8==", "+", "+/8 ", "=", "+/8=+/8=", "a*==", "\xf0\x9f\x98\x80", "\xc3\xa9"};
    char json[80];

    (void)state;
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        snprintf(json, sizeof json, "{\"payload\": \"%s\"}", same[i]);
        Rpc__V1__Request *request = read_json(REQUEST, json);
        assert_int_equal(request->payload.len, 2);
        assert_memory_equal(request->payload.data, "\xfb\xff", 2);
        writes(request, ORIGINAL, "{\"payload\":\"+/8=\"}");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(json, sizeof json, "{\"payload\": \"%s\"}", bad[i]);
        refused(REQUEST, json, "payload must be a string of base64");
    }
}

static void stray_bits_of_the_last_letter_are_dropped(void **state)
{
    static const struct {
        const char *text;
        size_t size;
        const char *bytes;
    } cases[] = {{"-_", 1, "\xfb"}, {"AB", 1, "\0"},        {"AB==", 1, "\0"},
                 {"/x", 1, "\xff"}, {"+/9", 2, "\xfb\xff"}, {"+/_=", 2, "\xfb\xff"},
                 {"", 0, ""}};
    char json[80];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(json, sizeof json, "{\"payload\": \"%s\"}", cases[i].text);
        Rpc__V1__Request *request = read_json(REQUEST, json);
        assert_int_equal(request->payload.len, cases[i].size);
        assert_memory_equal(request->payload.data, cases[i].bytes, cases[i].size);
    }
}

static void floats_are_read_in_every_form(void **state)
{
    (void)state;
    struct every *m =
        read_json(&EVERY, "{\"aDouble\": \"-Infinity\", \"a_float\": \"1.5\"}");

    assert_true(isinf(m->a_double) && m->a_double < 0);
    assert_true(m->a_float == 1.5f);
    writes(m, ORIGINAL, "{\"a_double\":\"-Infinity\",\"a_float\":1.5}");
    m = read_json(&EVERY, "{\"aDouble\": \"NaN\", \"a_float\": 1}");
    assert_true(isnan(m->a_double));
    refused(&EVERY, "{\"a_float\": 1e39}", "a_float must be a number that fits a float");
    refused(&EVERY, "{\"a_float\": 1e-60}", "a_float must be a number that fits a float");
    refused(&EVERY, "{\"a_double\": -0.0}",
            "a_double must be a number that is kept as it is");
    refused(&EVERY, "{\"a_double\": -0e5}",
            "a_double must be a number that is kept as it is");
    refused(&EVERY, "{\"a_double\": 1e-400}",
            "a_double must be 0 or a number that does not");
    m = read_json(&EVERY, "{\"a_double\": 0e7, \"a_float\": 0.0}");
    assert_true(m->a_double == 0 && !signbit(m->a_double));
    refused(&EVERY, "{\"a_double\": \"inf\"}", "a_double must be a number");
    refused(&EVERY, "{\"a_double\": \"1e999\"}", "a_double must be a number");
    refused(&EVERY, "{\"a_double\": \"\"}", "a_double must be a number");
}

static void null_and_the_default_are_the_same_as_nothing(void **state)
{
    (void)state;
    Inventory__V1__ReserveRequest *r =
        read_json(RESERVE, "{\"reservation_id\": null, \"lines\": null}");

    assert_string_equal(r->reservation_id, "");
    assert_int_equal(r->n_lines, 0);
    writes(r, ORIGINAL, "{}");
    writes(read_json(STOCK, "{\"sku\": \"\", \"held\": 0}"), ORIGINAL, "{}");
    writes(read_json(&EVERY, "{\"left\": null, \"right\": 0}"), ORIGINAL,
           "{\"right\":\"0\"}");
    writes(read_json(&EVERY, "{\"maybe\": 0}"), ORIGINAL, "{\"maybe\":0}");
    writes(read_json(&EVERY, "{\"maybe\": null}"), ORIGINAL, "{}");
}

static void styles_change_names_integers_and_defaults(void **state)
{
    Inventory__V1__GetReservationReply reply = INVENTORY__V1__GET_RESERVATION_REPLY__INIT;

    (void)state;
    reply.total_cents = 5;
    reply.state = INVENTORY__V1__RESERVATION_STATE__HELD;
    writes(&reply, (struct json_style){0}, "{\"state\":\"HELD\",\"totalCents\":\"5\"}");
    writes(&reply, (struct json_style){.original_names = true, .int64_as_number = true},
           "{\"state\":\"HELD\",\"total_cents\":5}");
    reply.state = 0;
    writes(&reply, (struct json_style){.original_names = true, .defaults = true},
           "{\"reservation_id\":\"\",\"state\":\"RESERVATION_UNSPECIFIED\",\"lines\":[],"
           "\"total_cents\":\"5\",\"currency\":\"\",\"expires_at_ms\":\"0\",\"created_at_"
           "ms\":\"0\",\"settled_at_ms\":\"0\"}");
}

static void nested_and_repeated_values_go_there_and_back(void **state)
{
    static const char order[] =
        "{\"order\":{\"order_id\":\"01J\",\"total_cents\":\"30\",\"lines\":["
        "{\"sku\":\"caf\xc3\xa9\",\"quantity\":\"2\",\"unit_price_cents\":\"10\"},"
        "{\"sku\":\"b\",\"quantity\":\"1\",\"unit_price_cents\":\"10\"}]}}";
    static const char every[] = "{\"numbers\":[1,-2,0],\"flags\":[true,false],"
                                "\"texts\":[\"a\",\"\"],\"inner\":{\"inner\":{}}}";

    (void)state;
    writes(read_json(&orders__v1__get_order_reply__descriptor, order), ORIGINAL, order);
    writes(read_json(&EVERY, every), ORIGINAL, every);
    refused(&EVERY, "{\"numbers\": [1, null]}", "numbers[1] must be a whole number");
    refused(&EVERY, "{\"inner\": {\"inner\": {\"flags\": [1]}}}",
            "inner.inner.flags[0] must");
}

static void two_members_of_a_oneof_are_refused(void **state)
{
    (void)state;
    writes(read_json(&EVERY, "{\"left\": \"a\"}"), ORIGINAL, "{\"left\":\"a\"}");
    refused(&EVERY, "{\"left\": \"a\", \"right\": 1}", "right must be left out");
}

static void maps_are_refused(void **state)
{
    (void)state;
    refused(&EVERY, "{\"unit_prices\": {\"a\": 1}}", "maps are not supported");
}

static void messages_nest_to_the_limit_and_no_deeper(void **state)
{
    char json[40 * JSON_DEPTH_MAX] = "";

    (void)state;
    for (int i = 1; i < JSON_DEPTH_MAX; i++)
        strcat(json, "{\"inner\":");
    strcat(json, "{}");
    for (int i = 1; i < JSON_DEPTH_MAX; i++)
        strcat(json, "}");
    writes(read_json(&EVERY, json), ORIGINAL, json);
    char deeper[sizeof json + 16];
    snprintf(deeper, sizeof deeper, "{\"inner\":%s}", json);
    refused(&EVERY, deeper, "is nested deeper than 32 messages");
}

static void text_that_is_not_utf8_is_not_written(void **state)
{
    Inventory__V1__GetStockReply reply = INVENTORY__V1__GET_STOCK_REPLY__INIT;
    char bad[] = "\xff";
    json_t *json = NULL;

    (void)state;
    reply.sku = bad;
    struct err e = message_to_json(&reply.base, ORIGINAL, &json);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_string_equal(e.message, "sku is not UTF-8 text, which JSON cannot hold");
    assert_null(json);
}

static void a_small_text_cannot_grow_past_the_arena(void **state)
{
    struct arena *small = arena_new(4096);
    static char json[3000] = "{\"lines\":[";
    ProtobufCMessage *message = NULL;

    (void)state;
    for (size_t i = 10; i < 2900; i += 3)
        memcpy(json + i, "{},", 3);
    strcat(json, "{}]}");
    struct err e = message_from_json(json, strlen(json), RESERVE, small, &message);
    assert_int_equal(e.code, ERR_RESOURCE_EXHAUSTED);
    assert_null(message);
    arena_free(small);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(names_are_read_in_both_spellings),
        TEST(unknown_fields_are_refused_with_their_path),
        TEST(a_value_of_another_kind_is_refused_with_its_path),
        TEST(whole_numbers_are_read_plain_quoted_or_with_exponent),
        TEST(numbers_that_are_none_or_out_of_range_are_refused),
        TEST(the_bounds_of_each_integer_go_there_and_back),
        TEST(enums_are_read_by_name_or_number_and_written_by_name),
        TEST(bytes_are_read_in_either_base64_and_written_padded),
        TEST(stray_bits_of_the_last_letter_are_dropped),
        TEST(floats_are_read_in_every_form),
        TEST(null_and_the_default_are_the_same_as_nothing),
        TEST(styles_change_names_integers_and_defaults),
        TEST(nested_and_repeated_values_go_there_and_back),
        TEST(two_members_of_a_oneof_are_refused),
        TEST(maps_are_refused),
        TEST(messages_nest_to_the_limit_and_no_deeper),
        TEST(text_that_is_not_utf8_is_not_written),
        TEST(a_small_text_cannot_grow_past_the_arena),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
