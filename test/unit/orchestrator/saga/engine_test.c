/* engine_test.c - stopping (saga/engine.h) with a checkout under way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "orchestrator/saga/engine.h"

enum { ARENA_MAX = 1 << 20, LATER_MS = 60000 };

#define ORDER "01J00000000000000000000000"
static const char TOLD[] =
    "level=error program=unnamed event=checkout_cut request=" ORDER " order=" ORDER " ";

static struct saga *begun; /* whose step never ends by itself */

static void act(struct saga *saga)
{
    begun = saga;
}

static const struct saga_step STEPS[] = {{"endless", act, SAGA_PIVOT}};

static struct sagas *open_with_one_under_way(void)
{
    const struct sagas_config config = {.steps = STEPS,
                                        .step_count = 1,
                                        .give_up_ms = LATER_MS,
                                        .step_timeout_ms = LATER_MS,
                                        .most = 1};
    struct checkout checkout = {
        .order_id = ORDER, .idempotency_key = "user key", .state = CHECKOUT_RUNNING};
    struct arena *arena = arena_new(ARENA_MAX);
    struct sagas *sagas = NULL;

    assert_non_null(arena);
    assert_false(failed(sagas_open(&config, &sagas)));
    assert_true(sagas_admit(sagas));
    sagas_run(sagas, &checkout, arena, NULL);
    assert_non_null(begun);
    return sagas;
}

/* What is logged while it is stopped, to `text`; whether all had ended. */
static bool stop_sagas(struct sagas *sagas, char text[4096])
{
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);

    assert_non_null(file);
    dup2(fileno(file), STDERR_FILENO);
    bool whole = sagas_stop(sagas, 0);
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t size = pread(fileno(file), text, 4095, 0);
    text[size > 0 ? size : 0] = '\0';
    fclose(file);
    return whole;
}

static void a_checkout_that_outlasts_the_stop_is_told(void **state)
{
    struct sagas *sagas = open_with_one_under_way();
    char text[4096];

    (void)state;
    assert_false(stop_sagas(sagas, text));
    assert_non_null(strstr(text, TOLD));
    saga_lost(begun);
    assert_true(stop_sagas(sagas, text));
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkout_that_outlasts_the_stop_is_told),
    };

    return cmocka_run_group_tests_name("engine", tests, NULL, NULL);
}
