/*
 * url_test.c - a database's URL in full: it means what was given, and a role's has
 * nothing of the owner's.
 */
#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "db/connection/url.h"

static struct arena *arena;

static const char *written(const char *url, const char *role)
{
    const char *out = NULL;
    struct err e = url_write(url, role, arena, &out);

    if (failed(e))
        fail_msg("%s: %s", url, e.message);
    return out;
}

/* What libpq reads there for a keyword; "" when nothing. */
static const char *read_back(const char *url, const char *keyword)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    const char *value = NULL;

    assert_non_null(options);
    for (PQconninfoOption *o = options; o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0)
            value = arena_strdup(arena, o->val);
    PQconninfoFree(options);
    return value == NULL ? "" : value;
}

static void test_an_owners_url_means_what_was_given(void **state)
{
    static const char *const GIVEN[] = {
        "postgresql://shop:p%40ss%2F@db.example:5433/checkout?sslmode=verify-full",
        "host='db.example' port=5433 dbname=checkout user=shop password='p@ss/' "
        "sslmode=verify-full",
        "postgres:///checkout?host=db.example&port=5433&user=shop&password=p@ss/"
        "&sslmode=verify-full",
    };

    (void)state;
    for (size_t i = 0; i < sizeof GIVEN / sizeof *GIVEN; i++) {
        const char *url = written(GIVEN[i], NULL);
        assert_string_equal(read_back(url, "user"), "shop");
        assert_string_equal(read_back(url, "password"), "p@ss/");
        assert_string_equal(read_back(url, "host"), "db.example");
        assert_string_equal(read_back(url, "port"), "5433");
        assert_string_equal(read_back(url, "dbname"), "checkout");
        assert_string_equal(read_back(url, "sslmode"), "verify-full");
    }
}

static void test_a_roles_url_has_nothing_of_the_owners(void **state)
{
    const char *url =
        written("postgresql://shop:secret@a,b:5433/checkout?passfile=secret"
                "&sslkey=secret&sslcert=secret&sslpassword=secret"
                "&user=shop&password=secret&target_session_attrs=read-write",
                "checkout_orders");

    (void)state;
    assert_null(strstr(url, "secret"));
    assert_null(strstr(url, "shop"));
    assert_string_equal(read_back(url, "user"), "checkout_orders");
    assert_string_equal(read_back(url, "host"), "a,b");
    assert_string_equal(read_back(url, "port"), ",5433");
    assert_string_equal(read_back(url, "dbname"), "checkout");
    assert_string_equal(read_back(url, "target_session_attrs"), "read-write");
}

static void test_a_database_without_a_name_is_the_owners(void **state)
{
    (void)state;
    assert_string_equal(
        read_back(written("host=a user=shop", "checkout_orders"), "dbname"), "shop");
}

static void test_what_is_left_open_comes_from_libpqs_environment(void **state)
{
    (void)state;
    setenv("PGHOST", "db.example", 1);
    setenv("PGPASSWORD", "secret", 1);
    assert_string_equal(read_back(written("dbname=checkout", NULL), "host"),
                        "db.example");
    assert_string_equal(read_back(written("host=other", NULL), "host"), "other");
    assert_string_equal(read_back(written("dbname=checkout", NULL), "password"),
                        "secret");
    assert_null(strstr(written("dbname=checkout", "checkout_orders"), "secret"));
    unsetenv("PGHOST");
    unsetenv("PGPASSWORD");
}

static void test_what_cannot_be_read_is_told_without_a_part_of_it(void **state)
{
    static const char *const WRONG[] = {
        "postgresql://shop:secret%zz@a/checkout",
        "host=a password secret",
        "host=a password='secret",
        "postgresql://shop@a/checkout?secret=x",
        "postgresql://shop:secret@[::1/checkout",
        "service=secret",
    };

    (void)state;
    for (size_t i = 0; i < sizeof WRONG / sizeof *WRONG; i++) {
        const char *out = "";
        struct err e = url_write(WRONG[i], NULL, arena, &out);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_null(out);
        assert_null(strstr(e.message, "secret"));
    }
}

static void test_a_url_too_long_for_a_configuration_is_refused(void **state)
{
    char url[URL_SIZE_MAX + 64] = "host=";
    const char *out;

    (void)state;
    memset(url + 5, 'x', URL_SIZE_MAX);
    assert_int_equal(url_write(url, NULL, arena, &out).code, ERR_INVALID_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_owners_url_means_what_was_given),
        cmocka_unit_test(test_a_roles_url_has_nothing_of_the_owners),
        cmocka_unit_test(test_a_database_without_a_name_is_the_owners),
        cmocka_unit_test(test_what_is_left_open_comes_from_libpqs_environment),
        cmocka_unit_test(test_what_cannot_be_read_is_told_without_a_part_of_it),
        cmocka_unit_test(test_a_url_too_long_for_a_configuration_is_refused),
    };

    arena = arena_new(1 << 20);
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(arena);
    return status;
}
