/* POST /v1/orders: answers, refusals, the cache, and the key. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/ask.h"

static void a_first_order_is_201_with_its_location(void **state)
{
    char id[512];
    struct wire_answer *a = place(*state, "ok", "key-00000001");

    assert_int_equal(a->status, 201);
    expect_header(a, "Location", "/v1/orders/01JD0000000000000000000000");
    expect_header(a, "Content-Type", "application/json");
    expect_header(a, "Idempotent-Replayed", "");
    assert_int_equal(strlen(wire_header(a, "X-Request-Id", id)), ULID_LENGTH);
    assert_string_equal(
        a->body,
        "{\"order_id\":\"01JD0000000000000000000000\",\"status\":\"created\","
        "\"total_cents\":900,\"currency\":\"EUR\","
        "\"created_at\":\"2026-01-31T12:00:00.123Z\","
        "\"lines\":[{\"sku\":\"TEA-1\",\"quantity\":2,\"unit_price_cents\":450}]}");
}

static void a_requests_id_is_ours_whatever_the_client_calls_it(void **state)
{
    static const char *const THEIRS[] = {
        "X-Request-Id: 01JD0000000000000000000000\r\n",
        "X-Request-Id: \xff\xfe\r\n", /* no UTF-8 */
        "X-Request-Id: caf\xc3\xa9 a\tb\r\n",
        "X-Request-Id:\r\n",
        "X-Request-Id: a\r\nX-Request-Id: b\r\n",
    };
    char id[512], before[512] = "";

    for (size_t i = 0; i < sizeof THEIRS / sizeof THEIRS[0]; i++) {
        struct wire_answer *a = ask(*state, "GET /v1/products", THEIRS[i], NULL);

        assert_int_equal(a->status, 200);
        assert_true(ulid_valid(wire_header(a, "X-Request-Id", id)));
        assert_string_not_equal(id, "01JD0000000000000000000000");
        assert_string_not_equal(id, before);
        strcpy(before, id);
    }
}

static void forget_answers(struct world *w)
{
    response_cache_close(w->gateway.response_cache);
    must(response_cache_open(64, &w->gateway.response_cache));
}

static void a_repeat_has_the_same_bytes_with_and_without_the_short_cut(void **state)
{
    static const struct {
        const char *cart;
        int status;
    } CASES[] = {{"ok", 201}, {"declined", 402}, {"short", 409}};
    struct world *w = *state;

    for (size_t i = 0; i < 3; i++) {
        char key[32], first[4096], location[512], got[512];
        snprintf(key, sizeof key, "repeat-%s", CASES[i].cart);
        struct wire_answer *a = place(w, CASES[i].cart, key);
        assert_int_equal(a->status, CASES[i].status);
        expect_header(a, "Idempotent-Replayed", "");
        strcpy(first, a->body);
        wire_header(a, "Location", location);
        for (int with_short_cut = 1; with_short_cut >= 0; with_short_cut--) {
            int placed = w->shop.placed;
            if (!with_short_cut)
                forget_answers(w);
            place(w, CASES[i].cart, key);
            assert_int_equal(a->status, CASES[i].status);
            assert_string_equal(a->body, first);
            assert_string_equal(wire_header(a, "Location", got), location);
            expect_header(a, "Idempotent-Replayed", "true");
            assert_int_equal(w->shop.placed, placed + !with_short_cut);
        }
    }
}

static void another_users_key_is_not_answered_from_the_short_cut(void **state)
{
    struct world *w = *state;
    char other[1024];

    token_make("sub", "\"00000000-0000-4000-8000-00000000000b\"", other);
    assert_int_equal(place(w, "ok", "key-of-both")->status, 201);
    int placed = w->shop.placed;
    ask_as(w, other, "POST /v1/orders", "Idempotency-Key: key-of-both\r\n", ORDER);
    assert_int_equal(w->shop.placed, placed + 1);
}

static void refusals_become_their_problems(void **state)
{
    static const struct {
        const char *cart;
        int status;
        const char *code;
        const char *retry_after;
    } CASES[] = {
        {"declined", 402, "payment_declined", ""},
        {"short", 409, "out_of_stock", ""},
        {"ordered", 409, "cart_already_ordered", ""},
        {"nocart", 404, "not_found", ""},
        {"busy", 503, "overloaded", "1"},
        {"broken", 500, "internal", ""},
        {"progress", 409, "checkout_in_progress", "1"},
        {"reused", 422, "idempotency_key_reused", ""},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct wire_answer *a = place(w, CASES[i].cart, CASES[i].code);
        if (CASES[i].status == 404)
            assert_int_equal(a->status, 404);
        else
            expect_problem(a, CASES[i].status, CASES[i].code);
        expect_header(a, "Retry-After", CASES[i].retry_after);
    }
    assert_non_null(strstr(place(w, "declined", "decline-told")->body,
                           ",\"decline_code\":\"card_declined\","
                           "\"advice\":\"another_payment_method\"}"));
    assert_non_null(strstr(place(w, "ordered", "order-told")->body,
                           ",\"order_id\":\"01JD0000000000000000000000\"}"));
    assert_non_null(
        strstr(place(w, "short", "skus-told")->body, ",\"skus\":[\"TEA-1\",\"CUP-2\"]}"));
}

static void what_is_not_final_is_never_remembered(void **state)
{
    struct world *w = *state;

    for (int i = 1; i <= 2; i++) {
        struct wire_answer *a = place(w, "busy", "busy-twice");
        expect_problem(a, 503, "overloaded");
        expect_header(a, "Idempotent-Replayed", "");
        assert_int_equal(w->shop.placed, i);
    }
}

static void no_outcome_in_time_is_504_ask_again(void **state)
{
    struct world *w = *state;

    w->gateway.place_timeout_ms = 400;
    struct wire_answer *a = place(w, "held", "never-told");
    expect_problem(a, 504, "outcome_unknown");
    expect_header(a, "Retry-After", "1");
    place(w, "unknown", "effect-unknown");
    expect_problem(a, 504, "outcome_unknown");
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
}

static void a_dead_orchestrator_is_503(void **state)
{
    struct world *w = *state;

    rpc_server_stop(w->shop.server, 1000);
    w->shop.server = NULL;
    w->gateway.call_timeout_ms = 400;
    struct wire_answer *a = ask(w, "GET /v1/orders", "", NULL);
    expect_problem(a, 503, "unavailable");
    expect_header(a, "Retry-After", "1");
}

/* ---- the key ---- */

static void the_key_may_be_bare_quoted_or_in_the_body(void **state)
{
    static const char BODY_KEY[] =
        "{\"cart_id\":\"ok\",\"payment_method_id\":\"pm_card_visa\","
        "\"idempotency_key\":\"one-and-the-same\"}";
    struct world *w = *state;

    struct wire_answer *a =
        ask(w, "POST /v1/orders", "Idempotency-Key: one-and-the-same\r\n", ORDER);
    expect_header(a, "Idempotent-Replayed", "");
    ask(w, "POST /v1/orders", "Idempotency-Key: \"one-and-the-same\"\r\n", ORDER);
    expect_header(a, "Idempotent-Replayed", "true");
    ask(w, "POST /v1/orders", "Idempotency-Key: one-and-the-same \t \r\n", ORDER);
    expect_header(a, "Idempotent-Replayed", "true");
    ask(w, "POST /v1/orders", "", BODY_KEY);
    expect_header(a, "Idempotent-Replayed", "true");
    ask(w, "POST /v1/orders", "Idempotency-Key: one-and-the-same\r\n", BODY_KEY);
    expect_header(a, "Idempotent-Replayed", "true");
    assert_int_equal(w->shop.key_count, 1);
    assert_int_equal(w->shop.placed, 4); /* five spellings, two of them the same value */
    ask(w, "POST /v1/orders", "Idempotency-Key: quite-another\r\n", BODY_KEY);
    expect_problem(a, 400, "invalid_argument");
}

static void a_bad_request_is_refused_and_nothing_placed(void **state)
{
    static const struct {
        const char *line, *headers, *body;
        int status;
        const char *code;
    } CASES[] = {
        {"POST /v1/orders", "", ORDER, 400, "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: short\r\n", ORDER, 400, "invalid_argument"},
        {"POST /v1/orders",
         "Idempotency-Key: twice-123\r\nIdempotency-Key: twice-123\r\n", ORDER, 400,
         "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\n", "", 400, "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\n", "{}x", 400,
         "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\n",
         "{\"cart_id\":\"ok\",\"payment_method_id\":\"p\",\"tip\":1}", 400,
         "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\n",
         "{\"cart_id\":\"ok\",\"cart_id\":\"ok\",\"payment_method_id\":\"p\"}", 400,
         "invalid_argument"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\nContent-Type: text/xml\r\n",
         ORDER, 415, "unsupported_media_type"},
        {"POST /v1/orders",
         "Idempotency-Key: good-key\r\nContent-Type: application/json; charset=latin1\r\n",
         ORDER, 415, "unsupported_media_type"},
        {"POST /v1/orders", "Idempotency-Key: good-key\r\nContent-Encoding: gzip\r\n",
         "\x1f\x8b\x08", 415, "unsupported_media_type"},
        {"POST /v1/nothing", "", ORDER, 404, "not_found"},
        {"DELETE /v1/orders", "", NULL, 405, "method_not_allowed"},
        {"GET /v1/orders?limit=0", "", NULL, 400, "invalid_argument"},
        {"GET /v1/orders?limit=101", "", NULL, 400, "invalid_argument"},
        {"GET /v1/orders?limit=1&limit=2", "", NULL, 400, "invalid_argument"},
        {"GET /v1/orders?page=1", "", NULL, 400, "invalid_argument"},
        {"GET /v1/orders/nonsense", "", NULL, 404, "not_found"},
        {"PUT /v1/carts/c1", "", "{\"lines\":[{\"sku\":\"A\",\"quantity\":1.0}]}", 400,
         "invalid_argument"},
        {"PUT /v1/carts/c1", "", "{\"lines\":[{\"sku\":\"A\",\"quantity\":0}]}", 400,
         "invalid_argument"},
        {"PUT /v1/carts/c1", "",
         "{\"lines\":[{\"sku\":\"A\",\"quantity\":6000},{\"sku\":\"B\",\"quantity\":1},"
         "{\"sku\":\"A\",\"quantity\":4001}]}",
         400, "invalid_argument"},
        {"PUT /v1/carts/c%20", "", "{\"lines\":[]}", 400, "invalid_argument"},
        {"PUT /v1/carts/c1", "Content-Range: bytes 0-11/12\r\n", "{\"lines\":[]}", 400,
         "invalid_argument"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        expect_problem(ask(w, CASES[i].line, CASES[i].headers, CASES[i].body),
                       CASES[i].status, CASES[i].code);
    assert_int_equal(w->shop.placed, 0);
    expect_header(ask(w, "DELETE /v1/orders", "", NULL), "Allow",
                  "GET, HEAD, OPTIONS, POST");
}

static void without_a_good_token_all_is_one_401(void **state)
{
    struct world *w = *state;
    char expired[1024];

    token_make("exp", "1", expired);
    const char *const tokens[] = {"", "nonsense", expired};
    for (size_t i = 0; i < 3; i++) {
        struct wire_answer *a = ask_as(w, tokens[i], "POST /v1/orders",
                                       "Idempotency-Key: good-key\r\n", ORDER);
        expect_problem(a, 401, "unauthenticated");
        expect_header(a, "WWW-Authenticate", "Bearer realm=\"checkout\"");
    }
    assert_int_equal(w->shop.placed, 0);
}

static void a_body_past_64_kib_is_413(void **state)
{
    static char body[70000];
    struct world *w = *state;

    memset(body, ' ', sizeof body - 1);
    expect_problem(ask(w, "PUT /v1/carts/c1", "", body), 413, "payload_too_large");
    int fd = wire_connect(http_port(w->http));
    char head[2048];
    int size =
        snprintf(head, sizeof head,
                 "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                 "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                 w->token, sizeof body - 1);
    wire_send(fd, head, (size_t)size);
    wire_send(fd, body, sizeof body - 1);
    wire_send(fd, "\r\n0\r\n\r\n", 7);
    wire_read(fd, false, &w->answer);
    expect_problem(&w->answer, 413, "payload_too_large");
    close(fd);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_first_order_is_201_with_its_location),
        WITH_WORLD(a_requests_id_is_ours_whatever_the_client_calls_it),
        WITH_WORLD(a_repeat_has_the_same_bytes_with_and_without_the_short_cut),
        WITH_WORLD(another_users_key_is_not_answered_from_the_short_cut),
        WITH_WORLD(refusals_become_their_problems),
        WITH_WORLD(what_is_not_final_is_never_remembered),
        WITH_WORLD(no_outcome_in_time_is_504_ask_again),
        WITH_WORLD(a_dead_orchestrator_is_503),
        WITH_WORLD(the_key_may_be_bare_quoted_or_in_the_body),
        WITH_WORLD(a_bad_request_is_refused_and_nothing_placed),
        WITH_WORLD(without_a_good_token_all_is_one_401),
        WITH_WORLD(a_body_past_64_kib_is_413),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("orders_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
