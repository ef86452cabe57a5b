/* What browsers need: the session cookie, CORS, security headers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/ask.h"

static void our_own_page_orders_with_its_session_cookie(void **state)
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

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(our_own_page_orders_with_its_session_cookie),
        WITH_WORLD(other_sites_read_answers_only_when_listed),
        WITH_WORLD(every_answer_has_the_security_headers),
        cmocka_unit_test_setup_teardown(only_over_tls_is_tls_demanded_of_later_visits,
                                        set_up_over_tls, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("browsers_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
