/* The trace that a request is given, whatever it brings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/contract/trace.h"

#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define SPAN_ID  "b7ad6b7169203331"
#define GIVEN    "00-" TRACE_ID "-" SPAN_ID "-01"

static struct trace begin(const char *parent, const char *state)
{
    struct trace_fields fields = {0};
    struct trace trace;

    if (parent != NULL)
        trace_add_parent(&fields, parent);
    if (state != NULL)
        trace_add_state(&fields, state);
    trace_begin(&fields, &trace);
    assert_true(trace_valid(trace.parent));
    return trace;
}

/* ---- traceparent ---- */

static void a_trace_goes_on_with_a_span_id_of_our_own(void **state)
{
    static const struct {
        const char *given, *flags;
    } CASES[] = {
        {GIVEN, "01"},
        {"00-" TRACE_ID "-" SPAN_ID "-00", "00"},
        {"00-" TRACE_ID "-" SPAN_ID "-02", "02"},
        {"00-" TRACE_ID "-" SPAN_ID "-03", "03"},
        {"00-" TRACE_ID "-" SPAN_ID "-ff", "03"}, /* others are not ours to hand on */
        {"00-" TRACE_ID "-" SPAN_ID "-f8", "00"},
        {"01-" TRACE_ID "-" SPAN_ID "-01", "01"},
        {"cc-" TRACE_ID "-" SPAN_ID "-01-", "01"},
        {"fe-" TRACE_ID "-" SPAN_ID "-01-what later versions say", "01"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct trace trace = begin(CASES[i].given, NULL);
        assert_memory_equal(trace.parent, "00-" TRACE_ID "-", 36);
        assert_memory_not_equal(trace.parent + 36, SPAN_ID, 16);
        assert_string_equal(trace.parent + 53, CASES[i].flags);
        assert_string_equal(trace.caller, SPAN_ID);
    }
    assert_string_not_equal(begin(GIVEN, NULL).parent, begin(GIVEN, NULL).parent);
}

static void an_invalid_traceparent_starts_a_new_trace(void **state)
{
    static const char *const GIVENS[] = {
        NULL,
        "",
        "00",
        "00-" TRACE_ID "-" SPAN_ID,
        "00-" TRACE_ID "-" SPAN_ID "-",
        "00-" TRACE_ID "-" SPAN_ID "-0",
        "00-" TRACE_ID "-" SPAN_ID "-0x",
        "00-" TRACE_ID "-" SPAN_ID "-01-",
        "00-" TRACE_ID "-" SPAN_ID "-011",
        "00_" TRACE_ID "_" SPAN_ID "_01",
        "ff-" TRACE_ID "-" SPAN_ID "-01",
        "ff-" TRACE_ID "-" SPAN_ID "-01-more",
        "0-" TRACE_ID "-" SPAN_ID "-01",
        "0G-" TRACE_ID "-" SPAN_ID "-01",
        "CC-" TRACE_ID "-" SPAN_ID "-01",
        "cc-" TRACE_ID "-" SPAN_ID "-01.more",
        "cc-" TRACE_ID "-" SPAN_ID "-012",
        "00-0AF7651916CD43DD8448EB211C80319C-" SPAN_ID "-01",
        "00-" TRACE_ID "-B7AD6B7169203331-01",
        "00-00000000000000000000000000000000-" SPAN_ID "-01",
        "00-" TRACE_ID "-0000000000000000-01",
        "00-" TRACE_ID "0-" SPAN_ID "-01",
        " " GIVEN,
        GIVEN " ",
        GIVEN "," GIVEN,
    };

    (void)state;
    for (size_t i = 0; i < sizeof GIVENS / sizeof GIVENS[0]; i++) {
        struct trace trace = begin(GIVENS[i], "a=1");
        assert_memory_not_equal(trace.parent + 3, TRACE_ID, 32);
        assert_string_equal(trace.parent + 52, "-03"); /* sampled, random */
        assert_string_equal(trace.caller, "");
        assert_string_equal(trace.state, "");
    }
    assert_string_not_equal(begin(NULL, NULL).parent, begin(NULL, NULL).parent);
}

static void a_repeated_traceparent_starts_a_new_trace(void **state)
{
    struct trace_fields fields = {0};
    struct trace trace;

    (void)state;
    trace_add_parent(&fields, GIVEN);
    trace_add_parent(&fields, GIVEN);
    trace_add_state(&fields, "a=1");
    trace_begin(&fields, &trace);
    assert_memory_not_equal(trace.parent + 3, TRACE_ID, 32);
    assert_string_equal(trace.caller, "");
    assert_string_equal(trace.state, "");
}

/* ---- tracestate ---- */

static void tracestate_fields_are_forwarded_as_one_list(void **state)
{
    static const struct {
        const char *given, *out;
    } CASES[] = {
        {"", ""},
        {" \t", ""},
        {",, ,", ""},
        {"a=1", "a=1"},
        {"a=1,b=2", "a=1,b=2"},
        {" \ta=1 \t , \tb=2\t", "a=1,b=2"},
        {",a=1,,b=2,", "a=1,b=2"},
        {"a=1,a=2", "a=1,a=2"},
        {"0abc_-*/@z= !\"#~;:x", "0abc_-*/@z= !\"#~;:x"},
        {"tenant@system=a b", "tenant@system=a b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(begin(GIVEN, CASES[i].given).state, CASES[i].out);

    struct trace_fields fields = {0};
    struct trace trace;
    trace_add_parent(&fields, GIVEN);
    trace_add_state(&fields, "a=1,b=2");
    trace_add_state(&fields, "");
    trace_add_state(&fields, " c=3 ");
    trace_begin(&fields, &trace);
    assert_string_equal(trace.state, "a=1,b=2,c=3");
}

static void a_malformed_tracestate_is_dropped_and_the_trace_goes_on(void **state)
{
    static const char *const GIVENS[] = {
        "a",           "a=",     "=1",         "a=1,b",       "a=1,=2",
        "A=1",         "_a=1",   "@a=1",       "a b=1",       "a =1",
        "a.b=1",       "a=b=c",  "a=1;b=2=",   "a=1,b=\x7f",  "a=\x01",
        "a=\xc3\xa4,", "a=1\tb", "a=1,b=2 ,c", "a=1,\"b\"=2",
    };

    (void)state;
    for (size_t i = 0; i < sizeof GIVENS / sizeof GIVENS[0]; i++) {
        struct trace trace = begin(GIVEN, GIVENS[i]);
        assert_memory_equal(trace.parent, "00-" TRACE_ID "-", 36);
        assert_string_equal(trace.state, "");
    }
}

/* Writes key=value with so long a key and value. */
static char *member(char *out, size_t key, size_t value)
{
    memset(out, 'k', key);
    out[key] = '=';
    memset(out + key + 1, 'v', value);
    out[key + 1 + value] = '\0';
    return out;
}

static void keys_and_values_are_bounded(void **state)
{
    char text[600];

    (void)state;
    assert_string_equal(begin(GIVEN, member(text, 256, 1)).state, text);
    assert_string_equal(begin(GIVEN, member(text, 1, 256)).state, text);
    assert_string_equal(begin(GIVEN, member(text, 257, 1)).state, "");
    assert_string_equal(begin(GIVEN, member(text, 1, 257)).state, "");
}

static void no_more_than_32_members_are_forwarded(void **state)
{
    char text[400] = "";
    struct trace_fields fields = {0};
    struct trace trace;

    (void)state;
    for (int i = 0; i < 32; i++)
        snprintf(text + strlen(text), 16, "%sk%d=v", i == 0 ? "" : ",", i);
    assert_string_equal(begin(GIVEN, text).state, text);
    strcat(text, ",one=more");
    assert_string_equal(begin(GIVEN, text).state, "");

    trace_add_parent(&fields, GIVEN);
    for (int i = 0; i < 40; i++)
        trace_add_state(&fields, "a=1");
    trace_begin(&fields, &trace);
    assert_string_equal(trace.state, "");
    assert_memory_equal(trace.parent, "00-" TRACE_ID "-", 36);
}

static void a_long_list_loses_large_members_first_then_the_last(void **state)
{
    char large[200], text[1200], fits[1200];
    struct trace trace;

    (void)state;
    /* 3 + 1 + 151 + 1 + 3 + 1 + 151 + 1 + 3 bytes fit; with 300 more they do not. */
    member(large, 10, 140);
    snprintf(text, sizeof text, "a=1,%s,b=2,%s,c=3", large, large);
    assert_string_equal(begin(GIVEN, text).state, text);
    snprintf(text, sizeof text, "a=1,%s,b=2,%s,c=3,%s,%s", large, large, large, large);
    trace = begin(GIVEN, text);
    snprintf(fits, sizeof fits, "a=1,%s,b=2,%s,c=3,%s", large, large, large);
    assert_string_equal(trace.state, fits);

    /* 30 of 20 bytes: the last ones do not fit. */
    text[0] = '\0';
    for (int i = 0; i < 30; i++)
        snprintf(text + strlen(text), 24, "%sk%02d=vvvvvvvvvvvvvvvv", i == 0 ? "" : ",",
                 i);
    trace = begin(GIVEN, text);
    assert_int_equal(strlen(trace.state), 24 * 21 - 1);
    assert_memory_equal(trace.state, text, strlen(trace.state));

    /* 512 bytes fit, 513 do not. */
    member(large, 1, 127 - 1);
    snprintf(text, sizeof text, "%s,%s,%s,%s", large, large, large, large);
    assert_int_equal(strlen(text), 4 * 128 + 3);
    assert_int_equal(strlen(begin(GIVEN, text).state), 3 * 128 + 2);
    text[512] = '\0';
    assert_string_equal(begin(GIVEN, text).state, text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_goes_on_with_a_span_id_of_our_own),
        cmocka_unit_test(an_invalid_traceparent_starts_a_new_trace),
        cmocka_unit_test(a_repeated_traceparent_starts_a_new_trace),
        cmocka_unit_test(tracestate_fields_are_forwarded_as_one_list),
        cmocka_unit_test(a_malformed_tracestate_is_dropped_and_the_trace_goes_on),
        cmocka_unit_test(keys_and_values_are_bounded),
        cmocka_unit_test(no_more_than_32_members_are_forwarded),
        cmocka_unit_test(a_long_list_loses_large_members_first_then_the_last),
    };

    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
