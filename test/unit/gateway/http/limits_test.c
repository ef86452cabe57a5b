/* Limits: rates, calls in flight, connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/ask.h"

static void too_many_requests_of_a_user_are_429(void **state)
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

static void at_the_limit_new_clients_queue_and_idle_connections_are_closed(void **state)
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
        WITH_WORLD(too_many_requests_of_a_user_are_429),
        WITH_WORLD(more_than_may_be_in_flight_is_503),
        cmocka_unit_test_setup_teardown(
            at_the_limit_new_clients_queue_and_idle_connections_are_closed,
            set_up_for_two, tear_down),
        WITH_WORLD(connections_past_what_one_address_may_have_are_429),
        cmocka_unit_test_setup_teardown(
            connections_closed_without_a_byte_are_in_the_metrics,
            set_up_for_one_an_address, tear_down),
    };

    signal(SIGPIPE, SIG_IGN);
    log_start("limits_test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
