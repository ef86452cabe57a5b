/* Routes and problems. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/api/body.h"
#include "gateway/http/admission.h"
#include "gateway/http/problem.h"

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

/* ---- routes ---- */

static void paths_find_their_row_and_nothing_else_does(void **state)
{
    static const struct {
        const char *method, *path;
        enum err_code code;
        const char *id, *allow;
    } CASES[] = {
        {"POST", "/v1/orders", ERR_OK, NULL, NULL},
        {"GET", "/v1/orders/X1", ERR_OK, "X1", NULL},
        {"HEAD", "/v1/orders/X1", ERR_OK, "X1", NULL},
        {"PUT", "/v1/carts/c-1", ERR_OK, "c-1", NULL},
        {"OPTIONS", "/v1/carts/c-1", ERR_OK, NULL, "GET, HEAD, OPTIONS, PUT"},
        {"DELETE", "/v1/orders", ERR_METHOD_NOT_ALLOWED, NULL,
         "GET, HEAD, OPTIONS, POST"},
        {"POST", "/v1/orders/X1", ERR_METHOD_NOT_ALLOWED, NULL, "GET, HEAD, OPTIONS"},
        {"get", "/v1/products", ERR_METHOD_NOT_ALLOWED, NULL, "GET, HEAD, OPTIONS"},
        {"GET", "/v1/orders/", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/v1/orders/X1/", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/v1/orders/X1/lines", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/v1/ordersX", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "//v1/orders", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/", ERR_OK, NULL, NULL}, /* the page, if there is one: files_test */
        {"GET", "/index.html", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/shop/", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "/shop/more/a.js", ERR_NOT_FOUND, NULL, NULL},
        {"GET", "", ERR_NOT_FOUND, NULL, NULL},
        {"OPTIONS", "*", ERR_NOT_FOUND, NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        const struct route *route;
        const char *id, *allow;
        struct err e = route_find(&ROUTES, method_of(CASES[i].method), CASES[i].path,
                                  &route, &id, &allow);
        if (e.code != CASES[i].code)
            fail_msg("%s %s: %s", CASES[i].method, CASES[i].path, err_reason(e.code));
        assert_string_equal(id == NULL ? "" : id, CASES[i].id == NULL ? "" : CASES[i].id);
        assert_string_equal(allow == NULL ? "" : allow,
                            CASES[i].allow == NULL ? "" : CASES[i].allow);
    }
}

/* ---- problems and text ---- */

static void every_error_is_a_problem_that_parses(void **state)
{
    for (int code = ERR_OK + 1; code < ERR_CODES_COUNT; code++) {
        struct err e = err_make((enum err_code)code, "a \"message\" cut in \xc3");
        e.subject = "A,B";
        struct answer a = problem_answer(*state, e);
        json_t *json = NULL;
        assert_false(failed(body_parse(a.body, a.size, &json)));
        assert_int_equal(json_integer_value(json_object_get(json, "status")), a.status);
        assert_int_equal(a.status, err_http_status((enum err_code)code));
        assert_string_equal(json_string_value(json_object_get(json, "code")),
                            err_reason((enum err_code)code));
        if (strcmp(json_string_value(json_object_get(json, "title")), "Error") == 0)
            fail_msg("%s has no title", err_reason((enum err_code)code));
        json_decref(json);
    }
}

static void without_memory_there_is_a_problem_with_all_its_members(void **state)
{
    static const char *const MEMBERS[] = {"type", "title",     "status",
                                          "code", "retryable", "detail"};
    struct arena *full = arena_new(1);
    struct answer a = problem_answer(full, err_make(ERR_NOT_FOUND, "x"));
    json_t *json = NULL;

    (void)state;
    assert_int_equal(a.status, 503);
    assert_false(failed(body_parse(a.body, a.size, &json)));
    for (size_t i = 0; i < sizeof MEMBERS / sizeof MEMBERS[0]; i++)
        if (json_object_get(json, MEMBERS[i]) == NULL)
            fail_msg("no %s", MEMBERS[i]);
    json_decref(json);
    arena_free(full);
}

static void a_final_failure_never_shows_words_that_may_change(void **state)
{
    for (int code = ERR_OK + 1; code < ERR_CODES_COUNT; code++) {
        if (!problem_is_final((enum err_code)code))
            continue;
        struct answer one =
            problem_answer(*state, err_make((enum err_code)code, "one wording"));
        struct answer two =
            problem_answer(*state, err_make((enum err_code)code, "another one"));
        assert_int_equal(one.size, two.size);
        assert_memory_equal(one.body, two.body, one.size);
    }
}

static void a_refusal_has_the_money_state_of_the_error(void **state)
{
    static const char *const TOLD[] = {
        [MONEY_NONE] = ",\"money\":\"none\"}",
        [MONEY_REFUNDED] = ",\"money\":\"refunded\"}",
        [MONEY_REFUND_PENDING] = ",\"money\":\"refund_pending\"}",
    };

    for (int code = ERR_OK + 1; code < ERR_CODES_COUNT; code++)
        for (int money = MONEY_UNKNOWN; money <= MONEY_REFUND_PENDING; money++) {
            struct err e = err_make((enum err_code)code, "x");
            e.money = (enum err_money)money;
            struct answer answer = problem_answer(*state, e);
            const char *body =
                arena_printf(*state, "%.*s", (int)answer.size, answer.body);
            assert_null(strstr(body, "charged"));
            if (money == MONEY_UNKNOWN || !problem_is_final((enum err_code)code))
                assert_null(strstr(body, "money"));
            else
                assert_non_null(strstr(body, TOLD[money]));
        }
}

static void a_change_of_unknown_outcome_is_never_reported_as_failed(void **state)
{
    (void)state;
    for (int code = ERR_OK + 1; code < ERR_CODES_COUNT; code++) {
        struct err e = err_unknown((enum err_code)code, "x");
        /* data_loss says itself that the outcome cannot be told; asked again, what is gone
         * would be done once more. */
        bool told = problem_is_final(e.code) || e.code == ERR_CHECKOUT_IN_PROGRESS ||
                    e.code == ERR_DATA_LOSS;
        assert_int_equal(problem_of_call(e, true).code,
                         told ? e.code : ERR_DEADLINE_EXCEEDED);
        assert_true(told || problem_of_call(e, false).code != ERR_DEADLINE_EXCEEDED);
    }
    assert_int_equal(problem_of_call(err_make(ERR_UNAUTHENTICATED, "x"), true).code,
                     ERR_INTERNAL);
    assert_int_equal(problem_of_call(err_make(ERR_PERMISSION_DENIED, "x"), false).code,
                     ERR_INTERNAL);
    assert_int_equal(problem_of_call(err_make(ERR_UNAVAILABLE, "x"), true).code,
                     ERR_UNAVAILABLE);
}

int main(void)
{
#define WITH_ARENA(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_ARENA(paths_find_their_row_and_nothing_else_does),
        WITH_ARENA(every_error_is_a_problem_that_parses),
        cmocka_unit_test(without_memory_there_is_a_problem_with_all_its_members),
        WITH_ARENA(a_final_failure_never_shows_words_that_may_change),
        WITH_ARENA(a_refusal_has_the_money_state_of_the_error),
        WITH_ARENA(a_change_of_unknown_outcome_is_never_reported_as_failed),
    };

    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
