/* Carts, products, lists and health, and the trace of a request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/ask.h"

static void carts_products_and_lists_are_answered(void **state)
{
    static const char CART[] = "{\"lines\":[{\"sku\":\"A.b_c-1\",\"quantity\":3}]}";
    struct world *w = *state;

    struct wire_answer *a = ask(w, "PUT /v1/carts/new", "", CART);
    assert_int_equal(a->status, 201);
    assert_string_equal(
        a->body, "{\"cart_id\":\"new\",\"etag\":\"\\\"v1.a4816b6e11347494\\\"\","
                 "\"lines\":[{\"sku\":\"A.b_c-1\",\"quantity\":3,\"known\":false}]}");
    assert_int_equal(ask(w, "PUT /v1/carts/old", "", CART)->status, 200);
    assert_int_equal(ask(w, "GET /v1/carts/none", "", NULL)->status, 404);
    ask_as(w, "", "GET /v1/products", "", NULL);
    assert_string_equal(
        a->body, "{\"products\":[{\"sku\":\"TEA-1\",\"title\":\"Tea \\\"Earl\\\"\","
                 "\"price_cents\":450,\"currency\":\"EUR\",\"available\":7}],"
                 "\"next_cursor\":null}");
    ask(w, "GET /v1/orders", "", NULL);
    assert_string_equal(a->body, "{\"orders\":[],\"next_cursor\":null}");
    ask(w, "GET /v1/orders?limit=1", "", NULL);
    assert_string_equal(a->body, "{\"orders\":[],\"next_cursor\":\"next-page\"}");
    ask(w, "HEAD /v1/orders", "", NULL);
    assert_int_equal(a->status, 200);
    expect_header(a, "Content-Length", "32");
    ask(w, "OPTIONS /v1/orders", "", NULL);
    assert_int_equal(a->status, 204);
    expect_header(a, "Allow", "GET, HEAD, OPTIONS, POST");
}

static void a_cart_has_titles_prices_and_its_total(void **state)
{
    static const char TEA[] = "\"known\":true,\"title\":\"Tea \\\"Earl\\\"\","
                              "\"unit_price_cents\":450,\"currency\":\"EUR\","
                              "\"available\":7}";
    struct world *w = *state;
    char expected[1024];

    struct wire_answer *a = ask(w, "PUT /v1/carts/c", "",
                                "{\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":3},"
                                "{\"sku\":\"TEA-1\",\"quantity\":2}]}");
    snprintf(expected, sizeof expected,
             "{\"cart_id\":\"c\",\"etag\":\"\\\"v1.fdb8a3c2493e472e\\\"\","
             "\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":3,%s,"
             "{\"sku\":\"TEA-1\",\"quantity\":2,%s],"
             "\"total_cents\":2250,\"currency\":\"EUR\"}",
             TEA, TEA);
    assert_string_equal(a->body, expected);
    assert_string_equal(w->shop.searched, "100|||TEA-1|TEA-1");

    /* No total of two currencies, nor with what is not known. */
    ask(w, "PUT /v1/carts/c", "",
        "{\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":1},{\"sku\":\"FAR-1\",\"quantity\":1}]}");
    assert_non_null(strstr(a->body, "\"currency\":\"USD\",\"available\":0}]}"));
    ask(w, "PUT /v1/carts/c", "",
        "{\"lines\":[{\"sku\":\"GONE\",\"quantity\":1},{\"sku\":\"TEA-1\",\"quantity\":1}]}");
    assert_non_null(
        strstr(a->body, "{\"sku\":\"GONE\",\"quantity\":1,\"known\":false},"));
    assert_null(strstr(a->body, "total_cents"));
    ask(w, "PUT /v1/carts/c", "", "{\"lines\":[]}");
    assert_string_equal(a->body,
                        "{\"cart_id\":\"c\",\"etag\":\"\\\"v1\\\"\",\"lines\":[]}");
}

static void a_cart_has_no_prices_when_they_cannot_be_read(void **state)
{
    struct world *w = *state;

    w->shop.closed = true;
    struct wire_answer *a = ask(w, "PUT /v1/carts/new", "",
                                "{\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":3}]}");
    assert_int_equal(a->status, 201);
    assert_string_equal(a->body, "{\"cart_id\":\"new\",\"etag\":\"\\\"v1\\\"\","
                                 "\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":3}]}");
    expect_problem(ask_as(w, "", "GET /v1/products", "", NULL), 503, "unavailable");
    expect_problem(ask_as(w, "", "GET /v1/products/TEA-1", "", NULL), 503, "unavailable");
}

static void one_product_is_found_or_404(void **state)
{
    static const char *const NONE[] = {
        "FAR-2", "a%20b", "TEA%2F1",
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxx"};
    struct world *w = *state;
    struct wire_answer *a = ask_as(w, "", "GET /v1/products/TEA-1", "", NULL);
    char line[128];

    assert_string_equal(a->body,
                        "{\"sku\":\"TEA-1\",\"title\":\"Tea \\\"Earl\\\"\","
                        "\"price_cents\":450,\"currency\":\"EUR\",\"available\":7}");
    assert_int_equal(ask_as(w, "", "GET /v1/produc%74s/TEA%2D1", "", NULL)->status, 200);
    for (size_t i = 0; i < sizeof NONE / sizeof *NONE; i++) {
        snprintf(line, sizeof line, "GET /v1/products/%s", NONE[i]);
        expect_problem(ask_as(w, "", line, "", NULL), 404, "not_found");
    }
}

static void what_may_be_written_in_several_ways_is_taken_in_each(void **state)
{
    struct world *w = *state;
    char line[4096];

    snprintf(line, sizeof line, "Authorization: Bearer  %s\r\n", w->token);
    assert_int_equal(ask_as(w, "", "GET /v1/orders", line, NULL)->status, 200);
    struct wire_answer *a =
        ask(w, "PUT /v1/carts/c", "If-Match: \"one\"\r\nIf-Match: \"v1\"\r\n",
            "{\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":3}]}");
    assert_string_equal(w->shop.if_versions, "one,v1");
    snprintf(line, sizeof line, "Content-Length: %022d\r\n", 0);
    a = ask(w, "POST /v1/orders", line, NULL);
    expect_problem(a, 400, "invalid_argument");
    assert_non_null(strstr(a->body, "The body is empty"));
}

static void error_texts_of_libraries_are_not_shown(void **state)
{
    struct world *w = *state;
    struct wire_answer *a = ask(w, "POST /v1/orders", "", "{\"cart_id\":\"\\u0000\"}");

    expect_problem(a, 400, "invalid_argument");
    assert_non_null(strstr(a->body, "a text has the character U+0000"));
}

static void an_older_inventorys_first_product_is_not_taken_for_another(void **state)
{
    struct world *w = *state;

    w->shop.old = true;
    assert_int_equal(ask_as(w, "", "GET /v1/products/TEA-1", "", NULL)->status, 200);
    expect_problem(ask_as(w, "", "GET /v1/products/FAR-1", "", NULL), 503, "unavailable");
}

static void a_querys_values_are_decoded_strictly(void **state)
{
    static const struct {
        const char *query, *searched; /* NULL: refused */
    } CASES[] = {
        {"q=tea", "0||tea"},
        {"q=Gr%C3%BCner+Tee%20%2B%26%3d%25", "0||Gr\xc3\xbcner Tee +&=%"},
        {"q=a=b/c?d:e@f!$'()*,;-._~", "0||a=b/c?d:e@f!$'()*,;-._~"},
        {"limit=1000&cursor=abc&q=x&sku=A,B%2CC", "1000|abc|x|A|B|C"},
        {"q=%F0%9F%8D%B5", "0||\xf0\x9f\x8d\xb5"},
        {"q=", NULL},
        {"q", NULL},
        {"q=%", NULL},
        {"q=%4", NULL},
        {"q=%4g", NULL},
        {"q=%00", NULL},
        {"q=a%00b", NULL},
        {"q=%0a", NULL},
        {"q=%7F", NULL},
        {"q=%C3", NULL},          /* half a letter */
        {"q=%C0%AF", NULL},       /* in more bytes than it needs */
        {"q=%ED%A0%80", NULL},    /* a surrogate */
        {"q=%F4%90%80%80", NULL}, /* beyond Unicode */
        {"q=%2525", "0||%25"},    /* once, not until nothing is left */
        {"q=a[b", NULL},
        {"q=a&q=b", NULL},
        {"%71=a", NULL},
        {"limit=1001", NULL},
        {"limit=%31", "1||"},
        {"sku=", NULL},
        {"sku=A,", NULL},
        {"sku=A%20B", NULL},
        {"sku=A,,B", NULL},
    };
    struct world *w = *state;
    char line[256], q[128], many[300] = "GET /v1/products?sku=A";

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        snprintf(line, sizeof line, "GET /v1/products?%s", CASES[i].query);
        w->shop.searched[0] = '\0';
        struct wire_answer *a = ask_as(w, "", line, "", NULL);
        if (CASES[i].searched == NULL) {
            expect_problem(a, 400, "invalid_argument");
            continue;
        }
        assert_int_equal(a->status, 200);
        assert_string_equal(w->shop.searched, CASES[i].searched);
    }
    memset(q, 'q', sizeof q);
    snprintf(line, sizeof line, "GET /v1/products?q=%.100s", q);
    assert_int_equal(ask_as(w, "", line, "", NULL)->status, 200);
    snprintf(line, sizeof line, "GET /v1/products?q=%.101s", q);
    expect_problem(ask_as(w, "", line, "", NULL), 400, "invalid_argument");
    for (int i = 1; i < 100; i++)
        strcat(many, ",A");
    assert_int_equal(ask_as(w, "", many, "", NULL)->status, 200);
    strcat(many, ",A");
    expect_problem(ask_as(w, "", many, "", NULL), 400, "invalid_argument");
}

static void health_is_that_of_all_an_order_needs(void **state)
{
    struct world *w = *state;
    struct wire_answer *a = ask_as(w, "", "GET /healthz", "", NULL);

    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "{\"status\":\"serving\"}");
    w->shop.sick = true;
    a = ask_as(w, "", "GET /healthz", "", NULL);
    expect_problem(a, 503, "unavailable");
    expect_header(a, "Retry-After", "1");
    /* In words for anybody: what is said to operators is not told. */
    assert_non_null(strstr(
        a->body,
        ",\"services\":[{\"service\":\"orchestrator\","
        "\"reason\":\"the database cannot be reached\"},{\"service\":\"inventory\","
        "\"reason\":\"the database cannot be reached\"}]}"));
    assert_null(strstr(a->body, "db7"));
    assert_null(strstr(a->body, "warnings"));
    w->shop.sick = false;
    assert_int_equal(ask_as(w, "", "GET /healthz", "", NULL)->status, 200);
}

static void what_orders_do_not_need_is_a_warning(void **state)
{
    struct world *w = *state;

    w->shop.events_wait = true;
    struct wire_answer *a = ask_as(w, "", "GET /healthz", "", NULL);
    assert_int_equal(a->status, 200);
    assert_non_null(strstr(a->body, "\"warnings\":[\"events_not_serving\""));
    assert_null(strstr(a->body, "nats3"));
    w->shop.sick = true; /* nor does one hide the other */
    a = ask_as(w, "", "GET /healthz", "", NULL);
    expect_problem(a, 503, "unavailable");
    assert_non_null(strstr(a->body, "],\"warnings\":[\"events_not_serving\""));
}

/* With three of them silent it is still answered within three seconds. */
static void a_service_that_does_not_answer_is_named(void **state)
{
    struct world *w = *state;
    int64_t began_ms = clock_monotonic_ms();

    rpc_server_stop(w->shop.server, 0);
    w->shop.server = NULL;
    struct wire_answer *a = ask_as(w, "", "GET /healthz", "", NULL);
    expect_problem(a, 503, "unavailable");
    assert_non_null(strstr(a->body, "{\"service\":\"inventory\","
                                    "\"reason\":\"it does not answer\"}"));
    assert_true(clock_monotonic_ms() - began_ms < 3000);
}

/* Places an order with these header fields beside its key; gives the trace as the shop's. */
static struct trace trace_of(struct world *w, const char *key, const char *fields)
{
    char header[1024];

    snprintf(header, sizeof header, "Idempotency-Key: %s\r\n%s", key, fields);
    assert_int_equal(ask(w, "POST /v1/orders", header, ORDER)->status, 201);
    return w->shop.trace;
}

static void a_trace_is_passed_on_or_made(void **state)
{
#define TRACE_ID "0af7651916cd43dd8448eb211c80319c"
#define TRACE    "00-" TRACE_ID "-b7ad6b7169203331-00"
    static const char *const NEW[] = {
        "",
        "traceparent: " TRACE "\r\ntraceparent: " TRACE "\r\ntracestate: a=1\r\n",
        "traceparent: nonsense\r\ntracestate: a=1\r\n",
        "tracestate: a=1\r\n",
    };
    struct world *w = *state;
    char key[16];

    struct trace trace = trace_of(w, "traced-01",
                                  "TraceParent: " TRACE "\r\ntracestate: a=1, b=2\r\n"
                                  "Tracestate: c=3\r\n");
    assert_memory_equal(trace.parent, "00-" TRACE_ID "-", 36);
    assert_string_equal(trace.parent + 52, "-00"); /* not sampled stays so */
    assert_string_not_equal(trace.caller, "b7ad6b7169203331");
    assert_string_not_equal(trace.caller, "");
    assert_string_equal(trace.state, "a=1,b=2,c=3");
    for (size_t i = 0; i < sizeof NEW / sizeof NEW[0]; i++) {
        snprintf(key, sizeof key, "traced-new-%zu", i);
        trace = trace_of(w, key, NEW[i]);
        assert_memory_not_equal(trace.parent + 3, TRACE_ID, 32);
        assert_string_not_equal(trace.caller, ""); /* the gateway's own */
        assert_string_equal(trace.state, "");
    }
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(carts_products_and_lists_are_answered),
        WITH_WORLD(a_cart_has_titles_prices_and_its_total),
        WITH_WORLD(a_cart_has_no_prices_when_they_cannot_be_read),
        WITH_WORLD(one_product_is_found_or_404),
        WITH_WORLD(what_may_be_written_in_several_ways_is_taken_in_each),
        WITH_WORLD(error_texts_of_libraries_are_not_shown),
        WITH_WORLD(an_older_inventorys_first_product_is_not_taken_for_another),
        WITH_WORLD(a_querys_values_are_decoded_strictly),
        WITH_WORLD(health_is_that_of_all_an_order_needs),
        WITH_WORLD(what_orders_do_not_need_is_a_warning),
        WITH_WORLD(a_service_that_does_not_answer_is_named),
        WITH_WORLD(a_trace_is_passed_on_or_made),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("reads_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
