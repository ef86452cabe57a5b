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
    assert_false(
        failed(conns_open(&(struct conns_config){.max = 3, .look_every_ms = 5}, &conns)));
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

static void only_when_there_is_no_room_are_those_that_wait_too_long_cut_off(void **state)
{
    enum { MAX = 3, LOOK_MS = 5 };
    const int64_t later = clock_monotonic_ms() + 3600000;
    int waits[2], busy[2], last[2];
    struct conns *conns;

    (void)state;
    make_pair(waits);
    make_pair(busy);
    make_pair(last);
    assert_false(failed(conns_open(
        &(struct conns_config){.max = MAX, .look_every_ms = LOOK_MS}, &conns)));
    struct conn *a = conns_add(conns, waits[0], later);
    struct conn *b = conns_add(conns, busy[0], later);
    conn_deadline(b, later);
    for (int64_t until = clock_monotonic_ms() + 2 * CONNS_FULL_LOOKS * LOOK_MS;
         clock_monotonic_ms() < until;)
        assert_true(open_still(waits[1]));
    struct conn *c = conns_add(conns, last[0], later);
    assert_true(ended(waits[1]));
    assert_true(open_still(busy[1]));
    conn_waits(b, later);
    assert_true(ended(busy[1]));
    conns_remove(conns, a);
    conns_remove(conns, b);
    conns_remove(conns, c);
    conns_close(conns);
    for (int i = 0; i < 2; i++) {
        close(waits[i]);
        close(busy[i]);
        close(last[i]);
    }
}

static void each_of_all_that_may_be_has_its_deadline_again_and_again(void **state)
{
    enum { MAX = 64 };
    struct conn *those[MAX];
    int pairs[MAX][2];
    struct conns *conns;

    (void)state;
    assert_false(failed(
        conns_open(&(struct conns_config){.max = MAX, .look_every_ms = 5}, &conns)));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MAX; i++) {
            make_pair(pairs[i]);
            those[i] = conns_add(conns, pairs[i][0], clock_monotonic_ms());
        }
        for (int i = 0; i < MAX; i++) {
            int k = (i * 29 + round) % MAX; /* in some order */
            assert_true(ended(pairs[k][1]));
            conns_remove(conns, those[k]);
            close(pairs[k][0]);
            close(pairs[k][1]);
        }
    }
    conns_close(conns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_past_its_deadline_is_shut_down_and_no_other),
        cmocka_unit_test(only_when_there_is_no_room_are_those_that_wait_too_long_cut_off),
        cmocka_unit_test(each_of_all_that_may_be_has_its_deadline_again_and_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
