/*
 * batch_test.c - a write that answers for what it changed (db.h, write_answers).
 *
 * TOLD's write says 'told' of each row it inserts; its answer says 'asked', and fails for
 * a row with the gate's number.
 */
#include "unit/db/database.h"

#include <stdatomic.h>

enum { MANY = 200, LATER_MS = 50000 };

static const char SCHEMA[] = "DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w;"
                             "CREATE TABLE w.ops (id text PRIMARY KEY, n bigint);"
                             "CREATE TABLE w.gate (shut bigint);"
                             "INSERT INTO w.gate VALUES (-1)";

static const struct db_kind TOLD = {
    .name = "told",
    .head = "ti", /* id, n */
    .write = "WITH new AS ("
             "    INSERT INTO w.ops (id, n)"
             "    SELECT a.id, a.n FROM unnest($1, $2) AS a(id, n)"
             "    ORDER BY a.id ON CONFLICT DO NOTHING RETURNING id, n"
             ")" /* as many rows as n says, 1 to 3 */
             "SELECT id, 'told', n::bigint FROM new, generate_series(1, n % 3 + 1)",
    .write_answers = true,
    .answer = "SELECT a.ordinal, 'asked', o.n "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "JOIN w.ops o ON o.id = a.id JOIN w.gate g ON 1 / (o.n - g.shut) < 2 "
              "ORDER BY a.ordinal",
};

/* Answers in the transaction, beside the others. */
static const struct db_kind LOOK = {
    .name = "look",
    .head = "ti", /* id, n: not used */
    .answer = "SELECT a.ordinal, 'looked', coalesce(o.n, -1) "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "LEFT JOIN w.ops o ON o.id = a.id "
              "ORDER BY a.ordinal",
};

/* Promises a row whose number is not NULL, and finds none of an id that nobody wrote. */
static const struct db_kind FIND = {
    .name = "find",
    .head = "ti", /* id, n: not used */
    .rows = "+iti",
    .answer = "SELECT a.ordinal, o.id, o.n "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "JOIN w.ops o ON o.id = a.id ORDER BY a.ordinal",
};

static const struct db_kind *const KINDS[] = {&TOLD, &LOOK, &FIND};

struct one {
    struct db_op op;
    struct latch *latch;
    atomic_int calls;
    struct err error;
    int rows;
    int64_t n;
    char id[16], how[16];
};

static struct db *open_db(void)
{
    const struct db_config config = {.url = database_url(),
                                     .name = "answers_test",
                                     .kinds = KINDS,
                                     .kind_count = 3,
                                     .queue_max = 8192,
                                     .batch_max = 512};
    struct db *db = NULL;

    assert_ok(db_open(&config, &db));
    return db;
}

static int new_schema(void **state)
{
    (void)state;
    wait_for_no_session("answers_test");
    sql("%s", SCHEMA);
    return 0;
}

static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct one *one = arg;

    one->calls++;
    one->error = error;
    one->rows = rows->count;
    if (!failed(error) && rows->count > 0) {
        snprintf(one->how, sizeof one->how, "%s", db_text(rows, 0, 1));
        one->n = db_number(rows, 0, 2);
    }
    latch_count(one->latch);
}

static void fill(struct one *one, const struct db_kind *kind, struct latch *latch, int id,
                 int64_t n, int64_t deadline_ms)
{
    *one = (struct one){.latch = latch};
    snprintf(one->id, sizeof one->id, "%05d", id);
    one->op = (struct db_op){.kind = kind,
                             .head = {db_t(one->id), db_i(n)},
                             .deadline_ms = in_ms(deadline_ms),
                             .done = on_done,
                             .arg = one};
}

static void run(struct db *db, struct one *ones, int count)
{
    latch_set(ones->latch, count);
    for (int i = 0; i < count; i++)
        db_submit(db, &ones[i].op);
    latch_wait(ones->latch, 0);
}

static void assert_answered(const struct one *one, const char *how, int rows, int64_t n)
{
    assert_int_equal(one->calls, 1);
    assert_ok(one->error);
    assert_string_equal(one->how, how);
    assert_int_equal(one->rows, rows);
    assert_int_equal(one->n, n);
}

/* In no order, so that neither ids nor rows come in that of the operations. */
static int shuffled(int i)
{
    return i * 73 % MANY;
}

static void each_operation_gets_the_rows_of_its_own_id(void **state)
{
    static struct one ones[2 * MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    for (int i = 0; i < MANY; i++) {
        fill(&ones[2 * i], &TOLD, &latch, shuffled(i), shuffled(i), LATER_MS);
        fill(&ones[2 * i + 1], &LOOK, &latch, MANY + i, 0, LATER_MS);
    }
    run(db, ones, 2 * MANY);
    for (int i = 0; i < MANY; i++) {
        assert_answered(&ones[2 * i], "told", shuffled(i) % 3 + 1, shuffled(i));
        assert_answered(&ones[2 * i + 1], "looked", 1, -1);
    }
    db_close(db);
}

static void operations_that_changed_nothing_are_answered_by_answer(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    sql("INSERT INTO w.ops SELECT lpad(n::text, 5, '0'), 1000 + n"
        " FROM generate_series(0, %d, 2) AS n",
        MANY - 1);
    for (int i = 0; i < MANY; i++)
        fill(&ones[i], &TOLD, &latch, shuffled(i), shuffled(i), LATER_MS);
    run(db, ones, MANY);
    for (int i = 0; i < MANY; i++)
        if (shuffled(i) % 2 == 0)
            assert_answered(&ones[i], "asked", 1, 1000 + shuffled(i));
        else
            assert_answered(&ones[i], "told", shuffled(i) % 3 + 1, shuffled(i));
    db_close(db);
}

/* Of those that ask for one id in one batch, the first is told; the others hear of its
 * row. */
static void of_operations_with_one_id_the_first_is_written(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    for (int i = 0; i < MANY; i++)
        fill(&ones[i], &TOLD, &latch, i % 10, i, LATER_MS);
    run(db, ones, MANY);
    for (int i = 0; i < MANY; i++)
        if (i < 10)
            assert_answered(&ones[i], "told", i % 3 + 1, i);
        else
            assert_answered(&ones[i], "asked", 1, i % 10);
    db_close(db);
}

/* The one that waits for the gate's lock is found by it. */
static void a_connection_lost_while_asking_loses_no_answer(void **state)
{
    static struct one ones[2];
    struct latch latch;
    struct db *db = open_db();
    PGconn *holder = admin_connect();

    (void)state;
    sql("INSERT INTO w.ops VALUES ('00001', 7)");
    fill(&ones[0], &LOOK, &latch, 1, 0, LATER_MS);
    run(db, ones, 1); /* connected, and all is prepared */
    sql_on(holder, "BEGIN; LOCK TABLE w.gate");
    latch_set(&latch, 2);
    for (int i = 0; i < 2; i++) {
        fill(&ones[i], &TOLD, &latch, i, i, LATER_MS);
        db_submit(db, &ones[i].op);
    }
    wait_blocked("answers_test", 1);
    latch_wait(&latch, 1); /* the new one does not wait for the other */
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'answers_test'");
    sql_on(holder, "ROLLBACK");
    latch_wait(&latch, 0);
    assert_answered(&ones[0], "told", 1, 0);
    assert_answered(&ones[1], "asked", 1, 7);
    PQfinish(holder);
    db_close(db);
}

/* What was committed and cannot be answered is not called undone; and it stands alone. */
static void an_answer_that_fails_is_unknown_and_fails_alone(void **state)
{
    enum { SHUT = 13 };
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    sql("INSERT INTO w.ops SELECT lpad(n::text, 5, '0'), n FROM generate_series(0, %d) AS n;"
        "UPDATE w.gate SET shut = %d",
        MANY - 1, SHUT);
    for (int i = 0; i < MANY; i++)
        fill(&ones[i], &TOLD, &latch, i, i, LATER_MS);
    run(db, ones, MANY);
    for (int i = 0; i < MANY; i++)
        if (i != SHUT)
            assert_answered(&ones[i], "asked", 1, i);
    assert_int_equal(ones[SHUT].calls, 1);
    assert_int_equal(ones[SHUT].error.code, ERR_INVALID_ARGUMENT); /* division by zero */
    assert_int_equal(ones[SHUT].error.effect, EFFECT_UNKNOWN);
    db_close(db);
}

/* A migration while we run: the statements that were prepared before it are of no more
 * use. */
static void a_column_of_another_type_is_written_and_read(void **state)
{
    static struct one ones[2];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill(&ones[0], &TOLD, &latch, 0, 3, LATER_MS);
    run(db, &ones[0], 1);
    sql("CREATE DOMAIN w.number AS bigint CHECK (VALUE >= 0);"
        "ALTER TABLE w.ops ALTER n TYPE w.number");
    fill(&ones[0], &TOLD, &latch, 0, 0, LATER_MS);
    run(db, &ones[0], 1); /* only the answer's type has changed */
    assert_answered(&ones[0], "asked", 1, 3);
    fill(&ones[1], &TOLD, &latch, 1, 6, LATER_MS);
    run(db, &ones[1], 1);
    assert_answered(&ones[1], "told", 1, 6);
    db_close(db);
}

static void
rows_that_are_not_as_promised_are_data_loss_for_their_own_operation(void **state)
{
    static struct one ones[3];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    sql("INSERT INTO w.ops VALUES ('00001', 7), ('00002', NULL)");
    for (int i = 0; i < 3; i++)
        fill(&ones[i], &FIND, &latch, i + 1, 0, LATER_MS);
    run(db, ones, 3);
    assert_answered(&ones[0], "00001", 1, 7);
    assert_int_equal(ones[1].error.code, ERR_DATA_LOSS);
    assert_non_null(strstr(ones[1].error.message, "(n) is NULL"));
    assert_int_equal(ones[1].error.effect, EFFECT_NONE);
    assert_int_equal(ones[2].error.code, ERR_DATA_LOSS);
    assert_non_null(strstr(ones[2].error.message, "A row is missing"));
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_operation_gets_the_rows_of_its_own_id, new_schema),
        cmocka_unit_test_setup(operations_that_changed_nothing_are_answered_by_answer,
                               new_schema),
        cmocka_unit_test_setup(of_operations_with_one_id_the_first_is_written,
                               new_schema),
        cmocka_unit_test_setup(a_connection_lost_while_asking_loses_no_answer,
                               new_schema),
        cmocka_unit_test_setup(an_answer_that_fails_is_unknown_and_fails_alone,
                               new_schema),
        cmocka_unit_test_setup(
            rows_that_are_not_as_promised_are_data_loss_for_their_own_operation,
            new_schema),
        cmocka_unit_test_setup(a_column_of_another_type_is_written_and_read, new_schema),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
