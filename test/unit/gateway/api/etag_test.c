/* etag_test.c - the entity tags of carts, and what a field says of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/contract/bounds.h"
#include "gateway/api/etag.h"

static int set_up(void **state)
{
    *state = arena_new(1 << 20);
    return *state == NULL;
}

static int tear_down(void **state)
{
    arena_free(*state);
    return 0;
}

static void a_tag_gives_its_lines_back(void **state)
{
    static const char *const PRICES[] = {NULL, "", "a", "a.b", "#"};
    const char *lines;

    for (size_t i = 0; i < sizeof PRICES / sizeof *PRICES; i++) {
        const char *tag = etag_write(*state, "00ff", PRICES[i]);
        assert_false(failed(etag_lines(*state, "expected_cart", tag, &lines)));
        assert_string_equal(lines, "00ff");
    }
    assert_false(failed(etag_lines(*state, "expected_cart", "W/\"00ff.x\"", &lines)));
    assert_string_equal(lines, "00ff");
}

static void what_is_no_tag_of_a_cart_is_refused_by_name(void **state)
{
    static const char *const TEXTS[] = {
        "",        "00ff",    "\"",      "\"00ff", "00ff\"",   "\"\"",
        "\".x\"",  "\"0-0\"", "\"a b\"", "\"a\" ", " \"a\"",   "\"a\",\"b\"",
        "w/\"a\"", "W/",      "W/a",     "*",      "\"a\tb\"",
    };
    const char *lines;

    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        struct err e = etag_lines(*state, "expected_cart", TEXTS[i], &lines);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, "expected_cart"));
    }
}

static void if_match_gives_the_versions_it_allows(void **state)
{
    static const struct {
        const char *field;
        const char *versions[4];
    } CASES[] = {
        {"*", {"*"}},
        {"\"a\"", {"a"}},
        {"\"a.x\" , \"b\",", {"a", "b"}},
        {", \"a\",, \"b.y\"", {"a", "b"}},
        /* These match no cart. */
        {"W/\"a\"", {"none"}},
        {"\"\", \"a,b\", \"c\"", {"none", "none", "c"}},
    };
    struct etag_versions versions;

    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_false(failed(etag_if_match(*state, CASES[i].field, &versions)));
        for (size_t v = 0; v < versions.count; v++)
            assert_string_equal(versions.items[v], CASES[i].versions[v]);
        assert_null(CASES[i].versions[versions.count]);
    }
}

static void a_tag_is_found_in_a_list_whole(void **state)
{
    static const struct {
        const char *field;
        bool strong, weak;
    } CASES[] = {
        {"*", true, true},
        {"\"a.x\"", true, true},
        {"\"b\",\"a.x\"", true, true},
        {"W/\"a.x\"", false, true},
        {"\"a\"", false, false},
        {"\"a.xy\"", false, false},
        {"\"a.\"", false, false},
        {"\"b\", \"c\"", false, false},
    };
    bool named;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        assert_false(failed(etag_named(CASES[i].field, "\"a.x\"", true, &named)));
        assert_int_equal(named, CASES[i].strong);
        assert_false(failed(etag_named(CASES[i].field, "\"a.x\"", false, &named)));
        assert_int_equal(named, CASES[i].weak);
    }
}

static void what_is_no_list_of_tags_is_refused(void **state)
{
    static const char *const FIELDS[] = {"",         " ",           ",",       "a",
                                         "\"a",      "\"a\" \"b\"", "\"a\"b",  "*, \"a\"",
                                         "\"a\", *", "**",          "\"a\", b"};
    char many[5 * (CART_VERSIONS_MAX + 1)] = "\"a\"";
    struct etag_versions versions;
    bool named;

    for (size_t i = 0; i < sizeof FIELDS / sizeof *FIELDS; i++) {
        assert_int_equal(etag_if_match(*state, FIELDS[i], &versions).code,
                         ERR_INVALID_ARGUMENT);
        assert_int_equal(etag_named(FIELDS[i], "\"x\"", false, &named).code,
                         ERR_INVALID_ARGUMENT);
    }
    for (int i = 1; i < CART_VERSIONS_MAX; i++)
        strcat(many, ",\"a\"");
    assert_false(failed(etag_if_match(*state, many, &versions)));
    assert_int_equal(versions.count, CART_VERSIONS_MAX);
    strcat(many, ",\"a\"");
    assert_int_equal(etag_if_match(*state, many, &versions).code, ERR_INVALID_ARGUMENT);
}

#define WITH_ARENA(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ARENA(a_tag_gives_its_lines_back),
        WITH_ARENA(what_is_no_tag_of_a_cart_is_refused_by_name),
        WITH_ARENA(if_match_gives_the_versions_it_allows),
        WITH_ARENA(a_tag_is_found_in_a_list_whole),
        WITH_ARENA(what_is_no_list_of_tags_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
