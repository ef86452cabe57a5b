/* Connections: reuse, drain, time limits, and framing that is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/ask.h"

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

static void
requests_that_outlast_the_drain_are_answered_if_possible_and_logged(void **state)
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

static void a_retired_gateway_says_so_and_still_serves(void **state)
{
    struct world *w = *state;

    assert_int_equal(ask(w, "GET /healthz", "", NULL)->status, 200);
    http_retire(w->http);
    expect_problem(ask(w, "GET /healthz", "", NULL), 503, "unavailable");
    assert_int_equal(ask(w, "GET /v1/products", "", NULL)->status, 200);
}

/* Between the drain and the end: nothing may begin any more. */
static void after_a_drain_new_requests_are_503(void **state)
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

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(one_connection_serves_many_also_after_a_refusal),
        WITH_WORLD(two_requests_run_at_once),
        WITH_WORLD(after_a_drain_new_requests_are_503),
        WITH_WORLD(a_drain_accepts_no_more_and_answers_what_runs),
        WITH_WORLD(requests_that_outlast_the_drain_are_answered_if_possible_and_logged),
        WITH_WORLD(a_retired_gateway_says_so_and_still_serves),
        cmocka_unit_test_setup_teardown(a_head_or_body_that_trickles_in_is_408,
                                        set_up_impatient, tear_down),
        WITH_WORLD(doubtful_framing_is_refused_and_the_connection_closed),
        WITH_WORLD(a_nul_in_the_head_is_refused),
        WITH_WORLD(a_nul_in_a_body_is_refused_and_the_connection_goes_on),
        WITH_WORLD(a_head_that_is_too_long_is_refused_with_its_limit),
        WITH_WORLD(a_broken_chunk_ends_the_connection),
        WITH_WORLD(after_a_chunked_body_the_connection_goes_on),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("connections_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
