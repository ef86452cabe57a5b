/* server_test.c - many connections: threads, limits, draining and closing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sodium.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "unit/http/world.h"

/* ---- a loop that is away ---- */

/* The loop waits in a handler from here on, until let_go. */
static void block(struct world *w, int fd)
{
    ask(fd, "PUT", "/blocked", "first");
    pthread_mutex_lock(&w->mutex);
    while (!w->blocked)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
}

static void let_go(struct world *w)
{
    pthread_mutex_lock(&w->mutex);
    w->let_go = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
}

/* ---- answers ---- */

enum { CLIENTS = 8, REQUESTS = 100 };

static void *be_a_client(void *arg)
{
    struct world *w = arg;
    static _Thread_local struct wire_answer answer;
    int fd = connect_to(w);

    for (int i = 0; i < REQUESTS; i++) {
        ask(fd, "PUT", "/later", "across");
        wire_read(fd, false, &answer);
        if (answer.status != 200 || strcmp(answer.body, "across") != 0)
            return "a wrong answer";
    }
    close(fd);
    return NULL;
}

static void answers_come_from_any_thread(void **state)
{
    struct world *w = open_default();
    pthread_t clients[CLIENTS];
    void *wrong;

    (void)state;
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i], NULL, be_a_client, w), 0);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i], &wrong);
        assert_null(wrong);
    }
    assert_int_equal(w->began, CLIENTS * REQUESTS);
    close_world(w);
}

/* ---- limits on connections ---- */

static void an_address_above_its_limit_is_refused(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.per_address_max = 2;
    struct world *w = open_as(config);
    int one = connect_to(w), two = connect_to(w);

    (void)state;
    expect_served(w, one, "/echo");
    expect_served(w, two, "/echo");
    int three = connect_to(w);
    ask(three, "GET", "/echo", "");
    expect_refusal(w, three, HTTP_TOO_MANY_CONNECTIONS);
    expect_end(three);
    /* A server that has seen the end has closed, too, and it counts no more. */
    shutdown(two, SHUT_WR);
    expect_end(two);
    int again = connect_to(w);
    expect_served(w, again, "/echo");
    expect_served(w, one, "/echo");
    close(again);
    close(one);
    close_world(w);
}

/* All come in one round of the loop, so that none has waited too long for its 429. */
static void
past_those_that_wait_for_their_429_connections_are_dropped_and_counted(void **state)
{
    enum { WAITING = HTTP_OVER_LIMIT_MAX, DROPPED = 2 };
    struct http_server_config config = DEFAULTS;
    config.per_address_max = 1;
    config.connections_max = 2 * WAITING;
    struct world *w = open_as(config);
    int one = connect_to(w), waiting[WAITING], dropped[DROPPED];

    (void)state;
    block(w, one);
    for (int i = 0; i < WAITING; i++)
        waiting[i] = connect_to(w);
    for (int i = 0; i < DROPPED; i++)
        dropped[i] = connect_to(w);
    ask(waiting[WAITING - 1], "GET", "/echo", "");
    let_go(w);
    for (int i = 0; i < DROPPED; i++)
        expect_end(dropped[i]);
    wait_for(w, &w->dropped, DROPPED);
    expect_refusal(w, waiting[WAITING - 1], HTTP_TOO_MANY_CONNECTIONS);
    assert_int_equal(w->dropped, DROPPED);
    expect_answer(w, one, 200, "first");
    for (int i = 0; i < WAITING; i++)
        close(waiting[i]);
    close(one);
    close_world(w);
}

/* Only one that has nothing to do, and only after HTTP_FULL_IDLE_MS. */
static void at_the_limit_an_idle_connection_is_closed(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.connections_max = 2;
    struct world *w = open_as(config);
    int idle = connect_to(w), busy = connect_to(w);

    (void)state;
    ask(busy, "PUT", "/held", "kept");
    wait_held(w, 1);
    expect_served(w, idle, "/echo");
    int next = connect_to(w);
    ask(next, "PUT", "/echo", "let in");
    expect_end(idle);
    expect_answer(w, next, 200, "let in");
    let_held_go(w);
    expect_answer(w, busy, 200, "kept");
    close(busy);
    close(next);
    close_world(w);
}

/* More requests than one round of the loop sees have come while it was away. */
static void at_the_limit_none_is_closed_whose_request_has_come(void **state)
{
    enum { MANY = 600 };
    struct http_server_config config = DEFAULTS;
    config.connections_max = MANY + 1;
    config.per_address_max = MANY + 2;
    struct world *w = open_as(config);
    int blocked = connect_to(w), clients[MANY];

    (void)state;
    for (int i = 0; i < MANY; i++) {
        clients[i] = connect_to(w);
        expect_served(w, clients[i], "/echo");
    }
    ask(blocked, "PUT", "/blocked", "first");
    pthread_mutex_lock(&w->mutex);
    while (!w->blocked)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    int next = connect_to(w);
    for (int i = 0; i < MANY; i++)
        ask(clients[i], "PUT", "/echo", "in time");
    struct pollfd p = {.fd = next, .events = POLLIN};
    assert_int_equal(poll(&p, 1, HTTP_FULL_IDLE_MS + SHORT_MS),
                     0); /* all have idled so long */
    pthread_mutex_lock(&w->mutex);
    w->let_go = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    expect_answer(w, blocked, 200, "first");
    for (int i = 0; i < MANY; i++) {
        expect_answer(w, clients[i], 200, "in time");
        close(clients[i]);
    }
    close(blocked);
    close(next);
    close_world(w);
}

/* All descriptors below the limit are taken, and the limit is set there. */
static void without_descriptors_clients_wait_and_are_served_later(void **state)
{
    enum { FILLED = 32 };
    struct world *w = open_default();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), filled[FILLED];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    struct pollfd p = {.fd = fd, .events = POLLIN};
    struct rlimit before, none;

    (void)state;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < FILLED; i++)
        filled[i] = dup(STDERR_FILENO); /* each the lowest that is free */
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)filled[FILLED - 1] + 1;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int connected = connect(fd, (struct sockaddr *)(void *)&to, sizeof to);
    ask(fd, "PUT", "/echo", "at last");
    int early = poll(&p, 1, 2 * SHORT_MS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    for (int i = 0; i < FILLED; i++)
        close(filled[i]);
    assert_int_equal(connected, 0);
    assert_int_equal(early, 0);
    expect_answer(w, fd, 200, "at last");
    close(fd);
    close_world(w);
}

/* Of many past it some are told, and who asks when others have left is served. */
static void an_address_within_its_limit_again_is_served(void **state)
{
    struct http_server_config config = DEFAULTS;
    config.per_address_max = 2;
    struct world *w = open_as(config);
    int one = connect_to(w), two = connect_to(w), three = connect_to(w);

    (void)state;
    expect_served(w, one, "/echo");
    expect_served(w, two, "/echo");
    shutdown(two, SHUT_WR);
    expect_end(two);
    expect_served(w, three, "/echo");
    close(three);
    close(one);
    close_world(w);
}

/* ---- draining ---- */

/* The loop is in a handler while they come: they are in the kernel's queue. */
static void clients_that_the_kernel_accepted_are_served_while_draining(void **state)
{
    enum { WAITING = 10 };
    struct http_server_config config = DEFAULTS;
    config.connections_max = 4;
    struct world *w = open_as(config);
    int blocked = connect_to(w), waiting[WAITING];

    (void)state;
    ask(blocked, "PUT", "/blocked", "first");
    pthread_mutex_lock(&w->mutex);
    while (!w->blocked)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    for (int i = 0; i < WAITING; i++) {
        waiting[i] = connect_to(w);
        ask(waiting[i], "PUT", i % 2 == 0 ? "/echo" : "/later", "waited");
    }
    http_server_quiesce(w->server);
    pthread_mutex_lock(&w->mutex);
    w->let_go = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    expect_answer(w, blocked, 200, "first");
    assert_string_equal(header(w, "Connection"), "close");
    expect_end(blocked);
    for (int i = 0; i < WAITING; i++) {
        expect_answer(w, waiting[i], 200, "waited");
        assert_string_equal(header(w, "Connection"), "close");
        expect_end(waiting[i]);
    }
    close_world(w);
}

static void draining_waits_for_what_runs_and_no_longer(void **state)
{
    struct world *w = open_default();
    int busy = connect_to(w), idle = connect_to(w);

    (void)state;
    expect_served(w, idle, "/echo");
    ask(busy, "PUT", "/held", "kept");
    wait_held(w, 1);
    http_server_quiesce(w->server);
    http_server_quiesce(w->server);
    assert_false(http_server_wait_idle(w->server, 1));
    let_held_go(w);
    assert_true(http_server_wait_idle(w->server, LONG_MS));
    expect_answer(w, busy, 200, "kept");
    expect_end(busy);
    expect_served(w, idle, "/echo"); /* that came in time */
    assert_string_equal(header(w, "Connection"), "close");
    expect_end(idle);
    close_world(w);
}

static void closing_answers_what_has_come_and_ends_the_rest(void **state)
{
    struct world *w = open_default();
    int idle = connect_to(w), asking = connect_to(w), blocked = connect_to(w);

    (void)state;
    expect_served(w, idle, "/echo");
    expect_served(w, asking, "/echo");
    ask(blocked, "PUT", "/blocked", "first");
    wait_for(w, &w->began, 3);
    ask(asking, "PUT", "/echo", "last");
    pthread_mutex_lock(&w->mutex);
    w->let_go = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mutex);
    http_server_close(w->server);
    w->server = NULL;
    expect_answer(w, blocked, 200, "first");
    close(blocked);
    expect_answer(w, asking, 200, "last");
    close(asking);
    expect_end(idle);
    close_world(w);
}

/* Both are one event for the loop, and none follows. */
static void a_reset_that_comes_with_its_request_is_reported(void **state)
{
    struct world *w = open_default();
    int blocked = connect_to(w), fd = connect_to(w);

    (void)state;
    expect_served(w, fd, "/echo");
    block(w, blocked);
    ask(fd, "PUT", "/held", "x");
    break_off(fd);
    let_go(w);
    wait_for(w, &w->gone, 1);
    wait_held(w, 1);
    let_held_go(w);
    expect_answer(w, blocked, 200, "first");
    close(blocked);
    wait_for(w, &w->ended, 3);
    close_world(w);
}

/* As after a stop of the process: more requests wait than the loop sees in one round. */
static void requests_that_came_in_time_are_answered_after_a_stop(void **state)
{
    enum { CROWD = 300, IDLE_MS = 200 };
    struct http_server_config config = DEFAULTS;
    static int fds[CROWD];

    (void)state;
    config.connections_max = config.per_address_max = CROWD + 1;
    config.idle_timeout_ms = IDLE_MS;
    struct world *w = open_as(config);
    int blocked = connect_to(w);
    for (int i = 0; i < CROWD; i++)
        fds[i] = connect_to(w);
    expect_served(w, fds[CROWD - 1], "/echo"); /* so all are accepted */
    block(w, blocked);
    int64_t until = clock_monotonic_ms() + IDLE_MS + 1;
    for (int i = 0; i < CROWD; i++)
        ask(fds[i], "PUT", "/echo", "in time");
    while (clock_monotonic_ms() < until)
        ; /* the idle deadlines pass */
    let_go(w);
    for (int i = 0; i < CROWD; i++) {
        expect_answer(w, fds[i], 200, "in time");
        close(fds[i]);
    }
    close(blocked);
    close_world(w);
}

/* The request comes between the loop's last look at the socket and its look at the clock. */
static void a_request_that_comes_with_its_idle_deadline_keeps_its_connection(void **state)
{
    enum { IDLE_MS = 1000 };
    struct http_server_config config = DEFAULTS;

    (void)state;
    config.idle_timeout_ms = IDLE_MS;
    struct world *w = open_as(config);
    int first = connect_to(w), second = connect_to(w), fd = connect_to(w);
    expect_served(w, fd, "/echo");
    block(w, first);
    int64_t until = clock_monotonic_ms() + IDLE_MS + 1;
    ask(second, "PUT", "/blocked", "second");
    while (clock_monotonic_ms() < until)
        ; /* the idle deadline passes */
    pthread_mutex_lock(&w->mutex);
    w->blocked = false; /* the first goes on, and the second blocks */
    pthread_cond_broadcast(&w->changed);
    while (!w->blocked)
        pthread_cond_wait(&w->changed, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    ask(fd, "PUT", "/echo", "in time");
    let_go(w);
    expect_answer(w, fd, 200, "in time");
    expect_served(w, fd, "/echo");
    expect_answer(w, first, 200, "first");
    expect_answer(w, second, 200, "second");
    close(first);
    close(second);
    close(fd);
    close_world(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_from_any_thread),
        cmocka_unit_test(an_address_above_its_limit_is_refused),
        cmocka_unit_test(
            past_those_that_wait_for_their_429_connections_are_dropped_and_counted),
        cmocka_unit_test(an_address_within_its_limit_again_is_served),
        cmocka_unit_test(at_the_limit_none_is_closed_whose_request_has_come),
        cmocka_unit_test(at_the_limit_an_idle_connection_is_closed),
        cmocka_unit_test(without_descriptors_clients_wait_and_are_served_later),
        cmocka_unit_test(clients_that_the_kernel_accepted_are_served_while_draining),
        cmocka_unit_test(draining_waits_for_what_runs_and_no_longer),
        cmocka_unit_test(closing_answers_what_has_come_and_ends_the_rest),
        cmocka_unit_test(a_reset_that_comes_with_its_request_is_reported),
        cmocka_unit_test(requests_that_came_in_time_are_answered_after_a_stop),
        cmocka_unit_test(
            a_request_that_comes_with_its_idle_deadline_keeps_its_connection),
    };

    log_start("test", LOG_ERROR);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
