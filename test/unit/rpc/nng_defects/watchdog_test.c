/* watchdog_test.c - a server's address stays open to newcomers, whatever they do to it. */
#include "unit/rpc/fixture.h"

#include <sys/wait.h>

#include "rpc/nng_defects/nng_defects.h"

#include <errno.h>

enum { ABORTED = 50 };

struct scene {
    struct world w;
    struct shop shop;
};

static int connect_ipc(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd); /* while it listens again there is nobody for a moment */
    return -1;
}

static int connect_tcp(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    close(fd);
    return -1;
}

static void close_with_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

/* A channel that was there before lives on; one that comes after gets in. */
static void assert_open(struct world *w, struct channel *before, const char *url)
{
    assert_ok(ask_error(before, "now", 30000));
    struct channel *after = open_channel(w, url, 1);
    assert_ok(ask_error(after, "now", 30000));
    channel_close(after);
}

static void an_ipc_listener_survives_aborted_handshakes(void **state)
{
    struct scene s;

    (void)state;
    world_make(&s.w);
    shop_make(&s.shop);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *before = open_channel(&s.w, url, 1);
    assert_ok(ask_error(before, "now", 10000));
    for (int i = 0; i < ABORTED; i++) {
        int fd = connect_ipc(url + strlen("ipc://"));
        if (fd >= 0)
            close(fd);
    }
    assert_open(&s.w, before, url);
    channel_close(before);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_tcp_listener_survives_resets_in_the_handshake(void **state)
{
    struct scene s;
    char url[64];
    int port = free_port();

    (void)state;
    world_make(&s.w);
    shop_make(&s.shop);
    snprintf(url, sizeof url, "tcp://127.0.0.1:%d", port);
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *before = open_channel(&s.w, url, 1);
    assert_ok(ask_error(before, "now", 10000));
    for (int i = 0; i < ABORTED; i++) {
        int fd = connect_tcp(port);
        if (fd < 0)
            continue;
        if (i % 2 == 0)
            shutdown(fd, SHUT_WR); /* FIN, then RST */
        close_with_reset(fd);
    }
    assert_open(&s.w, before, url);
    channel_close(before);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_server_on_every_address_is_watched_through_the_loopback(void **state)
{
    struct scene s;
    char url[64], dial[64];
    int port = free_port();

    (void)state;
    world_make(&s.w);
    shop_make(&s.shop);
    snprintf(url, sizeof url, "tcp://*:%d", port);
    snprintf(dial, sizeof dial, "tcp://127.0.0.1:%d", port);
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *before = open_channel(&s.w, dial, 1);
    assert_ok(ask_error(before, "now", 10000));
    for (int i = 0; i < ABORTED; i++) {
        int fd = connect_tcp(port);
        if (fd >= 0)
            close_with_reset(fd);
    }
    assert_open(&s.w, before, dial);
    channel_close(before);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* ---------------------------------------------------------- a thousand of them */

enum { THOUSAND = 1000 };

/* One server, somebody who was there before, and who aborts a thousand handshakes. */
struct siege {
    struct scene s;
    char url[80];
    int port; /* 0: ipc */
    struct rpc_server *server;
    struct channel *before;
    atomic_int aborted;
};

/* In turn: nothing was said, or the half of SP's header (which is eight bytes); and then a
 * close, a reset, or an end followed by a reset. */
static void abort_one(struct siege *siege, int i)
{
    int fd = siege->port == 0 ? connect_ipc(siege->url + strlen("ipc://"))
                              : connect_tcp(siege->port);

    if (fd < 0)
        return;
    if (i % 2 == 1)
        (void)!send(fd, "\0SP\0", 4, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (i % 3 == 2)
        shutdown(fd, SHUT_WR);
    if (i % 3 == 0)
        close(fd);
    else
        close_with_reset(fd);
    atomic_fetch_add(&siege->aborted, 1);
}

/* Nobody joins it: it is over when its last attack is counted.  Were it to be joined, a hang
 * that ends the process before that would be a thread leak to ThreadSanitizer. */
static void *lay_siege(void *arg)
{
    struct siege *siege = arg;

    pthread_detach(pthread_self());
    for (int i = 0; atomic_load(&siege->aborted) < THOUSAND; i++)
        abort_one(siege, i);
    return NULL;
}

static void siege_begin(struct siege *siege, bool tcp)
{
    memset(siege, 0, sizeof *siege);
    world_make(&siege->s.w);
    shop_make(&siege->s.shop);
    siege->port = tcp ? free_port() : 0;
    if (tcp)
        snprintf(siege->url, sizeof siege->url, "tcp://127.0.0.1:%d", siege->port);
    else
        snprintf(siege->url, sizeof siege->url, "%s",
                 in(&siege->s.w.folder, "ipc://", "a.sock"));
    siege->server = serve_shop(&siege->s.w, &siege->s.shop, siege->url, 4);
    siege->before = open_channel(&siege->s.w, siege->url, 1);
    assert_ok(ask_error(siege->before, "now", 30000));
}

static void siege_end(struct siege *siege)
{
    assert_open(&siege->s.w, siege->before, siege->url);
    channel_close(siege->before);
    rpc_server_stop(siege->server, 1000);
    world_end(&siege->s.w);
}

static bool over(struct siege *siege)
{
    return atomic_load(&siege->aborted) >= THOUSAND;
}

/* Listening again resets the connection, so some calls are asked twice; none fails. */
static void a_thousand_aborted_handshakes_fail_no_call_and_shut_nobody_out(void **state)
{
    static struct siege sieges[2]; /* ipc and tcp, at the same time */
    pthread_t thread;
    int calls = 1;

    (void)state;
    for (int i = 0; i < 2; i++) {
        siege_begin(&sieges[i], i == 1);
        assert_int_equal(pthread_create(&thread, NULL, lay_siege, &sieges[i]), 0);
    }
    for (; !over(&sieges[0]) || !over(&sieges[1]); calls++)
        for (int i = 0; i < 2; i++)
            assert_ok(ask_error(sieges[i].before, "now", 30000));
    for (int i = 0; i < 2; i++) {
        assert_true(sieges[i].s.shop.asked >= calls);
        siege_end(&sieges[i]);
    }
}

static void a_stopped_server_leaves_its_address_free(void **state)
{
    struct scene s;

    (void)state;
    world_make(&s.w);
    shop_make(&s.shop);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    for (int i = 0; i < 5; i++)
        rpc_server_stop(serve_shop(&s.w, &s.shop, url, 4), 1000);
    assert_int_equal(access(url + strlen("ipc://"), F_OK), -1);
    assert_int_equal(errno, ENOENT);
    world_end(&s.w);
}

static void an_address_in_use_is_a_clear_error(void **state)
{
    struct scene s;
    struct rpc_server *second;

    (void)state;
    world_make(&s.w);
    shop_make(&s.shop);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 1);
    struct rpc_server_config config = {
        .url = url, .callers = s.w.callers, .in_flight_max = 1};
    struct err e = rpc_server_start(&config, &second);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_non_null(strstr(e.message, url));
    config.url = "nonsense";
    assert_code(rpc_server_start(&config, &second), ERR_INVALID_ARGUMENT);
    assert_ok(ask_error(channel, "now", 30000));
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ipc_listener_survives_aborted_handshakes),
        cmocka_unit_test(a_tcp_listener_survives_resets_in_the_handshake),
        cmocka_unit_test(a_server_on_every_address_is_watched_through_the_loopback),
        cmocka_unit_test(a_thousand_aborted_handshakes_fail_no_call_and_shut_nobody_out),
        cmocka_unit_test(a_stopped_server_leaves_its_address_free),
        cmocka_unit_test(an_address_in_use_is_a_clear_error),
    };

    /* A siege meets nng's hang now and then (one run in twenty on a busy machine); then the
     * process ends, as it should, and is started again, as a supervisor would. */
    for (int starts = 0; starts < 3; starts++) {
        int status = 0;
        pid_t child = fork();
        if (child == 0)
            exit(cmocka_run_group_tests(tests, NULL, NULL));
        if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
            return 1;
        if (WEXITSTATUS(status) != CLOSE_EXIT_HANGS)
            return WEXITSTATUS(status);
    }
    return 1;
}
