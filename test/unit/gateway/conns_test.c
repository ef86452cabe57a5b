/* Absolute deadlines of connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "gateway/conns.h"

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Waits for the end of the connection. */
static bool ended(int fd)
{
    char byte;

    return recv(fd, &byte, 1, 0) == 0;
}

static bool open_still(int fd)
{
    char byte;

    return recv(fd, &byte, 1, MSG_DONTWAIT) < 0;
}

static void a_connection_past_its_deadline_is_shut_down_and_no_other(void **state)
{
    int late[2], free_of_it[2], moved[2];
    struct conns *conns;

    (void)state;
    make_pair(late);
    make_pair(free_of_it);
    make_pair(moved);
    assert_false(failed(conns_open(NULL, &conns)));
    struct conn *a = conns_add(conns, moved[0], clock_monotonic_ms() + 3600000);
    struct conn *b = conns_add(conns, free_of_it[0], INT64_MAX);
    struct conn *c = conns_add(conns, late[0], clock_monotonic_ms());
    assert_true(ended(late[1]));
    assert_true(open_still(free_of_it[1]));
    assert_true(open_still(moved[1]));
    conn_deadline(a, clock_monotonic_ms());
    assert_true(ended(moved[1]));
    assert_true(open_still(free_of_it[1]));
    conns_remove(conns, b);
    conns_remove(conns, a);
    conns_remove(conns, c);
    conns_close(conns);
    for (int i = 0; i < 2; i++) {
        close(late[i]);
        close(free_of_it[i]);
        close(moved[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_past_its_deadline_is_shut_down_and_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
