/*
 * leave_test.c - a client that leaves while its call runs: nobody waits for the answer, so
 * the call is called off; and whoever stays is served.
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

static int read_order(struct world *w, int fd)
{
    wire_read(fd, false, &w->answer);
    close(fd);
    return w->answer.status;
}

static void who_leaves_calls_off_and_who_stays_is_answered(void **state)
{
    struct world *w = *state;
    int stays = order(w, "key-stays");

    shop_wait_held(&w->shop, 1);
    int leaves = order(w, "key-leaves");
    shop_wait_held(&w->shop, 2);
    close(leaves);
    shop_wait_left(&w->shop, 1);
    shop_let_go(&w->shop, true);
    assert_int_equal(read_order(w, stays), 201);
    shop_wait_held(&w->shop, 0);
    assert_int_equal(w->shop.left, 1);
}

static void a_connection_that_breaks_has_left_too(void **state)
{
    struct world *w = *state;
    int fd = order(w, "key-breaks");

    shop_wait_held(&w->shop, 1);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd); /* RST */
    shop_wait_left(&w->shop, 1);
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
}

/* The answer that nobody took is not what the key is answered with: the orchestrator knows. */
static void the_same_key_finds_what_became_of_it(void **state)
{
    struct world *w = *state;
    char replayed[512];
    int fd = order(w, "key-returns");

    shop_wait_held(&w->shop, 1);
    close(fd);
    shop_wait_left(&w->shop, 1);
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
    assert_int_equal(read_order(w, order(w, "key-returns")), 201);
    assert_string_equal(wire_header(&w->answer, "Idempotent-Replayed", replayed), "true");
    assert_int_equal(w->shop.placed, 2);
}

/* It cannot be told from one that left; but what it gets is true. */
static void who_closes_only_its_half_is_told_to_ask_again(void **state)
{
    struct world *w = *state;
    int fd = order(w, "key-half");

    shop_wait_held(&w->shop, 1);
    shutdown(fd, SHUT_WR);
    shop_wait_left(&w->shop, 1);
    assert_int_equal(read_order(w, fd), 504);
    assert_non_null(strstr(w->answer.body, "\"code\":\"outcome_unknown\""));
    shop_let_go(&w->shop, true);
    shop_wait_held(&w->shop, 0);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(who_leaves_calls_off_and_who_stays_is_answered),
        WITH_WORLD(a_connection_that_breaks_has_left_too),
        WITH_WORLD(the_same_key_finds_what_became_of_it),
        WITH_WORLD(who_closes_only_its_half_is_told_to_ask_again),
    };

    if (sodium_init() < 0)
        return 1;
    log_start("gateway", LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
