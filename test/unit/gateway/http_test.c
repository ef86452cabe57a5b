/* The gateway over real sockets, with a make-believe shop behind a real RPC server. */
#include <errno.h>
#include <openssl/ssl.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "http/server.h"
#include "unit/gateway/world.h"
#include "unit/http/certificate.h"

#define HOST  "Host: shop.test\r\n"
#define ORDER "{\"cart_id\":\"ok\",\"payment_method_id\":\"pm_card_visa\"}"

static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000);
}

static int set_up_impatient(void **state)
{
    return set_up_with(state, 300, 300);
}

static int set_up_for_two(void **state)
{
    return set_up_as(state, (struct http_config){.connections_max = 2,
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

static int set_up_for_one_an_address(void **state)
{
    return set_up_as(state, (struct http_config){.per_address_max = 1,
                                                 .metrics = metrics_new(),
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

static int set_up_over_tls(void **state)
{
    return set_up_as(state, (struct http_config){.tls = open_certificate(),
                                                 .idle_timeout_ms = 60000,
                                                 .transfer_timeout_ms = 60000});
}

/* ---- asking ---- */

/* Sends bytes on a connection of their own and reads one answer. */
static struct wire_answer *ask_raw(struct world *w, const char *bytes, size_t size)
{
    int fd = wire_connect(http_port(w->http));

    wire_send(fd, bytes, size);
    wire_read(fd, strncmp(bytes, "HEAD", 4) == 0, &w->answer);
    close(fd);
    return &w->answer;
}

/* `line` is "METHOD /path", `headers` whole lines; a token is added unless told not to.
 */
static struct wire_answer *ask_as(struct world *w, const char *token, const char *line,
                                  const char *headers, const char *body)
{
    static char bytes[200000];
    char length[64] = "";

    if (body != NULL)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", strlen(body));
    int size = snprintf(bytes, sizeof bytes, "%s HTTP/1.1\r\n" HOST "%s%s%s%s%s\r\n%s",
                        line, token[0] != '\0' ? "Authorization: Bearer " : "", token,
                        token[0] != '\0' ? "\r\n" : "", headers, length,
                        body != NULL ? body : "");
    return ask_raw(w, bytes, (size_t)size);
}

static struct wire_answer *ask(struct world *w, const char *line, const char *headers,
                               const char *body)
{
    return ask_as(w, w->token, line, headers, body);
}

static struct wire_answer *place(struct world *w, const char *cart, const char *key)
{
    char body[256], header[300];

    snprintf(body, sizeof body,
             "{\"cart_id\":\"%s\",\"payment_method_id\":\"pm_card_visa\"}", cart);
    snprintf(header, sizeof header, "Idempotency-Key: %s\r\n", key);
    return ask(w, "POST /v1/orders", header, body);
}

static void expect_header(const struct wire_answer *a, const char *name,
                          const char *value)
{
    char got[512];

    assert_string_equal(wire_header(a, name, got), value);
}

static void expect_problem(const struct wire_answer *a, int status, const char *code)
{
    char part[128];

    if (a->status != status)
        fail_msg("status %d instead of %d: %s", a->status, status, a->text);
    expect_header(a, "Content-Type", "application/problem+json");
    snprintf(part, sizeof part, "\"status\":%d,\"code\":\"%s\"", status, code);
    if (strstr(a->body, part) == NULL)
        fail_msg("no %s in %s", part, a->body);
    assert_null(
        strstr(a->body, "db7")); /* what a service says of its inside stays there */
}

/* ---- orders ---- */

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

/* ---- the rest of the routes ---- */

static void carts_products_and_lists_are_told(void **state)
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

static void a_cart_is_told_without_prices_when_they_cannot_be_read(void **state)
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

static void one_product_is_told_or_not_found(void **state)
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

static void words_of_libraries_are_not_told(void **state)
{
    struct world *w = *state;
    struct wire_answer *a = ask(w, "POST /v1/orders", "", "{\"cart_id\":\"\\u0000\"}");

    expect_problem(a, 400, "invalid_argument");
    assert_non_null(strstr(a->body, "a text has the character U+0000"));
}

static void an_older_inventorys_first_product_is_not_told_as_another(void **state)
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

/* ---- connections ---- */

static void one_connection_serves_many_also_after_a_refusal(void **state)
{
    struct world *w = *state;
    int fd = wire_connect(http_port(w->http));
    static const char REFUSED[] =
        "POST /v1/orders HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nGET /";
    static const char GOOD[] = "GET /v1/products HTTP/1.1\r\n" HOST "\r\n";

    for (int i = 0; i < 3; i++) {
        wire_send(fd, REFUSED, sizeof REFUSED - 1);
        wire_read(fd, false, &w->answer);
        expect_problem(&w->answer, 401, "unauthenticated");
        wire_send(fd, GOOD, sizeof GOOD - 1);
        wire_read(fd, false, &w->answer);
        assert_int_equal(w->answer.status, 200);
    }
    close(fd);
}

static void two_requests_run_at_once(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    int fds[2];

    for (int i = 0; i < 2; i++) {
        int size =
            snprintf(bytes, sizeof bytes,
                     "POST /v1/orders HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                     "Idempotency-Key: at-once-%d\r\nContent-Length: 53\r\n\r\n"
                     "{\"cart_id\":\"held\",\"payment_method_id\":\"pm_card_visa\"}",
                     w->token, i);
        fds[i] = wire_connect(http_port(w->http));
        wire_send(fds[i], bytes, (size_t)size);
    }
    shop_wait_held(&w->shop, 2);
    shop_let_go(&w->shop, true);
    for (int i = 0; i < 2; i++) {
        wire_read(fds[i], false, &w->answer);
        assert_int_equal(w->answer.status, 201);
        close(fds[i]);
    }
    shop_wait_held(&w->shop, 0);
}

static void *let_go_when_refused(void *arg)
{
    struct world *w = arg;
    uint16_t port = http_port(w->http);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (;;) { /* until the drain has closed the listening socket */
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int refused = connect(fd, (struct sockaddr *)(void *)&to, sizeof to);
        close(fd);
        if (refused != 0)
            break;
    }
    shop_let_go(&w->shop, true);
    return NULL;
}

static void a_drain_accepts_no_more_and_answers_what_runs(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    pthread_t thread;
    int fd = wire_connect(http_port(w->http));
    int size = snprintf(bytes, sizeof bytes,
                        "POST /v1/orders HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                        "Idempotency-Key: drained-1\r\nContent-Length: 53\r\n\r\n"
                        "{\"cart_id\":\"held\",\"payment_method_id\":\"pm_card_visa\"}",
                        w->token);

    wire_send(fd, bytes, (size_t)size);
    shop_wait_held(&w->shop, 1);
    assert_int_equal(pthread_create(&thread, NULL, let_go_when_refused, w), 0);
    http_drain(w->http, 20000);
    pthread_join(thread, NULL);
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 201);
    expect_header(&w->answer, "Connection", "close");
    close(fd);
    channel_close(w->gateway.inventory);
    channel_close(w->gateway.orchestrator);
    assert_true(http_stop(w->http));
    w->http = NULL;
    shop_wait_held(&w->shop, 0);
}

static void what_outlasts_the_drain_is_answered_where_it_can_be_and_told(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    int fd = wire_connect(http_port(w->http)), half = wire_connect(http_port(w->http));
    int size = snprintf(bytes, sizeof bytes,
                        "POST /v1/orders HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                        "Idempotency-Key: cut-off-1\r\nContent-Length: 53\r\n\r\n"
                        "{\"cart_id\":\"held\",\"payment_method_id\":\"pm_card_visa\"}",
                        w->token);

    wire_send(half, bytes, (size_t)size - 10); /* its body does not end */
    wire_send(fd, bytes, (size_t)size);
    shop_wait_held(&w->shop, 1);
    http_drain(w->http, 100);
    channel_close(w->gateway.inventory);
    channel_close(w->gateway.orchestrator);
    wire_read(fd, false, &w->answer);
    expect_problem(&w->answer, 504, "outcome_unknown");
    close(fd);
    assert_false(http_stop(w->http));
    w->http = NULL;
    assert_true(wire_ended(half));
    close(half);
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
}

static void a_gateway_that_retires_says_so_and_serves_on(void **state)
{
    struct world *w = *state;

    assert_int_equal(ask(w, "GET /healthz", "", NULL)->status, 200);
    http_retire(w->http);
    expect_problem(ask(w, "GET /healthz", "", NULL), 503, "unavailable");
    assert_int_equal(ask(w, "GET /v1/products", "", NULL)->status, 200);
}

/* Between the drain and the end: nothing may begin any more. */
static void after_a_drain_who_still_asks_is_sent_elsewhere(void **state)
{
    static const char GET[] = "GET /v1/products HTTP/1.1\r\n" HOST "\r\n";
    struct world *w = *state;
    int fd = wire_connect(http_port(w->http));

    wire_send(fd, GET, sizeof GET - 1);
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 200);
    http_drain(w->http, 10000);
    wire_send(fd, GET, sizeof GET - 1);
    wire_read(fd, false, &w->answer);
    expect_problem(&w->answer, 503, "unavailable");
    expect_header(&w->answer, "Retry-After", "1");
    assert_true(wire_ended(fd));
    close(fd);
}

/* Each byte comes well within the limit; the whole does not. */
static void a_head_or_body_that_trickles_in_is_408(void **state)
{
    static const char *const BEGINS[] = {
        "GET /v1/products HTTP/1.1\r\n" HOST "X: ",
        "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\n",
    };
    static const int STATUSES[] = {408,
                                   401}; /* the second has no token, and is told so */
    struct world *w = *state;
    struct timeval patience = {.tv_usec = 50000};

    for (size_t i = 0; i < 2; i++) {
        int fd = wire_connect(http_port(w->http));
        char byte;
        ssize_t got;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        wire_send(fd, BEGINS[i], strlen(BEGINS[i]));
        int sent = 0;
        for (; (got = recv(fd, &byte, 1, MSG_PEEK)) < 0 && errno == EAGAIN && sent < 1000;
             sent++)
            wire_send(fd, "y", 1);
        assert_int_equal(got, 1);
        wire_read(fd, false, &w->answer);
        assert_int_equal(w->answer.status, STATUSES[i]);
        expect_header(&w->answer, "Connection", "close");
        assert_true(wire_ended(fd));
        close(fd);
    }
    int fd = wire_connect(http_port(w->http));
    assert_true(wire_ended(fd)); /* a connection that says nothing, too */
    close(fd);
}

static void doubtful_framing_is_refused_and_the_connection_closed(void **state)
{
    static const struct {
        const char *bytes;
        int status;
    } CASES[] = {
        {"POST /v1/orders HTTP/1.1\r\n" HOST
         "Content-Length: 5\r\nContent-Length: 5\r\n\r\nGET /",
         400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nGET /", 400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST "Content-Length: -5\r\n\r\nGET /", 400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\nGET /", 400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST
         "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip\r\n\r\nGET /", 400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST
         "Transfer-Encoding: gzip, chunked\r\n\r\nGET /",
         501},
        {"POST /v1/orders HTTP/1.0\r\n" HOST
         "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST "Content-Length : 5\r\n\r\nGET /", 400},
        {"GET /v1/products HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nGET /", 400},
        /* lines that end otherwise than with CRLF */
        {"GET /v1/products HTTP/1.1\n" HOST "\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\nHost: shop.test\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\nHost: shop.test\nX: y\r\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\nHost: shop.test\r\n\n", 400},
        {"GET /v1/products HTTP/1.1\nHost: shop.test\n\n", 400},
        {"GET /v1/products HTTP/1.1\r\nHost: shop.test\rX: y\r\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\nX: a\r\n b\r\n" HOST "\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\n" HOST "X: a\r\n\tb\r\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\n X: a\r\n" HOST "\r\n", 400},
        /* spaces where none or one may be */
        {"GET  /v1/products HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /v1/products  HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /v1/products HTTP/1.1 \r\n" HOST "\r\n", 400},
        {"GET /v1/pro ducts HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\nHost : shop.test\r\n\r\n", 400},
        {"GET /v1/products HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400},
        {"GET /v1/products HTTP/9.9\r\n" HOST "\r\n", 505},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        {"CONNECT shop.test:443 HTTP/1.1\r\n" HOST "\r\n", 501},
        {"\x16\x03\x01\x02", 400},
        {"\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /v1/products\r\n" HOST "\r\n", 400},
        {"POST /v1/orders HTTP/1.1\r\n" HOST
         "Content-Length: 99999999999999999999999\r\n\r\nGET /",
         401},
    };
    static const char NEXT[] = "GET /v1/products HTTP/1.1\r\n" HOST "\r\n";
    struct world *w = *state;

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        int fd = wire_connect(http_port(w->http));
        wire_send(fd, CASES[i].bytes, strlen(CASES[i].bytes));
        wire_send(fd, NEXT, sizeof NEXT - 1);
        wire_read(fd, false, &w->answer);
        if (w->answer.status != CASES[i].status)
            fail_msg("case %zu: status %d: %s", i, w->answer.status, w->answer.text);
        expect_header(&w->answer, "Content-Type", "application/problem+json");
        assert_true(wire_ended(fd));
        close(fd);
    }
}

static void a_nul_in_the_head_is_refused(void **state)
{
    static const char *const PLACES[] = {
        "GET /v1/pro@ducts HTTP/1.1\r\n" HOST "\r\n",
        "GET /v1/products HTTP/1.1\r\nHost: shop@.test\r\n\r\n",
        "GET /v1/products HTTP/1.1\r\nHost: shop.test@\r\n\r\n",
        "GET /v1/products HTTP/1.1\r\nHo@st: shop.test\r\n\r\n",
        "GET /v1/products HTTP/1.1\r\n" HOST "X: a@\r\n\r\n",
        "GET@/v1/products HTTP/1.1\r\n" HOST "\r\n",
        /* in place of a line end's CR or LF, or of a whole line end */
        "GET /v1/products HTTP/1.1@\n" HOST "\r\n",
        "GET /v1/products HTTP/1.1\r@" HOST "\r\n",
        "GET /v1/products HTTP/1.1\r\nHost: shop.test@\n\r\n",
        "GET /v1/products HTTP/1.1\r\nHost: shop.test\r@\r\n",
        "GET /v1/products HTTP/1.1\r\nHost: shop.test@@\r\n",
        "GET /v1/products HTTP/1.1\r\n" HOST "@\n",
        "GET /v1/products HTTP/1.1\r\n" HOST "\r@\r\n\r\n",
        "GET /v1/products HTTP/1.1\r\n" HOST "@\n\r\n",
        /* before a line */
        "@ \r\nGET /v1/products HTTP/1.1\r\n" HOST "\r\n",
        "@GET /v1/orders HTTP/1.1\r\nGET /v1/products HTTP/1.1\r\n" HOST "\r\n",
        "GET /v1/products HTTP/1.1\r\n" HOST "@X: y\r\n\r\n",
    };
    static const char NEXT[] = "GET /v1/products HTTP/1.1\r\n" HOST "\r\n";
    struct world *w = *state;
    char bytes[256];

    for (size_t i = 0; i < sizeof PLACES / sizeof PLACES[0]; i++) {
        int fd = wire_connect(http_port(w->http));
        snprintf(bytes, sizeof bytes, "%s", PLACES[i]);
        for (size_t at = 0; at < strlen(PLACES[i]); at++)
            if (bytes[at] == '@')
                bytes[at] = '\0';
        wire_send(fd, bytes, strlen(PLACES[i]));
        wire_send(fd, NEXT, sizeof NEXT - 1);
        wire_read(fd, false, &w->answer);
        if (w->answer.status != 400)
            fail_msg("case %zu: status %d: %s", i, w->answer.status, w->answer.text);
        assert_true(wire_ended(fd));
        close(fd);
    }
    static const char ALONE[] = "\0\r\nGET / HTTP/1.1\r\n\r\n";
    assert_int_equal(ask_raw(w, ALONE, sizeof ALONE - 1)->status, 400);
}

static void a_nul_in_a_body_is_refused_and_the_connection_goes_on(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    int head =
        snprintf(bytes, sizeof bytes,
                 "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                 "Content-Length: 13\r\n\r\n",
                 w->token);
    int fd = wire_connect(http_port(w->http));

    memcpy(bytes + head, "{\"lines\":[\0]}", 13);
    for (int i = 0; i < 2; i++) {
        wire_send(fd, bytes, (size_t)head + 13);
        wire_read(fd, false, &w->answer);
        expect_problem(&w->answer, 400, "invalid_argument");
    }
    close(fd);
}

static void a_head_that_is_too_long_is_refused_with_its_limit(void **state)
{
    static char bytes[100000];
    static const struct {
        const char *begin;
        int status;
        const char *code, *limit;
    } CASES[] = {
        {"GET /v1/products HTTP/1.1\r\n" HOST "X: ", 431, "header_too_large",
         "at most 32768 bytes"},
        {"GET /", 414, "target_too_long", "at most 8192 bytes"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < 2; i++) {
        memset(bytes, 'y', sizeof bytes);
        memcpy(bytes, CASES[i].begin, strlen(CASES[i].begin));
        struct wire_answer *a = ask_raw(w, bytes, sizeof bytes);
        expect_problem(a, CASES[i].status, CASES[i].code);
        assert_non_null(strstr(a->body, CASES[i].limit));
        expect_header(a, "Connection", "close");
    }
}

static void a_broken_chunk_ends_the_connection(void **state)
{
    static const char *const CHUNKS[] = {"zz\r\nab\r\n0\r\n\r\n", "2\r\nabX0\r\n\r\n",
                                         "-2\r\nab\r\n0\r\n\r\n",
                                         "fffffffffffffffff\r\nab\r\n0\r\n\r\n"};
    struct world *w = *state;
    char bytes[2048];

    for (size_t i = 0; i < sizeof CHUNKS / sizeof CHUNKS[0]; i++) {
        int size =
            snprintf(bytes, sizeof bytes,
                     "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n%s",
                     w->token, CHUNKS[i]);
        struct wire_answer *a = ask_raw(w, bytes, (size_t)size);
        assert_true(a->status == 400 || a->status == 413);
        expect_header(a, "Connection", "close");
    }
}

static void after_a_chunked_body_the_connection_goes_on(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    int size =
        snprintf(bytes, sizeof bytes,
                 "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                 "Transfer-Encoding: chunked\r\n\r\nc\r\n{\"lines\":[]}\r\n0\r\n\r\n"
                 "GET /v1/products HTTP/1.1\r\n" HOST "\r\n",
                 w->token);
    int fd = wire_connect(http_port(w->http));

    wire_send(fd, bytes, (size_t)size);
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 200);
    assert_non_null(strstr(w->answer.body, "\"c1\""));
    expect_header(&w->answer, "Connection", "");
    wire_read(fd, false, &w->answer);
    assert_int_equal(w->answer.status, 200);
    assert_non_null(strstr(w->answer.body, "\"products\""));
    close(fd);
}

/* ---- browsers ---- */

static void a_page_of_ours_orders_with_its_session_cookie(void **state)
{
    static const char SENT[] = "Cookie: theme=dark; session=%s\r\n"
                               "Idempotency-Key: %s\r\n%s";
    static const struct {
        const char *key, *from;
        int status;
        const char *code;
    } CASES[] = {
        {"from-page", "Origin: http://shop.test\r\n", 201, NULL},
        {"from-page",
         "Sec-Fetch-Site: same-origin\r\nContent-Type: text/plain;charset=UTF-8\r\n", 201,
         NULL},
        {"from-form", "Origin: https://evil.test\r\n", 403, "cross_site"},
        {"from-form", "Sec-Fetch-Site: cross-site\r\n", 403, "cross_site"},
        {"from-form", "", 403, "cross_site"},
    };
    struct world *w = *state;
    char headers[2048];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        snprintf(headers, sizeof headers, SENT, w->token, CASES[i].key, CASES[i].from);
        struct wire_answer *a = ask_as(w, "", "POST /v1/orders", headers, ORDER);
        if (CASES[i].code == NULL)
            assert_int_equal(a->status, CASES[i].status);
        else
            expect_problem(a, CASES[i].status, CASES[i].code);
    }
    /* The key in the body alone is what a form of another site could send, too. */
    snprintf(headers, sizeof headers,
             "Cookie: session=%s\r\nOrigin: http://shop.test\r\n", w->token);
    expect_problem(ask_as(w, "", "POST /v1/orders", headers,
                          "{\"cart_id\":\"ok\",\"payment_method_id\":\"pm_card_visa\","
                          "\"idempotency_key\":\"in-the-body\"}"),
                   403, "cross_site");
    assert_int_equal(w->shop.placed, 1);
    snprintf(headers, sizeof headers, "Cookie: session=%s\r\n", w->token);
    assert_int_equal(ask_as(w, "", "GET /v1/orders", headers, NULL)->status, 200);
    expect_problem(ask_as(w, "", "GET /v1/orders", "Cookie: session=x\r\n", NULL), 401,
                   "unauthenticated");
}

static void other_sites_read_answers_only_when_listed(void **state)
{
    static const struct {
        const char *origin, *allowed;
    } CASES[] = {
        {"https://shop.example", "https://shop.example"},
        {"https://other.example:8443", "https://other.example:8443"},
        {"https://other.example", ""},
        {"https://shop.example.evil.example", ""},
        {"http://shop.example", ""},
        {"null", ""},
    };
    struct world *w = *state;
    char headers[256];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        snprintf(headers, sizeof headers,
                 "Origin: %s\r\nAccess-Control-Request-Method: POST\r\n",
                 CASES[i].origin);
        struct wire_answer *a = ask_as(w, "", "OPTIONS /v1/orders", headers, NULL);
        const bool allowed = CASES[i].allowed[0] != '\0';
        assert_int_equal(a->status, 204);
        expect_header(a, "Vary", "Origin");
        expect_header(a, "Access-Control-Allow-Origin", CASES[i].allowed);
        expect_header(a, "Access-Control-Allow-Methods",
                      allowed ? "GET, HEAD, OPTIONS, POST" : "");
        expect_header(a, "Access-Control-Allow-Credentials", "");
        ask(w, "GET /v1/orders/none", headers, NULL); /* errors, too */
        expect_header(a, "Access-Control-Allow-Origin", CASES[i].allowed);
    }
    w->gateway.cors_origins = "";
    ask_as(w, "", "GET /v1/products", "Origin: https://shop.example\r\n", NULL);
    expect_header(&w->answer, "Access-Control-Allow-Origin", "");
    expect_header(&w->answer, "Vary", "");
}

static void every_answer_has_the_security_headers(void **state)
{
    static const char *const LINES[] = {"GET /v1/products", "GET /nothing",
                                        "GET /v1/orders"};
    struct world *w = *state;

    for (size_t i = 0; i < 3; i++) {
        ask_as(w, "", LINES[i], "", NULL);
        expect_header(&w->answer, "X-Content-Type-Options", "nosniff");
        expect_header(&w->answer, "Cache-Control", "no-store");
        expect_header(&w->answer, "Referrer-Policy", "no-referrer");
        expect_header(&w->answer, "Content-Security-Policy",
                      "default-src 'none'; frame-ancestors 'none'");
    }
}

/* What is answered over TLS to a request that ends its connection. */
static void ask_over_tls(struct world *w, const char *request, char *answer, int room)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *tls = SSL_new(context);
    int fd = wire_connect(http_port(w->http)), size = 0, got;

    assert_true(SSL_set_fd(tls, fd) == 1 && SSL_connect(tls) == 1);
    assert_true(SSL_write(tls, request, (int)strlen(request)) > 0);
    while ((got = SSL_read(tls, answer + size, room - 1 - size)) > 0)
        size += got;
    answer[size] = '\0';
    SSL_free(tls);
    SSL_CTX_free(context);
    close(fd);
}

/* RFC 6797, 7.2: such an answer in clear must not say it, as anybody could have put it in. */
static void only_over_tls_is_tls_demanded_of_later_visits(void **state)
{
    static const char PLAIN[] = "GET / HTTP/1.1\r\n" HOST "\r\n";
    struct world *w = *state;
    char answer[4096];

    ask_over_tls(w, "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", answer,
                 sizeof answer);
    assert_non_null(
        strstr(answer, "\r\nStrict-Transport-Security: max-age=31536000\r\n"));
    ask_raw(w, PLAIN, sizeof PLAIN - 1);
    expect_problem(&w->answer, 400, "invalid_argument");
    assert_non_null(strstr(w->answer.body, "https"));
    expect_header(&w->answer, "Strict-Transport-Security", "");
}

/* ---- limits ---- */

static void a_user_who_asks_too_often_is_429(void **state)
{
    struct world *w = *state;
    char other[1024];

    buckets_close(w->gateway.buckets);
    must(buckets_open(64, 1, 2, &w->gateway.buckets));
    assert_int_equal(ask(w, "GET /v1/orders", "", NULL)->status, 200);
    assert_int_equal(ask(w, "GET /v1/orders", "", NULL)->status, 200);
    struct wire_answer *a = place(w, "ok", "too-often-1");
    expect_problem(a, 429, "rate_limited");
    expect_header(a, "Retry-After", "1");
    assert_int_equal(w->shop.placed, 0);
    token_make("sub", "\"00000000-0000-4000-8000-00000000000b\"", other);
    assert_int_equal(ask_as(w, other, "GET /v1/orders", "", NULL)->status, 200);
}

static void more_than_may_be_in_flight_is_503(void **state)
{
    struct world *w = *state;
    char bytes[2048];
    int fds[WORLD_CALLS_MAX];

    for (int i = 0; i < WORLD_CALLS_MAX; i++) {
        int size =
            snprintf(bytes, sizeof bytes,
                     "POST /v1/orders HTTP/1.1\r\n" HOST "Authorization: Bearer %s\r\n"
                     "Idempotency-Key: in-flight-%d\r\nContent-Length: 53\r\n\r\n"
                     "{\"cart_id\":\"held\",\"payment_method_id\":\"pm_card_visa\"}",
                     w->token, i);
        fds[i] = wire_connect(http_port(w->http));
        wire_send(fds[i], bytes, (size_t)size);
    }
    shop_wait_held(&w->shop, WORLD_CALLS_MAX);
    struct wire_answer *a = place(w, "ok", "one-too-many");
    expect_problem(a, 503, "overloaded");
    expect_header(a, "Retry-After", "1");
    shop_let_go(&w->shop, true);
    for (int i = 0; i < WORLD_CALLS_MAX; i++) {
        wire_read(fds[i], false, &w->answer);
        assert_int_equal(w->answer.status, 201);
        close(fds[i]);
    }
    shop_wait_held(&w->shop, 0);
    assert_int_equal(place(w, "ok", "one-too-many")->status, 201); /* its key is unused */
}

/* A request whose body does not come, so that it needs its place for long. */
static int hold_place(const struct world *w)
{
    static const char REQUEST[] = "PUT /v1/carts/c1 HTTP/1.1\r\n" HOST
                                  "Expect: 100-continue\r\nContent-Length: 12\r\n";
    char bytes[2048], byte;
    int fd = wire_connect(http_port(w->http));
    int size = snprintf(bytes, sizeof bytes, "%sAuthorization: Bearer %s\r\n\r\n",
                        REQUEST, w->token);

    wire_send(fd, bytes, (size_t)size);
    while (recv(fd, &byte, 1, 0) == 1 && byte != '\n')
        ; /* of 100 Continue: it has been read */
    return fd;
}

static void who_finds_no_place_waits_until_one_is_given_up(void **state)
{
    static const char GET[] = "GET /v1/products HTTP/1.1\r\n" HOST "\r\n";
    struct world *w = *state;
    int one = hold_place(w), two = hold_place(w),
        waits = wire_connect(http_port(w->http));

    wire_send(waits, GET, sizeof GET - 1);
    close(one);
    wire_read(waits, false, &w->answer);
    assert_int_equal(w->answer.status, 200);
    /* It keeps its place and asks for nothing: the next one gets it. */
    int next = wire_connect(http_port(w->http));
    wire_send(next, GET, sizeof GET - 1);
    wire_read(next, false, &w->answer);
    assert_int_equal(w->answer.status, 200);
    assert_true(wire_ended(waits));
    close(waits);
    close(next);
    close(two);
}

static void connections_past_what_one_address_may_have_are_429(void **state)
{
    enum { MOST = 64 };
    struct world *w = *state;
    int fds[MOST];

    for (int i = 0; i < MOST; i++)
        fds[i] = wire_connect(http_port(w->http));
    struct wire_answer *a =
        ask_as(w, "", "GET /v1/products", "Origin: https://shop.example\r\n", NULL);
    expect_problem(a, 429, "too_many_connections");
    expect_header(a, "Access-Control-Allow-Origin", "https://shop.example");
    expect_header(a, "Retry-After", "1");
    expect_header(a, "Connection", "close");
    assert_non_null(strstr(a->body, "64 connections"));
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    while (ask_as(w, "", "GET /v1/products", "", NULL)->status != 200)
        ; /* until they are seen to be closed */
}

static void look_for_dropped(void *arg, const struct metric *metric)
{
    int64_t *dropped = arg;

    if (strcmp(metric->name, "http_server_dropped") == 0)
        *dropped = metric->value;
}

static void connections_closed_without_a_byte_are_in_the_metrics(void **state)
{
    enum { MOST = 1 + HTTP_OVER_LIMIT_MAX };
    struct world *w = *state;
    int fds[MOST];
    int64_t dropped = -1;

    for (int i = 0; i < MOST; i++)
        fds[i] = wire_connect(http_port(w->http));
    int last = wire_connect(http_port(w->http));
    assert_true(wire_ended(last));
    metrics_each(w->metrics, look_for_dropped, &dropped);
    assert_int_equal(dropped, 1);
    close(last);
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
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
        WITH_WORLD(carts_products_and_lists_are_told),
        WITH_WORLD(a_cart_has_titles_prices_and_its_total),
        WITH_WORLD(a_cart_is_told_without_prices_when_they_cannot_be_read),
        WITH_WORLD(one_product_is_told_or_not_found),
        WITH_WORLD(what_may_be_written_in_several_ways_is_taken_in_each),
        WITH_WORLD(words_of_libraries_are_not_told),
        WITH_WORLD(an_older_inventorys_first_product_is_not_told_as_another),
        WITH_WORLD(a_querys_values_are_decoded_strictly),
        WITH_WORLD(health_is_that_of_all_an_order_needs),
        WITH_WORLD(what_orders_do_not_need_is_a_warning),
        WITH_WORLD(a_service_that_does_not_answer_is_named),
        WITH_WORLD(a_trace_is_passed_on_or_made),
        WITH_WORLD(one_connection_serves_many_also_after_a_refusal),
        WITH_WORLD(two_requests_run_at_once),
        WITH_WORLD(after_a_drain_who_still_asks_is_sent_elsewhere),
        WITH_WORLD(a_drain_accepts_no_more_and_answers_what_runs),
        WITH_WORLD(what_outlasts_the_drain_is_answered_where_it_can_be_and_told),
        WITH_WORLD(a_gateway_that_retires_says_so_and_serves_on),
        cmocka_unit_test_setup_teardown(a_head_or_body_that_trickles_in_is_408,
                                        set_up_impatient, tear_down),
        WITH_WORLD(doubtful_framing_is_refused_and_the_connection_closed),
        WITH_WORLD(a_nul_in_the_head_is_refused),
        WITH_WORLD(a_nul_in_a_body_is_refused_and_the_connection_goes_on),
        WITH_WORLD(a_head_that_is_too_long_is_refused_with_its_limit),
        WITH_WORLD(a_broken_chunk_ends_the_connection),
        WITH_WORLD(after_a_chunked_body_the_connection_goes_on),
        WITH_WORLD(a_page_of_ours_orders_with_its_session_cookie),
        WITH_WORLD(other_sites_read_answers_only_when_listed),
        WITH_WORLD(every_answer_has_the_security_headers),
        cmocka_unit_test_setup_teardown(only_over_tls_is_tls_demanded_of_later_visits,
                                        set_up_over_tls, tear_down),
        WITH_WORLD(a_user_who_asks_too_often_is_429),
        WITH_WORLD(more_than_may_be_in_flight_is_503),
        cmocka_unit_test_setup_teardown(who_finds_no_place_waits_until_one_is_given_up,
                                        set_up_for_two, tear_down),
        WITH_WORLD(connections_past_what_one_address_may_have_are_429),
        cmocka_unit_test_setup_teardown(
            connections_closed_without_a_byte_are_in_the_metrics,
            set_up_for_one_an_address, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("http_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
