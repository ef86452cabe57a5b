/*
 * leave_test.c - a client whose connection breaks while its call runs: nobody can read the
 * answer, so the call is cancelled.  One that closes only its sending half is answered.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "unit/gateway/world.h"

static int set_up(void **state)
{
    return set_up_with(state, 60000, 60000);
}

/* Sends an order of the cart "held", whose answer waits for shop_let_go. */
static int order(const struct world *w, const char *key)
{
    char bytes[2048];
    int fd = wire_connect(http_port(w->http));
    int size = snprintf(
        bytes, sizeof bytes,
        "POST /v1/orders HTTP/1.1\r\nHost: shop.test\r\nAuthorization: Bearer %s\r\n"
        "Idempotency-Key: %s\r\nContent-Length: 53\r\n\r\n"
        "{\"cart_id\":\"held\",\"payment_method_id\":\"pm_card_visa\"}",
        w->token, key);

    wire_send(fd, bytes, (size_t)size);
    return fd;
}

/* Closes so that the other side sees the connection broken. */
static void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

static int read_order(struct world *w, int fd)
{
    wire_read(fd, false, &w->answer);
    close(fd);
    return w->answer.status;
}

static void a_broken_connection_cancels_its_call_and_no_other(void **state)
{
    struct world *w = *state;
    int stays = order(w, "key-stays");

    shop_wait_held(&w->shop, 1);
    int leaves = order(w, "key-leaves");
    shop_wait_held(&w->shop, 2);
    reset(leaves);
    shop_wait_left(&w->shop, 1);
    shop_let_go(&w->shop, true);
    assert_int_equal(read_order(w, stays), 201);
    shop_wait_held(&w->shop, 0);
    assert_int_equal(w->shop.left, 1);
}

/* The answer that nobody took is not what the key is answered with: the orchestrator knows. */
static void the_same_key_finds_what_became_of_it(void **state)
{
    struct world *w = *state;
    char replayed[512];
    int fd = order(w, "key-returns");

    shop_wait_held(&w->shop, 1);
    reset(fd);
    shop_wait_left(&w->shop, 1);
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
    assert_int_equal(read_order(w, order(w, "key-returns")), 201);
    assert_string_equal(wire_header(&w->answer, "Idempotent-Replayed", replayed), "true");
    assert_int_equal(w->shop.placed, 2);
}

static void a_client_that_closes_only_its_sending_half_is_answered(void **state)
{
    struct world *w = *state;
    int fd = order(w, "key-half");

    shop_wait_held(&w->shop, 1);
    shutdown(fd, SHUT_WR);
    /* Whoever is answered after it shows that its end was seen. */
    int other = wire_connect(http_port(w->http));
    static const char GET[] = "GET /v1/products HTTP/1.1\r\nHost: shop.test\r\n\r\n";
    wire_send(other, GET, sizeof GET - 1);
    assert_int_equal(read_order(w, other), 200);
    shop_let_go(&w->shop, true);
    assert_int_equal(read_order(w, fd), 201);
    shop_wait_held(&w->shop, 0);
    assert_int_equal(w->shop.left, 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(a_broken_connection_cancels_its_call_and_no_other),
        WITH_WORLD(the_same_key_finds_what_became_of_it),
        WITH_WORLD(a_client_that_closes_only_its_sending_half_is_answered),
    };

    if (sodium_init() < 0)
        return 1;
    log_start("gateway", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
