/* sqlstate_test.c - what each kind of PostgreSQL error means to us, row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "db/connection/sqlstate.h"

static const struct {
    const char *state;
    enum sqlstate_meaning meaning;
    enum err_code code;
} ROWS[] = {
    {NULL, SQLSTATE_CONNECTION, ERR_UNAVAILABLE},
    {"08000", SQLSTATE_CONNECTION, ERR_UNAVAILABLE},
    {"08006", SQLSTATE_CONNECTION, ERR_UNAVAILABLE},
    {"0A000", SQLSTATE_CONNECTION, ERR_UNAVAILABLE}, /* prepared before a migration */
    {"57P01", SQLSTATE_CONNECTION, ERR_UNAVAILABLE}, /* admin_shutdown */
    {"57P02", SQLSTATE_CONNECTION, ERR_UNAVAILABLE}, /* crash_shutdown */
    {"57P03", SQLSTATE_CONNECTION, ERR_UNAVAILABLE}, /* cannot_connect_now */
    {"25006", SQLSTATE_READ_ONLY, ERR_UNAVAILABLE},  /* a standby by now */
    {"26000", SQLSTATE_CONNECTION, ERR_UNAVAILABLE}, /* the session was reset */
    {"40001", SQLSTATE_RACE, ERR_UNAVAILABLE},
    {"40P01", SQLSTATE_RACE, ERR_UNAVAILABLE},
    {"55P03", SQLSTATE_LOCKED, ERR_UNAVAILABLE},
    {"57014", SQLSTATE_DATA, ERR_INTERNAL},
    {"23505", SQLSTATE_UNIQUE, ERR_FAILED_PRECONDITION},
    {"53100", SQLSTATE_UNABLE, ERR_UNAVAILABLE}, /* disk_full */
    {"53200", SQLSTATE_UNABLE, ERR_UNAVAILABLE},
    {"53300", SQLSTATE_UNABLE, ERR_UNAVAILABLE}, /* too_many_connections */
    {"58030", SQLSTATE_UNABLE, ERR_UNAVAILABLE}, /* io_error */
    {"23514", SQLSTATE_DATA, ERR_FAILED_PRECONDITION},
    {"23503", SQLSTATE_DATA, ERR_FAILED_PRECONDITION},
    {"22003", SQLSTATE_DATA, ERR_INVALID_ARGUMENT},
    {"22P02", SQLSTATE_DATA, ERR_INVALID_ARGUMENT},
    {"42501", SQLSTATE_UNABLE, ERR_UNAVAILABLE}, /* insufficient_privilege */
    {"XX000", SQLSTATE_DATA, ERR_INTERNAL},
};

static void each_state_has_its_meaning_and_its_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        struct err e = sqlstate_err(ROWS[i].state);
        print_message("  %s\n", ROWS[i].state == NULL ? "none" : ROWS[i].state);
        assert_int_equal(sqlstate_meaning(ROWS[i].state), ROWS[i].meaning);
        assert_int_equal(e.code, ROWS[i].code);
        assert_int_equal(e.effect, EFFECT_NONE);
        assert_true(e.message[0] != '\0');
        assert_true(sqlstate_words(ROWS[i].state)[0] != '\0');
    }
}

static void each_state_that_stops_writes_has_words(void **state)
{
    (void)state;
    assert_string_equal(sqlstate_words("53100"), "the database's disk is full");
    assert_string_equal(sqlstate_words("25006"), "the database is read-only");
    assert_string_equal(sqlstate_words("42501"), "a right in the database is missing");
    assert_string_equal(sqlstate_words(NULL), "the database cannot be reached");
    assert_true(sqlstate_err("53100").retry_after_ms > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_meaning_and_its_error),
        cmocka_unit_test(each_state_that_stops_writes_has_words),
    };

    return cmocka_run_group_tests_name("sqlstate", tests, NULL, NULL);
}
