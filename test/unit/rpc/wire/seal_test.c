/* seal_test.c - a frame opens for whom it was sealed, unchanged, and as what it is. */
#include "unit/rpc/fixture.h"

#include "rpc/wire/seal.h"

enum { TEXT_SIZE = 100, FRAME_MAX = 256 };

/* A request of the client's to the server, and who is who. */
struct scene {
    struct world w;
    const struct principal *server;
    struct seal_session session;
    uint8_t nonce[SEAL_NONCE_SIZE];
    uint8_t frame[FRAME_MAX];
    size_t size;
};

static void scene_make(struct scene *s)
{
    world_make(&s->w);
    s->server = principals_find(s->w.services, "server", 6);
    seal_session_start(&s->session, key_public(s->w.client), s->server->public_key);
    seal_session_next(&s->session, s->nonce);
    s->size = seal_request_overhead("client") + TEXT_SIZE;
    memset(s->frame, 'x', s->size);
    seal_request(s->frame, s->size, "client", s->nonce, s->server->shared);
}

static bool opens(struct scene *s, const uint8_t *frame, size_t size,
                  struct seal_opened *out)
{
    static uint8_t copy[FRAME_MAX];

    memcpy(copy, frame, size);
    return seal_open_request(copy, size, s->w.callers, out);
}

static void a_sealed_request_opens_as_it_was(void **state)
{
    struct scene s;
    struct seal_opened opened;
    uint8_t expected[TEXT_SIZE];

    (void)state;
    scene_make(&s);
    memset(expected, 'x', sizeof expected);
    assert_true(opens(&s, s.frame, s.size, &opened));
    assert_string_equal(opened.caller->name, "client");
    assert_int_equal(opened.size, TEXT_SIZE);
    assert_memory_equal(opened.text, expected, TEXT_SIZE);
    assert_int_equal(seal_counter_of(&opened), 1);
    world_end(&s.w);
}

/* For every way the public keys of the three may be ordered: each frame says which of its two
 * is the greater. */
static void what_is_sealed_to_the_earlier_key_opens_and_is_answered_with_it(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct scene s;
        struct seal_opened opened;
        struct principals *callers;
        struct key *now;
        uint8_t answer[FRAME_MAX], salt[SEAL_SALT_SIZE] = {0}, *text;
        size_t size;

        scene_make(&s);
        const char *path = in(&s.w.folder, "", "now");
        assert_ok(key_create(path, "server"));
        assert_ok(key_read(path, &now));
        assert_ok(principals_read(in(&s.w.folder, "", "callers"), true, now, &callers));
        principals_free(s.w.callers);
        s.w.callers = callers;
        assert_false(opens(&s, s.frame, s.size, &opened)); /* it has not had another */
        key_succeed(now, s.w.server);
        assert_ok(principals_read(in(&s.w.folder, "", "callers"), true, now, &callers));
        principals_free(s.w.callers);
        s.w.callers = callers;
        assert_true(opens(&s, s.frame, s.size, &opened));
        assert_int_equal(opened.size, TEXT_SIZE);
        size = SEAL_RESPONSE_OVERHEAD + TEXT_SIZE;
        memset(answer, 'y', size);
        seal_response(answer, size, salt, opened.nonce, opened.shared);
        assert_true(
            seal_open_response(answer, size, s.nonce, s.server->shared, &text, &size));
        key_free(now);
        world_end(&s.w);
    }
}

static void the_text_is_not_in_the_frame(void **state)
{
    struct scene s;

    (void)state;
    scene_make(&s);
    assert_null(memmem(s.frame, s.size, "xxxx", 4));
    world_end(&s.w);
}

static void a_request_with_any_byte_changed_or_cut_does_not_open(void **state)
{
    struct scene s;
    struct seal_opened opened;

    (void)state;
    scene_make(&s);
    for (size_t i = 0; i < s.size; i++)
        for (int bit = 0; bit < 8; bit++) {
            s.frame[i] ^= (uint8_t)(1 << bit);
            assert_false(opens(&s, s.frame, s.size, &opened));
            s.frame[i] ^= (uint8_t)(1 << bit);
        }
    for (size_t size = 0; size < s.size; size++)
        assert_false(opens(&s, s.frame, size, &opened));
    world_end(&s.w);
}

static void a_response_opens_only_as_the_answer_to_its_request(void **state)
{
    struct scene s;
    uint8_t response[SEAL_RESPONSE_OVERHEAD + TEXT_SIZE], copy[sizeof response];
    uint8_t salt[SEAL_SALT_SIZE] = {1, 2, 3}, other[SEAL_NONCE_SIZE], *text;
    size_t size;

    (void)state;
    scene_make(&s);
    seal_session_next(&s.session, other);
    memset(response, 'y', sizeof response);
    seal_response(response, sizeof response, salt, s.nonce, s.server->shared);
    memcpy(copy, response, sizeof copy);
    assert_false(
        seal_open_response(copy, sizeof copy, other, s.server->shared, &text, &size));
    for (size_t i = 0; i < sizeof response; i++) {
        memcpy(copy, response, sizeof copy);
        copy[i] ^= 1;
        assert_false(seal_open_response(copy, sizeof copy, s.nonce, s.server->shared,
                                        &text, &size));
    }
    memcpy(copy, response, sizeof copy);
    assert_true(
        seal_open_response(copy, sizeof copy, s.nonce, s.server->shared, &text, &size));
    assert_int_equal(size, TEXT_SIZE);
    assert_int_equal(text[0], 'y');
    world_end(&s.w);
}

static void two_servers_answer_one_request_under_different_nonces(void **state)
{
    struct scene s;
    uint8_t a[SEAL_RESPONSE_OVERHEAD + TEXT_SIZE], b[sizeof a];
    uint8_t salt_a[SEAL_SALT_SIZE] = {1}, salt_b[SEAL_SALT_SIZE] = {2};

    (void)state;
    scene_make(&s);
    memset(a, 'y', sizeof a);
    memset(b, 'y', sizeof b);
    seal_response(a, sizeof a, salt_a, s.nonce, s.server->shared);
    seal_response(b, sizeof b, salt_b, s.nonce, s.server->shared);
    assert_memory_not_equal(a + SEAL_RESPONSE_OVERHEAD, b + SEAL_RESPONSE_OVERHEAD,
                            TEXT_SIZE);
    world_end(&s.w);
}

/* The two parties call each other, so that both know the key of the frame. */
static void a_request_sent_back_under_the_callees_name_does_not_open(void **state)
{
    struct scene s;
    struct principals *callers;
    struct seal_opened opened;
    uint8_t reflected[FRAME_MAX];

    (void)state;
    scene_make(&s);
    const char *list = in(&s.w.folder, "", "back");
    assert_ok(principals_allow(list, "server", key_public(s.w.server), "*"));
    assert_ok(principals_read(list, true, s.w.client, &callers));
    memcpy(reflected, s.frame, s.size);
    memcpy(reflected + 2, "server", 6);
    assert_false(seal_open_request(reflected, s.size, callers, &opened));
    principals_free(callers);
    world_end(&s.w);
}

static void a_request_and_a_response_do_not_open_as_each_other(void **state)
{
    struct scene s;
    uint8_t *text, copy[FRAME_MAX];
    size_t size;

    (void)state;
    scene_make(&s);
    memcpy(copy, s.frame, s.size);
    assert_false(
        seal_open_response(copy, s.size, s.nonce, s.server->shared, &text, &size));
    world_end(&s.w);
}

static void the_right_name_with_a_strangers_key_does_not_open(void **state)
{
    struct scene s;
    struct seal_opened opened;
    const struct principal *server;
    uint8_t nonce[SEAL_NONCE_SIZE];

    (void)state;
    scene_make(&s);
    server = principals_find(s.w.stranger_services, "server", 6);
    struct seal_session session;
    seal_session_start(&session, key_public(s.w.client), server->public_key);
    seal_session_next(&session, nonce);
    memset(s.frame, 'x', s.size);
    seal_request(s.frame, s.size, "client", nonce, server->shared);
    assert_false(opens(&s, s.frame, s.size, &opened));
    world_end(&s.w);
}

static void nonces_of_a_session_differ_only_in_a_growing_counter(void **state)
{
    struct scene s;
    uint8_t next[SEAL_NONCE_SIZE];

    (void)state;
    scene_make(&s);
    for (uint32_t i = 2; i < 1000; i++) {
        seal_session_next(&s.session, next);
        assert_memory_equal(next, s.nonce, SEAL_SESSION_SIZE);
        assert_int_equal(next[23] | next[22] << 8 | next[21] << 16, i);
    }
    world_end(&s.w);
}

static void every_refusal_leaves_the_effect_unknown(void **state)
{
    uint8_t frame[SEAL_REFUSAL_SIZE];
    struct err e;

    (void)state;
    for (int reason = 0; reason < 256; reason++) {
        seal_refusal(frame, (enum seal_refusal)reason);
        assert_true(seal_is_refusal(frame, sizeof frame, &e));
        assert_true(failed(e));
        assert_int_equal(e.effect, EFFECT_UNKNOWN);
    }
    assert_false(seal_is_refusal(frame, 1, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sealed_request_opens_as_it_was),
        cmocka_unit_test(what_is_sealed_to_the_earlier_key_opens_and_is_answered_with_it),
        cmocka_unit_test(the_text_is_not_in_the_frame),
        cmocka_unit_test(a_request_with_any_byte_changed_or_cut_does_not_open),
        cmocka_unit_test(a_response_opens_only_as_the_answer_to_its_request),
        cmocka_unit_test(two_servers_answer_one_request_under_different_nonces),
        cmocka_unit_test(a_request_sent_back_under_the_callees_name_does_not_open),
        cmocka_unit_test(a_request_and_a_response_do_not_open_as_each_other),
        cmocka_unit_test(the_right_name_with_a_strangers_key_does_not_open),
        cmocka_unit_test(nonces_of_a_session_differ_only_in_a_growing_counter),
        cmocka_unit_test(every_refusal_leaves_the_effect_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
