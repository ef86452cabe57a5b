/* replay_cache_test.c - each sealed request is admitted once, and only while it is fresh. */
#include "unit/rpc/fixture.h"

#include "rpc/wire/replay_cache.h"

static const int64_t NOW = 1700000000000;

static struct principal CALLER = {.name = "one", .public_key = {1}},
                        OTHER = {.name = "two", .public_key = {2}};

static struct seal_opened frame_of(uint32_t session, uint64_t counter)
{
    struct seal_opened o = {.caller = &CALLER};

    o.nonce[1] = (uint8_t)session;
    o.nonce[2] = (uint8_t)(session >> 8);
    for (int i = SEAL_NONCE_SIZE - 1; i >= SEAL_SESSION_SIZE; i--, counter >>= 8)
        o.nonce[i] = (uint8_t)counter;
    return o;
}

static int admit(struct replay_cache *w, uint32_t session, uint64_t counter, int64_t sent,
                 int64_t now)
{
    struct seal_opened o = frame_of(session, counter);

    return (int)replay_cache_admit(w, &o, sent, now);
}

static void a_counter_is_admitted_once_in_whatever_order(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW - 1);

    (void)state;
    for (uint64_t c = 1; c <= 3 * REPLAY_CACHE_COUNTERS; c += 2)
        assert_int_equal(admit(w, 1, c, NOW, NOW), 0);
    for (uint64_t c = 3 * REPLAY_CACHE_COUNTERS; c > 2 * REPLAY_CACHE_COUNTERS; c -= 2)
        assert_int_equal(admit(w, 1, c, NOW, NOW), 0);
    for (uint64_t c = 0; c <= 3 * REPLAY_CACHE_COUNTERS; c++)
        assert_int_equal(admit(w, 1, c, NOW, NOW), SEAL_REPEATED);
    replay_cache_free(w);
}

static void the_cache_holds_exactly_its_counters(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW - 1);
    const uint64_t top = 100000;

    (void)state;
    assert_int_equal(admit(w, 1, top, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, top - REPLAY_CACHE_COUNTERS, NOW, NOW), SEAL_REPEATED);
    assert_int_equal(admit(w, 1, top - REPLAY_CACHE_COUNTERS + 1, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, top + REPLAY_CACHE_COUNTERS - 1, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, top, NOW, NOW), SEAL_REPEATED);
    assert_int_equal(admit(w, 1, top + 1, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, UINT64_MAX, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, UINT64_MAX, NOW, NOW), SEAL_REPEATED);
    replay_cache_free(w);
}

static void a_session_belongs_to_its_first_caller(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW - 1);
    struct seal_opened o = frame_of(1, 2);

    (void)state;
    assert_int_equal(admit(w, 1, 1, NOW, NOW), 0);
    o.caller = &OTHER;
    assert_int_equal(replay_cache_admit(w, &o, NOW, NOW), SEAL_REPEATED);
    replay_cache_free(w);
}

/* A list that is read again has the caller in another place. */
static void a_session_goes_on_under_a_new_list(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW - 1);
    struct principal again = CALLER;
    struct seal_opened o = frame_of(1, 2);

    (void)state;
    assert_int_equal(admit(w, 1, 1, NOW, NOW), 0);
    o.caller = &again;
    assert_int_equal(replay_cache_admit(w, &o, NOW, NOW), 0);
    assert_int_equal(admit(w, 1, 2, NOW, NOW), SEAL_REPEATED);
    replay_cache_free(w);
}

static void a_frame_is_admitted_within_thirty_seconds_only(void **state)
{
    struct replay_cache *w = replay_cache_new(0);

    (void)state;
    assert_int_equal(admit(w, 1, 1, NOW - REPLAY_CACHE_MS - 1, NOW), SEAL_OUTSIDE_TIME);
    assert_int_equal(admit(w, 1, 1, NOW + REPLAY_CACHE_MS + 1, NOW), SEAL_OUTSIDE_TIME);
    assert_int_equal(admit(w, 1, 1, INT64_MIN, NOW), SEAL_OUTSIDE_TIME);
    assert_int_equal(admit(w, 1, 1, INT64_MAX, NOW), SEAL_OUTSIDE_TIME);
    assert_int_equal(admit(w, 1, 1, NOW - REPLAY_CACHE_MS, NOW), 0);
    assert_int_equal(admit(w, 1, 2, NOW + REPLAY_CACHE_MS, NOW), 0);
    replay_cache_free(w);
}

static void what_was_sent_before_the_start_is_refused(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW);

    (void)state;
    assert_int_equal(admit(w, 1, 1, NOW, NOW + 5), SEAL_TOO_EARLY);
    assert_int_equal(admit(w, 1, 1, NOW + 1, NOW + 5), 0);
    replay_cache_free(w);
}

static void a_session_is_forgotten_only_when_nothing_of_it_could_be_admitted(void **state)
{
    struct replay_cache *w = replay_cache_new(NOW - 1);

    (void)state;
    for (uint32_t s = 0; s < REPLAY_CACHE_SESSIONS; s++)
        assert_int_equal(admit(w, s, 1, NOW, NOW), 0);
    assert_int_equal(admit(w, 5000, 1, NOW + 1, NOW + 1), SEAL_TOO_MANY);
    assert_int_equal(admit(w, 5000, 1, NOW + REPLAY_CACHE_MS, NOW + REPLAY_CACHE_MS),
                     SEAL_TOO_MANY);
    assert_int_equal(admit(w, 7, 1, NOW, NOW + REPLAY_CACHE_MS), SEAL_REPEATED);
    int64_t later = NOW + REPLAY_CACHE_MS + 1;
    assert_int_equal(admit(w, 5000, 1, later, later), 0);
    /* ... and even a clock set back does not let a forgotten one in again. */
    assert_int_equal(admit(w, 7, 1, NOW, NOW), SEAL_TOO_EARLY);
    replay_cache_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_counter_is_admitted_once_in_whatever_order),
        cmocka_unit_test(the_cache_holds_exactly_its_counters),
        cmocka_unit_test(a_session_belongs_to_its_first_caller),
        cmocka_unit_test(a_session_goes_on_under_a_new_list),
        cmocka_unit_test(a_frame_is_admitted_within_thirty_seconds_only),
        cmocka_unit_test(what_was_sent_before_the_start_is_refused),
        cmocka_unit_test(
            a_session_is_forgotten_only_when_nothing_of_it_could_be_admitted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
