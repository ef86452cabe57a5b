/*
 * cancel_test.c - a cancelled call ends at once, its callee learns of it, and no other call
 * is cancelled with it.
 */
#include "unit/rpc/fixture.h"

struct scene {
    struct world w;
    struct shop shop;
    const char *url;
    struct rpc_server *server;
    struct channel *channel;
};

static void scene_make(struct scene *s)
{
    world_make(&s->w);
    shop_make(&s->shop);
    s->url = in(&s->w.folder, "ipc://", "shop.sock");
    s->server = serve_shop(&s->w, &s->shop, s->url, 64);
    s->channel = open_channel(&s->w, s->url, 64);
}

static void scene_end(struct scene *s)
{
    channel_close(s->channel);
    rpc_server_stop(s->server, 1000);
    world_end(&s->w);
}

/* The flag of the first parked call, as a handler's store would look at it. */
static const struct cancel *flag_of(struct scene *s, size_t parked)
{
    return rpc_call_cancel(s->shop.parked[parked].data);
}

static void wait_asked(const struct cancel *cancel)
{
    int64_t deadline = clock_monotonic_ms() + 20000;

    while (!cancel_requested(cancel)) {
        assert_true(clock_monotonic_ms() < deadline);
        usleep(1000);
    }
}

static void a_cancelled_call_ends_at_once_and_its_server_learns_of_it(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    channel_ticket ticket = ask(s.channel, "park", 60000, &a);
    assert_true(ticket != 0);
    shop_wait_asked(&s.shop, 1);
    assert_false(cancel_requested(flag_of(&s, 0)));
    channel_cancel(s.channel, ticket);
    answer_wait(&a);
    assert_code(a.error, ERR_CANCELLED);
    assert_int_equal(a.error.effect, EFFECT_UNKNOWN);
    wait_asked(flag_of(&s, 0));
    shop_answer_parked(&s.shop, 1);
    assert_ok(ask_error(s.channel, "now", 10000));
    answer_end(&a);
    scene_end(&s);
}

static void a_call_that_was_never_sent_is_cancelled_without_effect(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    struct channel *nobody =
        open_channel(&s.w, in(&s.w.folder, "ipc://", "nobody.sock"), 4);
    channel_ticket ticket = ask(nobody, "now", 60000, &a);
    channel_cancel(nobody, ticket);
    answer_wait(&a);
    assert_code(a.error, ERR_CANCELLED);
    assert_int_equal(a.error.effect, EFFECT_NONE);
    answer_end(&a);
    channel_close(nobody);
    scene_end(&s);
}

/* One slot, used again and again: the ticket of an ended call must not end the next. */
static void a_ticket_of_an_ended_call_does_nothing(void **state)
{
    struct scene s;
    struct answer a, b;

    (void)state;
    scene_make(&s);
    struct channel *one = open_channel(&s.w, s.url, 1);
    channel_ticket old = ask(one, "now", 10000, &a);
    answer_wait(&a);
    assert_ok(a.error);
    answer_end(&a);
    channel_cancel(one, old);
    channel_ticket new = ask(one, "park", 20000, &b);
    assert_true(new != old);
    shop_wait_asked(&s.shop, 2);
    channel_cancel(one, old);
    channel_cancel(one, 0);
    shop_answer_parked(&s.shop, 1);
    answer_wait(&b);
    assert_ok(b.error);
    answer_end(&b);
    channel_close(one);
    scene_end(&s);
}

static void a_lost_connection_cancels_what_came_through_it_and_nothing_else(void **state)
{
    struct scene s;
    struct answer gone, stays;

    (void)state;
    scene_make(&s);
    struct channel *other = open_channel(&s.w, s.url, 4);
    ask(other, "park", 60000, &gone);
    shop_wait_asked(&s.shop, 1);
    ask(s.channel, "park", 60000, &stays);
    shop_wait_asked(&s.shop, 2);
    channel_close(other);
    answer_wait(&gone);
    answer_end(&gone);
    wait_asked(flag_of(&s, 0));
    assert_false(cancel_requested(flag_of(&s, 1)));
    shop_answer_parked(&s.shop, 2);
    answer_wait(&stays);
    assert_ok(stays.error);
    answer_end(&stays);
    scene_end(&s);
}

/* Asks to cancel the call of that id; how many were. */
static unsigned cancel_by_message(struct channel *channel, const char *id)
{
    Rpc__V1__CancelRequest request = RPC__V1__CANCEL_REQUEST__INIT;
    struct answer a;

    answer_make(&a);
    request.id = (char *)id;
    channel_call(channel,
                 &(struct channel_call){.method = "rpc.v1.Calls/Cancel",
                                        .request = &request.base,
                                        .reply_type = &rpc__v1__cancel_reply__descriptor,
                                        .arena = a.arena,
                                        .deadline_ms = clock_monotonic_ms() + 10000},
                 on_answer, &a);
    answer_wait(&a);
    assert_ok(a.error);
    unsigned count = ((const Rpc__V1__CancelReply *)(const void *)a.reply)->cancelled;
    answer_end(&a);
    return count;
}

static void nobody_can_cancel_the_calls_of_another(void **state)
{
    struct scene s;
    struct answer a;
    struct channel *channel;
    struct principals *both;
    const char *list;

    (void)state;
    scene_make(&s);
    list = in(&s.w.folder, "", "both");
    assert_ok(principals_allow(list, "client", key_public(s.w.client), "*"));
    assert_ok(principals_allow(list, "stranger", key_public(s.w.stranger), "*"));
    assert_ok(principals_read(list, true, s.w.server, &both));
    struct world w = s.w;
    w.callers = both;
    const char *url = in(&s.w.folder, "ipc://", "both.sock");
    struct rpc_server *server = serve_shop(&w, &s.shop, url, 8);
    struct channel *own = open_channel(&w, url, 8);
    assert_ok(channel_open(&(struct channel_config){.service = "server",
                                                    .addresses = url,
                                                    .key = s.w.stranger,
                                                    .services = s.w.stranger_services,
                                                    .in_flight_max = 4},
                           &channel));
    ask(own, "park", 60000, &a);
    shop_wait_asked(&s.shop, 1);
    const char *id = rpc_call_id(s.shop.parked[0].data);
    assert_int_equal(cancel_by_message(channel, id), 0);
    assert_int_equal(cancel_by_message(own, "another-id"), 0);
    assert_false(cancel_requested(flag_of(&s, 0)));
    assert_int_equal(cancel_by_message(own, id), 1);
    assert_int_equal(cancel_by_message(own, id), 0);
    assert_true(cancel_requested(flag_of(&s, 0)));
    shop_answer_parked(&s.shop, 1);
    answer_wait(&a);
    answer_end(&a);
    channel_close(channel);
    channel_close(own);
    rpc_server_stop(server, 1000);
    principals_free(both);
    scene_end(&s);
}

/* ---------------------------------------------------------- many at once */

enum { ROUNDS = 300, AT_ONCE = 16 };

struct shared {
    struct channel *channel;
    atomic_uint_fast64_t tickets[AT_ONCE];
    atomic_bool over;
};

static void *cancel_all(void *arg)
{
    struct shared *shared = arg;

    while (!atomic_load(&shared->over))
        for (int i = 0; i < AT_ONCE; i++)
            channel_cancel(shared->channel, atomic_exchange(&shared->tickets[i], 0));
    return NULL;
}

static void every_call_has_one_end_however_it_is_cancelled(void **state)
{
    struct shared shared;
    struct scene s;
    struct answer answers[AT_ONCE];
    pthread_t thread;
    int ok = 0, cancelled = 0;

    (void)state;
    scene_make(&s);
    memset(&shared, 0, sizeof shared);
    shared.channel = s.channel;
    assert_int_equal(pthread_create(&thread, NULL, cancel_all, &shared), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < AT_ONCE; i++)
            atomic_store(&shared.tickets[i],
                         ask(s.channel, i % 2 ? "now" : "later", 20000, &answers[i]));
        for (int i = 0; i < AT_ONCE; i++) {
            answer_wait(&answers[i]);
            if (failed(answers[i].error)) {
                assert_code(answers[i].error, ERR_CANCELLED);
                cancelled++;
            } else {
                ok++;
            }
            answer_end(&answers[i]);
        }
    }
    atomic_store(&shared.over, true);
    pthread_join(thread, NULL);
    assert_int_equal(ok + cancelled, ROUNDS * AT_ONCE);
    assert_ok(ask_error(s.channel, "now", 10000));
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cancelled_call_ends_at_once_and_its_server_learns_of_it),
        cmocka_unit_test(a_call_that_was_never_sent_is_cancelled_without_effect),
        cmocka_unit_test(a_ticket_of_an_ended_call_does_nothing),
        cmocka_unit_test(a_lost_connection_cancels_what_came_through_it_and_nothing_else),
        cmocka_unit_test(nobody_can_cancel_the_calls_of_another),
        cmocka_unit_test(every_call_has_one_end_however_it_is_cancelled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
