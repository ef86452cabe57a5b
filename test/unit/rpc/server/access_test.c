/*
 * access_test.c - who may call, and how much: lists that are replaced while calls run,
 * files that are followed, limits of one caller.
 */
#include "unit/rpc/fixture.h"

#include "rpc/auth/reload.h"
#include "rpc/server/rate_limiter.h"

struct scene {
    struct world w;
    struct shop shop;
    const char *url;
    struct rpc_server *server;
    struct channel *channel;
};

static void scene_make_limited(struct scene *s, size_t at_once, uint32_t per_second)
{
    world_make(&s->w);
    shop_make(&s->shop);
    s->url = in(&s->w.folder, "ipc://", "shop.sock");
    ProtobufCService *services[] = {&s->shop.service.base};
    s->server = serve(&(struct rpc_server_config){.url = s->url,
                                                  .callers = s->w.callers,
                                                  .services = services,
                                                  .service_count = 1,
                                                  .in_flight_max = 16,
                                                  .caller_in_flight_max = at_once,
                                                  .caller_per_second = per_second});
    s->channel = open_channel(&s->w, s->url, 64);
}

static void scene_make(struct scene *s)
{
    scene_make_limited(s, 0, 0);
}

static void scene_end(struct scene *s)
{
    channel_close(s->channel);
    rpc_server_stop(s->server, 1000);
    world_end(&s->w);
}

/* A list with one line for the client. */
static struct principals *list_of(struct scene *s, const struct key *key,
                                  const char *methods)
{
    struct principals *principals;
    const char *path = in(&s->w.folder, "", "list");

    unlink(path);
    assert_ok(principals_allow(path, "client", key_public(key), methods));
    assert_ok(principals_read(path, true, s->w.server, &principals));
    return principals;
}

/* ---------------------------------------------------------- lists */

static void a_new_list_holds_from_the_next_request_and_leaves_those_that_run(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    ask(s.channel, "park", 20000, &a);
    shop_wait_asked(&s.shop, 1);
    struct principals *nothing = list_of(&s, s.w.client, "none.v1.None/*");
    rpc_server_set_callers(s.server, nothing);
    principals_free(nothing);
    assert_code(ask_error(s.channel, "now", 10000), ERR_PERMISSION_DENIED);
    shop_answer_parked(&s.shop, 1); /* sealed with the old list's key */
    answer_wait(&a);
    assert_ok(a.error);
    answer_end(&a);
    struct principals *stranger = list_of(&s, s.w.stranger, "*");
    rpc_server_set_callers(s.server, stranger);
    principals_free(stranger);
    assert_code(ask_error(s.channel, "now", 10000), ERR_UNAUTHENTICATED);
    rpc_server_set_callers(s.server, s.w.callers);
    assert_ok(ask_error(s.channel, "now", 10000));
    assert_int_equal(s.shop.asked, 2);
    scene_end(&s);
}

/* The same session goes on under the new list: its frames are neither lost nor repeated.
 */
static void lists_replaced_all_the_time_fail_no_call(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    for (int i = 0; i < 200; i++) {
        struct principals *same = list_of(&s, s.w.client, "*");
        rpc_server_set_callers(s.server, same);
        principals_free(same);
        assert_ok(ask_error(s.channel, i % 2 ? "now" : "later", 10000));
    }
    scene_end(&s);
}

static void a_channel_takes_the_service_s_new_key(void **state)
{
    struct scene s;
    struct principals *services;

    (void)state;
    scene_make(&s);
    assert_ok(ask_error(s.channel, "now", 10000));
    const char *path = in(&s.w.folder, "", "other_services");
    assert_ok(principals_allow(path, "server", key_public(s.w.stranger), NULL));
    assert_ok(principals_read(path, false, s.w.client, &services));
    assert_ok(channel_set_services(s.channel, services));
    principals_free(services);
    assert_code(ask_error(s.channel, "now", 10000), ERR_UNAUTHENTICATED);
    assert_ok(channel_set_services(s.channel, s.w.services));
    assert_ok(ask_error(s.channel, "now", 10000));
    const char *empty = in(&s.w.folder, "", "no_services");
    assert_ok(principals_allow(empty, "another", key_public(s.w.stranger), NULL));
    assert_ok(principals_read(empty, false, s.w.client, &services));
    assert_code(channel_set_services(s.channel, services), ERR_INVALID_ARGUMENT);
    principals_free(services);
    assert_ok(ask_error(s.channel, "now", 10000));
    scene_end(&s);
}

/* ---------------------------------------------------------- files */

static struct err use_callers(void *server, const struct principals *callers)
{
    rpc_server_set_callers(server, callers);
    return ERR_NONE;
}

static void write_file(const char *path, const char *text)
{
    char next[128];

    snprintf(next, sizeof next, "%s.next", path);
    FILE *file = fopen(next, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(rename(next, path), 0);
}

static char *read_file(const char *path)
{
    static char text[4096];
    FILE *file = fopen(path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* Until a call comes to that: the follower looks every few milliseconds here. */
static void wait_code(struct scene *s, enum err_code code)
{
    int64_t deadline = clock_monotonic_ms() + 20000;

    while (ask_error(s->channel, "now", 10000).code != code)
        assert_true(clock_monotonic_ms() < deadline);
}

static void a_server_follows_its_callers_file_and_keeps_the_last_good_list(void **state)
{
    struct scene s;
    struct follow *follow;
    char good[4096], other[4096];

    (void)state;
    scene_make(&s);
    const char *path = in(&s.w.folder, "", "callers");
    snprintf(good, sizeof good, "%s", read_file(path));
    snprintf(other, sizeof other, "%s", good);
    memset(strstr(other, "inventory.v1.Inventory/Get"), 'x', 9);
    assert_ok(follow_start(&(struct follow_config){.path = path,
                                                   .callers = true,
                                                   .key = s.w.server,
                                                   .settle_ms = 5,
                                                   .use = use_callers,
                                                   .arg = s.server},
                           &follow));
    write_file(path, other);
    wait_code(&s, ERR_PERMISSION_DENIED);
    write_file(path, good);
    wait_code(&s, ERR_OK);
    write_file(path, "client is not a line of such a list\n");
    for (int i = 0; i < 50; i++) {
        assert_ok(ask_error(s.channel, "now", 10000));
        usleep(1000);
    }
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 50; i++) {
        assert_ok(ask_error(s.channel, "now", 10000));
        usleep(1000);
    }
    write_file(path, other);
    wait_code(&s, ERR_PERMISSION_DENIED);
    follow_stop(follow);
    scene_end(&s);
}

/* ---------------------------------------------------------- limits */

static void one_caller_has_its_calls_at_once_and_no_more(void **state)
{
    struct scene s;
    struct answer parked[3];

    (void)state;
    scene_make_limited(&s, 3, 0);
    for (int i = 0; i < 3; i++)
        ask(s.channel, "park", 20000, &parked[i]);
    shop_wait_asked(&s.shop, 3);
    struct err e = ask_error(s.channel, "now", 10000);
    assert_code(e, ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(e.effect, EFFECT_NONE);
    assert_true(e.retry_after_ms > 0);
    shop_answer_parked(&s.shop, 3);
    for (int i = 0; i < 3; i++) {
        answer_wait(&parked[i]);
        assert_ok(parked[i].error);
        answer_end(&parked[i]);
    }
    assert_ok(ask_error(s.channel, "now", 10000));
    assert_int_equal(s.shop.asked, 4);
    scene_end(&s);
}

/* Health is asked by what decides whether to restart us: it must not be turned away. */
static void a_caller_past_its_limit_can_still_ask_for_health(void **state)
{
    struct scene s;
    struct answer a;
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    (void)state;
    scene_make_limited(&s, 0, 1);
    assert_ok(ask_error(s.channel, "now", 10000));
    assert_code(ask_error(s.channel, "now", 10000), ERR_RESOURCE_EXHAUSTED);
    answer_make(&a);
    channel_call(
        s.channel,
        &(struct channel_call){.method = "rpc.v1.Health/Check",
                               .request = &request.base,
                               .reply_type = &rpc__v1__health_check_reply__descriptor,
                               .arena = a.arena,
                               .deadline_ms = clock_monotonic_ms() + 10000},
        on_answer, &a);
    answer_wait(&a);
    assert_ok(a.error);
    answer_end(&a);
    scene_end(&s);
}

static void the_bucket_holds_a_second_and_the_hint_is_exact(void **state)
{
    struct rate_limiter *limits = rate_limiter_new(0, 10);
    struct caller_usage *l;
    int64_t now = 1000000;

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_ok(rate_limiter_enter(limits, "a", now, &l));
    struct err e = rate_limiter_enter(limits, "a", now, &l);
    assert_code(e, ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(e.retry_after_ms, 100);
    assert_ok(rate_limiter_enter(limits, "b", now, &l)); /* each has its own */
    assert_code(rate_limiter_enter(limits, "a", now + 99000, &l), ERR_RESOURCE_EXHAUSTED);
    assert_ok(rate_limiter_enter(limits, "a", now + 100000, &l));
    assert_code(rate_limiter_enter(limits, "a", now + 100000, &l),
                ERR_RESOURCE_EXHAUSTED);
    for (int i = 0; i < 10; i++)
        assert_ok(rate_limiter_enter(limits, "a", now + 5000000, &l));
    assert_code(rate_limiter_enter(limits, "a", now + 5000000, &l),
                ERR_RESOURCE_EXHAUSTED);
    rate_limiter_free(limits);
}

static void more_callers_than_are_remembered_share_one_limit(void **state)
{
    struct rate_limiter *limits = rate_limiter_new(1, 0);
    struct caller_usage *l, *others = NULL;
    char name[16];

    (void)state;
    for (int i = 0; i < 4096; i++) {
        snprintf(name, sizeof name, "c%d", i);
        assert_ok(rate_limiter_enter(limits, name, 0, &l));
    }
    assert_ok(rate_limiter_enter(limits, "one-more", 0, &others));
    assert_code(rate_limiter_enter(limits, "and-one-more", 0, &l),
                ERR_RESOURCE_EXHAUSTED);
    rate_limiter_leave(limits, others);
    assert_ok(rate_limiter_enter(limits, "and-one-more", 0, &l));
    rate_limiter_free(limits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_new_list_holds_from_the_next_request_and_leaves_those_that_run),
        cmocka_unit_test(lists_replaced_all_the_time_fail_no_call),
        cmocka_unit_test(a_channel_takes_the_service_s_new_key),
        cmocka_unit_test(a_server_follows_its_callers_file_and_keeps_the_last_good_list),
        cmocka_unit_test(one_caller_has_its_calls_at_once_and_no_more),
        cmocka_unit_test(a_caller_past_its_limit_can_still_ask_for_health),
        cmocka_unit_test(the_bucket_holds_a_second_and_the_hint_is_exact),
        cmocka_unit_test(more_callers_than_are_remembered_share_one_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
