/*
 * channel_test.c - every call is answered exactly once, and what is said of its effect is
 * true: with servers that die, hang, come back, or are not there.
 */
#include "unit/rpc/fixture.h"

#include "base/cork.h"
#include "rpc/wire/batch.h"

struct scene {
    struct world w;
    struct shop shop;
};

static void scene_make(struct scene *s)
{
    world_make(&s->w);
    shop_make(&s->shop);
}

/* Waits for each, and ends it. */
static void all_succeed(struct answer *answers, int count)
{
    for (int i = 0; i < count; i++) {
        answer_wait(&answers[i]);
        assert_ok(answers[i].error);
        answer_end(&answers[i]);
    }
}

/* ---------------------------------------------------------- nng's facts */

static nng_socket raw_request_socket(const char *url)
{
    nng_socket socket;

    assert_int_equal(nng_req0_open(&socket), 0);
    nng_socket_set_ms(socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, 10000);
    assert_int_equal(nng_dial(socket, url, NULL, NNG_FLAG_NONBLOCK), 0);
    return socket;
}

/* The channel tells "not sent" from "sent and lost" by these two. */
static void nng_without_a_connection_ends_a_send_at_its_time_limit(void **state)
{
    struct folder f;
    nng_msg *message;

    (void)state;
    folder_make(&f);
    nng_socket socket = raw_request_socket(in(&f, "ipc://", "nobody.sock"));
    nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, 50);
    assert_int_equal(nng_msg_alloc(&message, 8), 0);
    assert_int_equal(nng_sendmsg(socket, message, 0), NNG_ETIMEDOUT);
    nng_msg_free(message);
    nng_close(socket);
    folder_remove(&f);
}

static void nng_tells_a_waiting_request_that_its_server_died(void **state)
{
    struct folder f;
    nng_socket server;
    nng_msg *message;

    (void)state;
    folder_make(&f);
    const char *url = in(&f, "ipc://", "dying.sock");
    assert_int_equal(nng_rep0_open(&server), 0);
    assert_int_equal(nng_listen(server, url, NULL, 0), 0);
    nng_socket socket = raw_request_socket(url);
    assert_int_equal(nng_msg_alloc(&message, 8), 0);
    assert_int_equal(nng_sendmsg(socket, message, 0), 0);
    assert_int_equal(nng_recvmsg(server, &message, 0), 0);
    nng_msg_free(message);
    nng_close(server);
    assert_int_equal(nng_recvmsg(socket, &message, 0), NNG_ECONNRESET);
    nng_close(socket);
    folder_remove(&f);
}

/* ---------------------------------------------------------- limits */

static void five_hundred_calls_at_once_are_each_answered(void **state)
{
    enum { CALLS = 512 };
    static struct answer answers[CALLS];
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, CALLS);
    struct channel *channel = open_channel(&s.w, url, CALLS);
    for (int i = 0; i < CALLS; i++)
        ask(channel, "park", 60000, &answers[i]);
    assert_code(ask_error(channel, "now", 1000), ERR_RESOURCE_EXHAUSTED);
    shop_answer_parked(&s.shop, CALLS);
    for (int i = 0; i < CALLS; i++) {
        answer_wait(&answers[i]);
        assert_ok(answers[i].error);
        assert_string_equal(answers[i].stock->sku, "parked");
        answer_end(&answers[i]);
    }
    assert_ok(ask_error(channel, "now", 10000));
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* A service made of a bare socket sees what is sent. */
static void calls_of_one_moment_are_one_message(void **state)
{
    enum { CALLS = 30 };
    static struct answer answers[CALLS];
    struct scene s;
    nng_socket socket;
    nng_msg *message;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    assert_int_equal(nng_rep0_open(&socket), 0);
    assert_int_equal(nng_listen(socket, url, NULL, 0), 0);
    struct channel *channel = open_channel(&s.w, url, CALLS);
    cork_begin();
    for (int i = 0; i < CALLS; i++)
        ask(channel, "now", 60000, &answers[i]);
    cork_end();
    assert_int_equal(nng_recvmsg(socket, &message, 0), 0);
    uint8_t *body = nng_msg_body(message);
    assert_true(rpc_batch_valid(body, nng_msg_len(message), CALLS));
    assert_false(rpc_batch_valid(body, nng_msg_len(message), CALLS - 1));
    nng_msg_free(message);
    channel_close(channel);
    for (int i = 0; i < CALLS; i++) {
        answer_wait(&answers[i]);
        assert_int_equal(answers[i].error.code, ERR_CANCELLED);
        answer_end(&answers[i]);
    }
    nng_close(socket);
    world_end(&s.w);
}

static void more_calls_than_a_server_takes_at_once_wait_their_turn(void **state)
{
    enum { CALLS = 200 };
    static struct answer answers[CALLS];
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 2);
    struct channel *channel = open_channel(&s.w, url, CALLS);
    for (int i = 0; i < CALLS; i++)
        ask(channel, "later", 60000, &answers[i]);
    all_succeed(answers, CALLS);
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_request_too_large_is_refused_before_it_is_sent(void **state)
{
    struct scene s;
    char *sku = malloc(2 << 20);

    (void)state;
    scene_make(&s);
    memset(sku, 'x', 2 << 20);
    sku[(2 << 20) - 1] = '\0';
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 2);
    struct channel *channel = open_channel(&s.w, url, 2);
    assert_code(ask_error(channel, sku, 10000), ERR_INVALID_ARGUMENT);
    sku[(1 << 20) - 2000] = '\0';
    assert_ok(ask_error(channel, sku, 10000));
    channel_close(channel);
    rpc_server_stop(server, 1000);
    free(sku);
    world_end(&s.w);
}

static void a_channel_that_cannot_work_is_not_opened(void **state)
{
    struct scene s;
    struct channel *channel;

    (void)state;
    scene_make(&s);
    struct channel_config config = {.service = "server",
                                    .addresses = "ipc:///a,nonsense",
                                    .key = s.w.client,
                                    .services = s.w.services,
                                    .in_flight_max = 1};
    assert_code(channel_open(&config, &channel), ERR_INVALID_ARGUMENT);
    config.addresses = "";
    assert_code(channel_open(&config, &channel), ERR_INVALID_ARGUMENT);
    config.addresses = "ipc:///a";
    config.service = "nobody";
    assert_code(channel_open(&config, &channel), ERR_INVALID_ARGUMENT);
    world_end(&s.w);
}

/* ---------------------------------------------------------- deadlines */

static void without_a_server_the_call_is_unavailable_and_did_nothing(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    struct channel *channel =
        open_channel(&s.w, in(&s.w.folder, "ipc://", "none.sock"), 4);
    struct err e = ask_error(channel, "now", 100);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_int_equal(e.effect, EFFECT_NONE);
    channel_close(channel);
    world_end(&s.w);
}

/* Longer than one attempt: what a pause leaves behind must not pass for "sent". */
static void without_a_server_a_second_attempt_did_nothing_either(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    struct channel *channel =
        open_channel(&s.w, in(&s.w.folder, "ipc://", "none.sock"), 4);
    struct err e = ask_error(channel, "now", 1200);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_int_equal(e.effect, EFFECT_NONE);
    channel_close(channel);
    world_end(&s.w);
}

static size_t parked(struct shop *shop)
{
    pthread_mutex_lock(&shop->lock);
    size_t count = shop->parked_count;
    pthread_mutex_unlock(&shop->lock);
    return count;
}

static void without_an_answer_in_time_the_effect_is_unknown(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 4);
    assert_ok(ask_error(channel, "now", 10000));
    /* On a loaded machine a request may arrive too late to be run at all. */
    for (int64_t ms = 100; parked(&s.shop) == 0; ms *= 2) {
        struct err e = ask_error(channel, "park", ms);
        assert_int_equal(e.code, ERR_DEADLINE_EXCEEDED);
        assert_int_equal(e.effect, EFFECT_UNKNOWN);
        assert_true(ms < 60000);
    }
    shop_answer_parked(&s.shop, parked(&s.shop)); /* too late for the caller */
    assert_ok(ask_error(channel, "now", 10000));
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_deadline_already_over_is_not_sent(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 4);
    struct err e = ask_error(channel, "now", -1);
    assert_int_equal(e.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(e.effect, EFFECT_NONE);
    assert_int_equal(s.shop.asked, 0);
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* ---------------------------------------------------------- retries */

static void an_unavailable_callee_is_asked_again_and_others_are_not(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 4);
    s.shop.unavailable_for = 3;
    assert_ok(ask_error(channel, "flaky", 20000));
    assert_int_equal(s.shop.asked, 4);
    assert_code(ask_error(channel, "busy", 20000), ERR_RESOURCE_EXHAUSTED);
    assert_code(ask_error(channel, "short", 20000), ERR_OUT_OF_STOCK);
    assert_int_equal(s.shop.asked, 6);
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_callee_that_stays_unavailable_has_effect_none(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 4);
    assert_ok(ask_error(channel, "now", 10000));
    s.shop.unavailable_for = 1000000;
    struct err e = ask_error(channel, "flaky", 200);
    assert_int_equal(e.code, ERR_UNAVAILABLE);
    assert_int_equal(e.effect, EFFECT_NONE);
    assert_string_equal(e.message, "not just now");
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

static void a_server_that_comes_back_answers_the_calls_in_flight(void **state)
{
    enum { CALLS = 64 };
    static struct answer answers[CALLS];
    struct scene s;

    (void)state;
    scene_make(&s);
    for (int tcp = 0; tcp < 2; tcp++) {
        char address[64];
        snprintf(address, sizeof address, "tcp://127.0.0.1:%d", free_port());
        const char *url = tcp ? address : in(&s.w.folder, "ipc://", "a.sock");
        s.shop.asked = 0;
        struct rpc_server *server = serve_shop(&s.w, &s.shop, url, CALLS);
        struct channel *channel = open_channel(&s.w, url, CALLS);
        for (int i = 0; i < CALLS; i++)
            ask(channel, "park", 60000, &answers[i]);
        shop_wait_asked(&s.shop, CALLS);
        rpc_server_stop(server, 0);
        shop_answer_parked(&s.shop, CALLS); /* answered to nobody */
        server = serve_shop(&s.w, &s.shop, url, CALLS);
        shop_wait_asked(&s.shop, 2 * CALLS);
        shop_answer_parked(&s.shop, CALLS);
        all_succeed(answers, CALLS);
        channel_close(channel);
        rpc_server_stop(server, 1000);
    }
    world_end(&s.w);
}

/* Told to come back in a minute, a call of ten seconds does not ask again. */
static void a_callees_retry_after_is_waited_for(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
    struct channel *channel = open_channel(&s.w, url, 4);
    s.shop.unavailable_for = 1;
    s.shop.hint_ms = 60000;
    assert_code(ask_error(channel, "flaky", 10000), ERR_UNAVAILABLE);
    assert_int_equal(s.shop.asked, 1);
    s.shop.unavailable_for = 1;
    s.shop.hint_ms = 1;
    assert_ok(ask_error(channel, "flaky", 10000));
    assert_int_equal(s.shop.asked, 3);
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* A list in which the client may call nothing of this. */
static struct principals *old_list(struct world *w)
{
    struct principals *principals;
    const char *list = in(&w->folder, "", "fewer");

    assert_ok(principals_allow(list, "client", key_public(w->client), "none.v1.None/*"));
    assert_ok(principals_read(list, true, w->server, &principals));
    return principals;
}

static struct err count_health(void *asked)
{
    atomic_fetch_add((atomic_int *)asked, 1);
    return ERR_NONE;
}

/* A replica that refuses every GetStock: by an old list, or having no such method. */
static struct rpc_server *serve_nothing(const char *url, const struct principals *callers,
                                        atomic_int *asked)
{
    struct rpc_server_config config = {.url = url,
                                       .callers = callers,
                                       .in_flight_max = 4,
                                       .health = asked == NULL ? NULL : count_health,
                                       .health_arg = asked};

    return serve(&config);
}

/* What a later refusal says of itself is no news of the attempt that was lost. */
static void a_lost_attempt_stays_unknown_though_the_next_is_refused(void **state)
{
    static const enum err_code refusals[] = {ERR_PERMISSION_DENIED, ERR_UNIMPLEMENTED};
    struct scene s;

    (void)state;
    scene_make(&s);
    struct principals *fewer = old_list(&s.w);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    for (size_t i = 0; i < 2; i++) {
        struct answer a;
        struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
        struct channel *channel = open_channel(&s.w, url, 4);
        ask(channel, "park", 60000, &a);
        shop_wait_asked(&s.shop, (int)i + 1);
        rpc_server_stop(server, 0);
        shop_answer_parked(&s.shop, 1);
        server = serve_nothing(url, i == 0 ? fewer : s.w.callers, NULL);
        answer_wait(&a);
        assert_int_equal(a.error.code, refusals[i]);
        assert_int_equal(a.error.effect, EFFECT_UNKNOWN);
        answer_end(&a);
        channel_close(channel);
        rpc_server_stop(server, 1000);
    }
    principals_free(fewer);
    world_end(&s.w);
}

/* ---------------------------------------------------------- addresses */

static void a_dead_address_is_passed_over(void **state)
{
    struct scene s;
    char addresses[400];

    (void)state;
    scene_make(&s);
    snprintf(addresses, sizeof addresses, "%s,%s, tcp://127.0.0.1:%d",
             in(&s.w.folder, "ipc://", "dead.sock"), in(&s.w.folder, "ipc://", "a.sock"),
             free_port());
    struct rpc_server *server =
        serve_shop(&s.w, &s.shop, in(&s.w.folder, "ipc://", "a.sock"), 4);
    struct channel *channel = open_channel(&s.w, addresses, 4);
    for (int i = 0; i < 100; i++)
        assert_ok(ask_error(channel, "now", 20000));
    channel_close(channel);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* Takes one connection at a Unix address and ends it, as a server that dies just then. */
static void cut_short_a_handshake(int listener, const char *path)
{
    int fd = accept(listener, NULL, NULL);

    assert_true(fd >= 0);
    close(fd);
    close(listener);
    unlink(path);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_return_code(listen(fd, 8), 0);
    return fd;
}

/* More often than not that ends nng's dialler for good; of ten, one surely. */
static void a_server_that_dies_in_a_handshake_is_found_when_it_is_back(void **state)
{
    struct scene s;
    char name[16];

    (void)state;
    scene_make(&s);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "%d.sock", i);
        const char *path = in(&s.w.folder, "", name);
        int listener = listen_at(path);
        const char *url = in(&s.w.folder, "ipc://", name);
        struct channel *channel = open_channel(&s.w, url, 4);
        cut_short_a_handshake(listener, path);
        struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 4);
        assert_ok(ask_error(channel, "now", 20000));
        channel_close(channel);
        rpc_server_stop(server, 1000);
    }
    world_end(&s.w);
}

static void a_hung_address_does_not_take_the_time_of_another(void **state)
{
    struct scene s;
    struct shop hung;
    char addresses[400];

    (void)state;
    scene_make(&s);
    shop_make(&hung);
    const char *a = in(&s.w.folder, "ipc://", "a.sock");
    const char *b = in(&s.w.folder, "ipc://", "b.sock");
    snprintf(addresses, sizeof addresses, "%s,%s", a, b);
    struct rpc_server *well = serve_shop(&s.w, &s.shop, a, 4);
    nng_socket silent; /* takes connections and requests, answers nothing */
    assert_int_equal(nng_rep0_open(&silent), 0);
    assert_int_equal(nng_listen(silent, b, NULL, 0), 0);
    struct channel *channel = open_channel(&s.w, addresses, 4);
    while (s.shop.asked == 0)
        (void)ask_error(channel, "now",
                        2000); /* until the one that is well is connected */
    s.shop.asked = 0;
    for (int i = 0; i < 20; i++)
        assert_ok(ask_error(channel, "now", 2000));
    assert_int_equal(s.shop.asked, 20);
    channel_close(channel);
    rpc_server_stop(well, 1000);
    nng_close(silent);
    world_end(&s.w);
}

/* Asks for health until the replica that counts in `asked` was the one that answered: it
 * is connected then, and does not rest. */
static void wait_healthy(struct channel *channel, atomic_int *asked)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    for (int before = atomic_load(asked); atomic_load(asked) == before;) {
        struct answer a;
        answer_make(&a);
        struct channel_call call = {.method = "rpc.v1.Health/Check",
                                    .request = &request.base,
                                    .reply_type =
                                        &rpc__v1__health_check_reply__descriptor,
                                    .arena = a.arena,
                                    .deadline_ms = clock_monotonic_ms() + 20000};
        channel_call(channel, &call, on_answer, &a);
        answer_wait(&a);
        assert_ok(a.error);
        answer_end(&a);
    }
}

static void a_replica_that_rejects_us_is_passed_over(void **state)
{
    struct scene s;
    char addresses[400];
    atomic_int asked = 0;

    (void)state;
    scene_make(&s);
    struct principals *fewer = old_list(&s.w);
    const char *a = in(&s.w.folder, "ipc://", "a.sock");
    const char *b = in(&s.w.folder, "ipc://", "b.sock");
    snprintf(addresses, sizeof addresses, "%s,%s", a, b);
    struct rpc_server *well = serve_shop(&s.w, &s.shop, a, 4);
    for (int i = 0; i < 2; i++) {
        struct rpc_server *old = serve_nothing(b, i ? fewer : s.w.callers, &asked);
        struct channel *channel = open_channel(&s.w, addresses, 4);
        for (int before = s.shop.asked; s.shop.asked == before;)
            (void)ask_error(channel, "now", 20000); /* until the other is connected */
        for (int n = 0; n < 20; n++) {
            wait_healthy(channel, &asked);
            assert_ok(ask_error(channel, "now", 20000));
            assert_ok(ask_error(channel, "now", 20000));
        }
        channel_close(channel);
        rpc_server_stop(old, 1000);
    }
    rpc_server_stop(well, 1000);
    principals_free(fewer);
    world_end(&s.w);
}

static void what_every_replica_refuses_is_refused_before_the_deadline(void **state)
{
    struct scene s;
    char addresses[400];

    (void)state;
    scene_make(&s);
    struct principals *fewer = old_list(&s.w);
    const char *a = in(&s.w.folder, "ipc://", "a.sock");
    const char *b = in(&s.w.folder, "ipc://", "b.sock");
    snprintf(addresses, sizeof addresses, "%s,%s", a, b);
    struct rpc_server *one = serve_nothing(a, fewer, NULL);
    struct rpc_server *two = serve_nothing(b, fewer, NULL);
    struct channel *channel = open_channel(&s.w, addresses, 4);
    struct err e = ask_error(channel, "now", 600000); /* longer than a test may take */
    assert_int_equal(e.code, ERR_PERMISSION_DENIED);
    assert_int_equal(e.effect, EFFECT_NONE);
    channel_close(channel);
    rpc_server_stop(one, 1000);
    rpc_server_stop(two, 1000);
    principals_free(fewer);
    world_end(&s.w);
}

enum { REPLICA_CALLS = 40 };

/* Two replicas, both connected to, and calls whose answers wait for both. */
struct replicas {
    struct scene s;
    struct shop second;
    struct rpc_server *one, *two;
    struct channel *channel;
    struct answer answers[REPLICA_CALLS];
};

static void replicas_make(struct replicas *r)
{
    char addresses[400];

    scene_make(&r->s);
    shop_make(&r->second);
    const char *a = in(&r->s.w.folder, "ipc://", "a.sock");
    const char *b = in(&r->s.w.folder, "ipc://", "b.sock");
    snprintf(addresses, sizeof addresses, "%s,%s", a, b);
    r->one = serve_shop(&r->s.w, &r->s.shop, a, REPLICA_CALLS);
    r->two = serve_shop(&r->s.w, &r->second, b, REPLICA_CALLS);
    r->channel = open_channel(&r->s.w, addresses, REPLICA_CALLS);
    while (r->s.shop.asked == 0 || r->second.asked == 0)
        assert_ok(ask_error(r->channel, "now", 20000)); /* until both are connected */
    r->s.shop.asked = r->second.asked = 0;
}

/* Each has had half of the calls, and answers them. */
static void replicas_end(struct replicas *r)
{
    shop_answer_parked(&r->s.shop, REPLICA_CALLS / 2);
    shop_answer_parked(&r->second, REPLICA_CALLS / 2);
    all_succeed(r->answers, REPLICA_CALLS);
    channel_close(r->channel);
    rpc_server_stop(r->one, 1000);
    rpc_server_stop(r->two, 1000);
    world_end(&r->s.w);
}

static void calls_are_spread_over_the_replicas(void **state)
{
    static struct replicas r;

    (void)state;
    replicas_make(&r);
    for (int i = 0; i < REPLICA_CALLS; i++)
        ask(r.channel, "park", 60000, &r.answers[i]);
    replicas_end(&r);
}

/* Until the two were asked so often together. */
static void wait_asked(struct shop *a, struct shop *b, int count)
{
    for (int asked = 0; asked < count; sched_yield()) {
        pthread_mutex_lock(&a->lock);
        pthread_mutex_lock(&b->lock);
        asked = a->asked + b->asked;
        pthread_mutex_unlock(&b->lock);
        pthread_mutex_unlock(&a->lock);
    }
}

/* A moment's calls go to one replica, and the next moment's to the other, as it has less to
 * do. */
static void calls_of_one_moment_stay_together(void **state)
{
    static struct replicas r;

    (void)state;
    replicas_make(&r);
    for (int half = 0; half < 2; half++) {
        cork_begin();
        for (int i = 0; i < REPLICA_CALLS / 2; i++)
            ask(r.channel, "park", 60000, &r.answers[half * REPLICA_CALLS / 2 + i]);
        cork_end();
        wait_asked(&r.s.shop, &r.second, (half + 1) * REPLICA_CALLS / 2);
        if (half == 0)
            assert_true(r.s.shop.asked == 0 || r.second.asked == 0);
    }
    replicas_end(&r);
}

/* ---------------------------------------------------------- false answers */

struct liar {
    nng_socket socket;
    const void *answer;
    size_t size;
};

static void *lie(void *arg)
{
    struct liar *liar = arg;
    nng_msg *message;

    if (nng_recvmsg(liar->socket, &message, 0) != 0)
        return NULL;
    nng_msg_clear(message);
    nng_msg_append(message, liar->answer, liar->size);
    nng_sendmsg(liar->socket, message, 0);
    return NULL;
}

static void an_answer_nobody_sealed_proves_nothing(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } answers[] = {{"", 0},
                   {"\0\1", 2},
                   {"\1garbage", 8},
                   {"\1ggggggggggggggggttttttttttttttttcccccccc", 41}};
    struct scene s;

    (void)state;
    scene_make(&s);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        struct liar liar = {.answer = answers[i].bytes, .size = answers[i].size};
        pthread_t thread;
        const char *url = in(&s.w.folder, "ipc://", "liar.sock");
        assert_int_equal(nng_rep0_open(&liar.socket), 0);
        assert_int_equal(nng_listen(liar.socket, url, NULL, 0), 0);
        assert_int_equal(pthread_create(&thread, NULL, lie, &liar), 0);
        struct channel *channel = open_channel(&s.w, url, 1);
        struct err e = ask_error(channel, "now", 20000);
        assert_int_equal(e.code, ERR_UNAUTHENTICATED);
        assert_int_equal(e.effect, EFFECT_UNKNOWN);
        pthread_join(thread, NULL);
        channel_close(channel);
        nng_close(liar.socket);
    }
    world_end(&s.w);
}

/* ---------------------------------------------------------- closing */

static void closing_ends_every_call_with_cancelled(void **state)
{
    struct scene s;
    static struct answer answers[40];

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, 40);
    struct channel *served = open_channel(&s.w, url, 20);
    struct channel *alone =
        open_channel(&s.w, in(&s.w.folder, "ipc://", "none.sock"), 20);
    for (int i = 0; i < 40; i++)
        ask(i < 20 ? served : alone, "park", 60000, &answers[i]);
    shop_wait_asked(&s.shop, 20);
    channel_close(served);
    channel_close(alone);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(answers[i].times, 1);
        assert_int_equal(answers[i].error.code, ERR_CANCELLED);
        assert_int_equal(answers[i].error.effect, EFFECT_UNKNOWN);
        answer_end(&answers[i]);
    }
    shop_answer_parked(&s.shop, 20);
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

/* Calls that try again in the same moment: what one sends for all can be answered, and the
 * channel closed, while another is still on its way out of its attempt. */
static void closing_waits_for_calls_that_retry(void **state)
{
    enum { ROUNDS = 100, CALLS = 8 };
    static struct answer answers[CALLS];
    struct scene s;

    (void)state;
    scene_make(&s);
    const char *url = in(&s.w.folder, "ipc://", "a.sock");
    struct rpc_server *server = serve_shop(&s.w, &s.shop, url, CALLS);
    s.shop.hint_ms = 1;
    for (int round = 0; round < ROUNDS; round++) {
        struct channel *channel = open_channel(&s.w, url, CALLS);
        s.shop.unavailable_for = CALLS;
        for (int i = 0; i < CALLS; i++)
            ask(channel, "flaky", 60000, &answers[i]);
        all_succeed(answers, CALLS);
        channel_close(channel);
    }
    rpc_server_stop(server, 1000);
    world_end(&s.w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nng_without_a_connection_ends_a_send_at_its_time_limit),
        cmocka_unit_test(nng_tells_a_waiting_request_that_its_server_died),
        cmocka_unit_test(five_hundred_calls_at_once_are_each_answered),
        cmocka_unit_test(calls_of_one_moment_are_one_message),
        cmocka_unit_test(more_calls_than_a_server_takes_at_once_wait_their_turn),
        cmocka_unit_test(a_request_too_large_is_refused_before_it_is_sent),
        cmocka_unit_test(a_channel_that_cannot_work_is_not_opened),
        cmocka_unit_test(without_a_server_the_call_is_unavailable_and_did_nothing),
        cmocka_unit_test(without_a_server_a_second_attempt_did_nothing_either),
        cmocka_unit_test(without_an_answer_in_time_the_effect_is_unknown),
        cmocka_unit_test(a_deadline_already_over_is_not_sent),
        cmocka_unit_test(an_unavailable_callee_is_asked_again_and_others_are_not),
        cmocka_unit_test(a_callee_that_stays_unavailable_has_effect_none),
        cmocka_unit_test(a_server_that_comes_back_answers_the_calls_in_flight),
        cmocka_unit_test(a_callees_retry_after_is_waited_for),
        cmocka_unit_test(a_lost_attempt_stays_unknown_though_the_next_is_refused),
        cmocka_unit_test(a_dead_address_is_passed_over),
        cmocka_unit_test(a_server_that_dies_in_a_handshake_is_found_when_it_is_back),
        cmocka_unit_test(a_hung_address_does_not_take_the_time_of_another),
        cmocka_unit_test(a_replica_that_rejects_us_is_passed_over),
        cmocka_unit_test(what_every_replica_refuses_is_refused_before_the_deadline),
        cmocka_unit_test(calls_are_spread_over_the_replicas),
        cmocka_unit_test(calls_of_one_moment_stay_together),
        cmocka_unit_test(an_answer_nobody_sealed_proves_nothing),
        cmocka_unit_test(closing_ends_every_call_with_cancelled),
        cmocka_unit_test(closing_waits_for_calls_that_retry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
