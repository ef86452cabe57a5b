/* addresses_test.c - who counts as one client, and that counts are kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "http/listen.h"

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage out = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&out;

    out.ss_family = strchr(text, ':') != NULL ? AF_INET6 : AF_INET;
    void *to = out.ss_family == AF_INET6 ? (void *)&v6->sin6_addr : (void *)&v4->sin_addr;
    assert_int_equal(inet_pton(out.ss_family, text, to), 1);
    v4->sin_port = htons(4321); /* of no account; at the same place in both */
    return out;
}

static struct address *enter(struct addresses *a, const char *text)
{
    struct sockaddr_storage from = address_of(text);
    struct address *address = addresses_enter(a, &from);

    assert_non_null(address);
    return address;
}

static void one_client_is_an_ipv4_address_or_an_ipv6_network(void **state)
{
    static const struct {
        const char *one, *other;
        bool same;
    } ROWS[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"1.2.3.4", "::ffff:1.2.3.4", true},
        {"1.2.3.4", "::ffff:1.2.3.5", false},
        {"2001:db8:1:2::1", "2001:db8:1:2:ffff::2", true},
        {"2001:db8:1:2::1", "2001:db8:1:3::1", false},
        {"::1", "127.0.0.1", false},
        {"::1", "::2", true},
    };
    struct addresses *a = addresses_new(8);

    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct address *one = enter(a, ROWS[i].one), *other = enter(a, ROWS[i].other);
        assert_int_equal(one == other, ROWS[i].same);
        assert_int_equal(address_count(one), ROWS[i].same ? 2 : 1);
        addresses_leave(a, one);
        addresses_leave(a, other);
    }
    addresses_free(a);
}

/* More than there are buckets, and out in another order than in. */
static void counts_are_kept_of_many(void **state)
{
    enum { COUNT = 500 };
    struct addresses *a = addresses_new(100);
    struct address *entered[COUNT][2];
    char text[32];

    (void)state;
    for (int turn = 0; turn < 2; turn++)
        for (int i = 0; i < COUNT; i++) {
            snprintf(text, sizeof text, "10.0.%d.%d", i / 256, i % 256);
            entered[i][turn] = enter(a, text);
            assert_int_equal(address_count(entered[i][turn]), turn + 1);
        }
    for (int i = 0; i < COUNT; i++) {
        assert_ptr_equal(entered[i][0], entered[i][1]);
        addresses_leave(a, entered[i][0]);
        assert_int_equal(address_count(entered[i][1]), 1);
    }
    for (int i = COUNT; i-- > 0;)
        addresses_leave(a, entered[i][1]);
    struct address *again = enter(a, "10.0.0.0");
    assert_int_equal(address_count(again), 1);
    addresses_leave(a, again);
    addresses_free(a);
    addresses_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_client_is_an_ipv4_address_or_an_ipv6_network),
        cmocka_unit_test(counts_are_kept_of_many),
    };

    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
