/* Who asks, from where and how often: the session cookie, lists of origins, buckets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "base/contract/buckets.h"
#include "gateway/http/admission.h"
#include "http/fetch.h"

/* ---- who asks ---- */

static void a_cookie_counts_only_when_a_page_of_ours_asks(void **state)
{
    enum { HOST, AUTHORIZATION, COOKIE, ORIGIN, SITE, KEY, FIELDS };
    static const char OURS[] = "https://shop.test", THEIRS[] = "https://evil.test";
    static const struct {
        enum method method;
        const char *values[FIELDS];
        enum err_code code;
        const char *token;
    } CASES[] = {
        /* what is ours */
        {METHOD_POST,
         {"shop.test", NULL, "session=T", OURS, "same-origin", "k"},
         ERR_OK,
         "T"},
        {METHOD_POST, {"shop.test", NULL, "session=T", OURS, NULL, "k"}, ERR_OK, "T"},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", NULL, "same-origin", "k"},
         ERR_OK,
         "T"},
        {METHOD_POST,
         {"shop.test:8080", NULL, "session=T", "http://shop.test:8080", NULL, "k"},
         ERR_OK,
         "T"},
        {METHOD_PUT, {"shop.test", NULL, "session=T", OURS, NULL, NULL}, ERR_OK, "T"},
        {METHOD_GET,
         {"shop.test", NULL, "a=b; session=T; c=d", NULL, NULL, NULL},
         ERR_OK,
         "T"},
        {METHOD_GET, {"shop.test", NULL, "session=T", NULL, "none", NULL}, ERR_OK, "T"},
        {METHOD_GET,
         {"shop.test", NULL, "session=T", NULL, "same-origin", NULL},
         ERR_OK,
         "T"},
        /* forged: a form or a script of another site, a sandboxed page, a sister domain
         */
        {METHOD_POST,
         {"shop.test", NULL, "session=T", NULL, NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", THEIRS, NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", OURS, "cross-site", "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", THEIRS, "same-origin", "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", NULL, "same-site", "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", NULL, "none", "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", "null", NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", "https://shop.test.evil.test", NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", "https://shop.test:444", NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", "ftp://shop.test", NULL, "k"},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_POST, {NULL, NULL, "session=T", OURS, NULL, "k"}, ERR_CROSS_SITE, NULL},
        {METHOD_POST,
         {"shop.test", NULL, "session=T", OURS, NULL, NULL},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_PUT,
         {"shop.test", NULL, "session=T", NULL, NULL, NULL},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_GET,
         {"shop.test", NULL, "session=T", THEIRS, NULL, NULL},
         ERR_CROSS_SITE,
         NULL},
        {METHOD_GET,
         {"shop.test", NULL, "session=T", NULL, "cross-site", NULL},
         ERR_CROSS_SITE,
         NULL},
        /* none, another name, two */
        {METHOD_GET,
         {"shop.test", NULL, NULL, NULL, NULL, NULL},
         ERR_UNAUTHENTICATED,
         NULL},
        {METHOD_POST,
         {"shop.test", NULL, NULL, THEIRS, NULL, NULL},
         ERR_UNAUTHENTICATED,
         NULL},
        {METHOD_GET,
         {"shop.test", NULL, "xsession=T; Session=T; session", NULL, NULL, NULL},
         ERR_UNAUTHENTICATED,
         NULL},
        {METHOD_GET,
         {"shop.test", NULL, "session=T; session=U", NULL, NULL, NULL},
         ERR_UNAUTHENTICATED,
         NULL},
        /* a bearer token needs none of it, and the cookie is not looked at */
        {METHOD_POST,
         {"shop.test", "Bearer B", "session=T", THEIRS, NULL, NULL},
         ERR_OK,
         "B"},
        {METHOD_POST,
         {"shop.test", "Basic B", "session=T", OURS, "same-origin", "k"},
         ERR_UNAUTHENTICATED,
         NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const char *const *v = CASES[i].values;
        const struct head head = {.host = v[HOST],
                                  .authorization = v[AUTHORIZATION],
                                  .cookie = v[COOKIE],
                                  .origin = v[ORIGIN],
                                  .fetch_site = v[SITE],
                                  .idempotency_key = v[KEY]};
        const char *token;
        size_t size;
        struct err e = session_token(&head, CASES[i].method, "session", &token, &size);
        if (e.code != CASES[i].code)
            fail_msg("case %zu: %s", i, err_reason(e.code));
        if (!failed(e)) {
            assert_int_equal(size, strlen(CASES[i].token));
            assert_memory_equal(token, CASES[i].token, size);
        }
    }
}

static void lists_of_origins_are_exact_or_refused(void **state)
{
    static const char *const GOOD[] = {"", "https://a.example",
                                       "https://a.example,http://b.example:81"};
    static const char *const BAD[] = {"*",
                                      "https://",
                                      "a.example",
                                      "https://*.example",
                                      "https://a.example/",
                                      "https://a.example, https://b.example",
                                      "https://a.example,",
                                      ",https://a.example",
                                      "https://A.example",
                                      "null"};

    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_true(cors_list_valid(GOOD[i]));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (cors_list_valid(BAD[i]))
            fail_msg("taken: %s", BAD[i]);
}

static void urls_of_keys_are_https_or_this_machine(void **state)
{
    static const char *const GOOD[] = {"https://id.example/jwks", "http://127.0.0.1:80/a",
                                       "http://localhost/a", "http://[::1]:8/a"};
    static const char *const BAD[] = {
        "http://id.example/jwks",       "http://localhost.example/a",
        "http://127.0.0.1.example/",    "file:///etc/passwd",
        "http://localhost@id.example/", "https://u@id.example/",
        "https://u:p@id.example/",      "https://:p@id.example/",
        "https://@id.example/",         ""};

    (void)state;
    for (size_t i = 0; i < sizeof GOOD / sizeof GOOD[0]; i++)
        assert_false(failed(fetch_check(GOOD[i])));
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        if (!failed(fetch_check(BAD[i])))
            fail_msg("taken: %s", BAD[i]);
}

/* ---- how often ---- */

static void a_bucket_empties_and_fills_again(void **state)
{
    static const char A[] = "00000000-0000-4000-8000-00000000000a";
    static const char B[] = "00000000-0000-4000-8000-00000000000b";
    struct buckets *buckets;
    int64_t now_ms = 5000;

    (void)state;
    assert_false(failed(buckets_open(8, 10, 3, &buckets)));
    for (int i = 0; i < 3; i++)
        assert_true(buckets_take(buckets, A, now_ms));
    assert_false(buckets_take(buckets, A, now_ms));
    assert_true(buckets_take(buckets, B, now_ms)); /* everyone has a bucket of his own */
    assert_false(buckets_take(buckets, A, now_ms + 99));
    assert_true(buckets_take(buckets, A, now_ms + 100)); /* 10 a second */
    assert_false(buckets_take(buckets, A, now_ms + 199));
    now_ms += 3600000; /* never more than the burst */
    for (int i = 0; i < 3; i++)
        assert_true(buckets_take(buckets, A, now_ms));
    assert_false(buckets_take(buckets, A, now_ms));
    buckets_close(buckets);
}

/* Any number of users pass through a bounded table; one who asks on and on stays held. */
static void other_users_do_not_reset_a_limited_one(void **state)
{
    static const char HELD[] = "00000000-0000-4000-8000-00000000000a";
    struct buckets *buckets;
    char user[UUID_LENGTH + 1];

    (void)state;
    assert_false(failed(buckets_open(4, 1, 2, &buckets)));
    while (buckets_take(buckets, HELD, 0))
        ;
    for (int i = 0; i < 1000; i++) {
        snprintf(user, sizeof user, "00000000-0000-4000-8000-%012d", i);
        assert_true(buckets_take(buckets, user, 0));
        assert_false(buckets_take(buckets, HELD, 0));
    }
    buckets_close(buckets);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cookie_counts_only_when_a_page_of_ours_asks),
        cmocka_unit_test(lists_of_origins_are_exact_or_refused),
        cmocka_unit_test(urls_of_keys_are_https_or_this_machine),
        cmocka_unit_test(a_bucket_empties_and_fills_again),
        cmocka_unit_test(other_users_do_not_reset_a_limited_one),
    };

    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
