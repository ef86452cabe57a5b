/* The short-cut cache of order answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/http/response_cache.h"

static const char USER[] = "user", BODY[] = "{\"cart_id\":\"1\"}";

struct world {
    struct response_cache *cache;
    struct arena *arena;
};

static int set_up(void **state)
{
    static struct world w;

    w.arena = arena_new(1 << 20);
    assert_non_null(w.arena);
    assert_false(failed(response_cache_open(16, &w.cache)));
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    response_cache_close(w->cache);
    arena_free(w->arena);
    return 0;
}

static void put(struct world *w, const char *key, int64_t now_ms, const char *body,
                size_t size)
{
    uint8_t id[RESPONSE_CACHE_ID_SIZE];
    struct answer a = {
        .status = 201, .body = body, .size = size, .location = "/v1/orders/X"};

    response_cache_id(USER, key, BODY, strlen(BODY), id);
    response_cache_put(w->cache, id, now_ms, &a);
}

static bool get(struct world *w, const char *key, int64_t now_ms, struct answer *out)
{
    uint8_t id[RESPONSE_CACHE_ID_SIZE];

    response_cache_id(USER, key, BODY, strlen(BODY), id);
    return response_cache_get(w->cache, id, now_ms, w->arena, out);
}

static void what_was_put_is_found_and_marked_replayed(void **state)
{
    struct answer a;

    put(*state, "key-1", 5, "{}", 2);
    assert_true(get(*state, "key-1", 6, &a));
    assert_int_equal(a.status, 201);
    assert_int_equal(a.size, 2);
    assert_memory_equal(a.body, "{}", 2);
    assert_string_equal(a.location, "/v1/orders/X");
    assert_true(a.replayed);
}

static void each_byte_of_user_key_and_body_changes_the_id(void **state)
{
    static const struct asked {
        const char *user, *key, *body;
    } ASKED[] = {
        {"user", "key", "{}"}, {"use", "key", "{}"},  {"user", "ke", "{}"},
        {"user", NULL, "{}"},  {"user", "", "{}"},    {"user", "key", "{ }"},
        {"userkey", "", "{}"}, {"user", "key{", "}"}, {"", "userkey", "{}"},
        {"user", "key", ""},
    };
    enum { COUNT = sizeof ASKED / sizeof *ASKED };
    uint8_t ids[COUNT][RESPONSE_CACHE_ID_SIZE], again[RESPONSE_CACHE_ID_SIZE];

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        const struct asked *a = &ASKED[i];
        response_cache_id(a->user, a->key, a->body, strlen(a->body), ids[i]);
        response_cache_id(a->user, a->key, a->body, strlen(a->body), again);
        assert_memory_equal(ids[i], again, RESPONSE_CACHE_ID_SIZE);
        for (size_t j = 0; j < i; j++)
            assert_memory_not_equal(ids[i], ids[j], RESPONSE_CACHE_ID_SIZE);
    }
}

static void another_key_is_another_answer(void **state)
{
    struct answer a;

    put(*state, "key-1", 5, "{}", 2);
    assert_false(get(*state, "key-2", 6, &a));
}

static void an_answer_past_its_age_or_size_is_not_found(void **state)
{
    static char big[RESPONSE_CACHE_BODY_MAX + 1];
    struct answer a;

    put(*state, "old", 5, "{}", 2);
    assert_true(get(*state, "old", 4 + RESPONSE_CACHE_AGE_MAX_MS, &a));
    assert_false(get(*state, "old", 5 + RESPONSE_CACHE_AGE_MAX_MS, &a));
    put(*state, "big", 5, big, sizeof big);
    assert_false(get(*state, "big", 6, &a));
    put(*state, "fits", 5, big, sizeof big - 1);
    assert_true(get(*state, "fits", 6, &a));
}

static void it_never_holds_more_than_it_may_and_keeps_the_newest(void **state)
{
    struct answer a;
    int found = 0;
    char key[32];

    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        put(*state, key, i, "{}", 2);
        assert_true(get(*state, key, i, &a));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%d", i);
        found += get(*state, key, 1000, &a);
    }
    assert_int_equal(found, 16);
}

int main(void)
{
#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_WORLD(what_was_put_is_found_and_marked_replayed),
        cmocka_unit_test(each_byte_of_user_key_and_body_changes_the_id),
        WITH_WORLD(another_key_is_another_answer),
        WITH_WORLD(an_answer_past_its_age_or_size_is_not_found),
        WITH_WORLD(it_never_holds_more_than_it_may_and_keeps_the_newest),
    };

    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
