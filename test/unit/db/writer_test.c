/*
 * writer_test.c - the group-commit writer's promises (lib/db/db.h), against PostgreSQL:
 * batches, bad operations, locked rows, deadlines, the queue.
 */
#include "unit/db/database.h"
#include "unit/db/writer.h"

/* ---- groups ---------------------------------------------------------------------------- */

static void queued_operations_share_one_transaction(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill_many(ones, MANY, &latch, "g");
    submit_together(db, ones, MANY);
    latch_wait(&latch, 0);
    assert_all_ok(ones, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ones[i].xid, ones[0].xid);
    assert_int_equal(
        sql_number("SELECT count(DISTINCT xid) FROM w.ops WHERE id LIKE 'g%%'"), 1);
    db_close(db);
}

static void no_transaction_holds_more_than_batch_max(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_on(database_url(), 8192, 30, 0);

    (void)state;
    fill_many(ones, MANY, &latch, "g");
    submit_together(db, ones, MANY);
    latch_wait(&latch, 0);
    assert_all_ok(ones, MANY);
    assert_sql_text(
        "{30,30,30,10}",
        "SELECT array_agg(c ORDER BY xid) FROM (SELECT xid, count(*) AS c FROM w.ops"
        " WHERE id LIKE 'g%' GROUP BY xid) AS s");
    db_close(db);
}

static void a_single_operation_runs_at_once(void **state)
{
    struct one one;
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "l%d", i);
        fill(&one, &PUT, &latch, id, 1, LATER_MS);
        run_one(db, &one);
        assert_all_ok(&one, 1);
    }
    assert_int_equal(sql_number("SELECT count(DISTINCT xid) FROM w.ops"), 5);
    db_close(db);
}

/* ---- values ---------------------------------------------------------------------------- */

static void answers_reach_their_own_operations(void **state)
{
    static const char BYTES[] = {0, 1, (char)0xff};
    static const struct db_value
        LINES_A[] = {{.text = "z"}, {.number = 3}, {.text = "a"}, {.number = INT64_MAX}},
        LINES_C[] = {{.text = NULL}, {.number = 9}, {.text = ""}, {.number = INT64_MIN}};
    struct one ones[5];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill_many(ones, 5, &latch, "v");
    ones[0].op.lines = LINES_A;
    ones[0].op.line_count = 2;
    ones[0].op.head[2] = db_i(1);
    ones[1].op.head[3] = db_y(BYTES, sizeof BYTES);
    ones[1].op.head[4] = db_t("");
    ones[2].op.lines = LINES_C;
    ones[2].op.line_count = 2;
    ones[2].op.head[3] = db_y("", 0);
    fill(&ones[3], &TICK, &latch, "tick", 7, LATER_MS);
    ones[4].op.head[1] = db_i(-5);
    ones[4].op.head[4] = db_t("\"it's\", {\\}");
    submit_together(db, ones, 5);
    latch_wait(&latch, 0);
    assert_all_ok(ones, 5);
    assert_string_equal(ones[0].text,
                        "v00000 0 true null null z=3 a=9223372036854775807");
    assert_string_equal(ones[1].text, "v00001 1 false 0001ff ''");
    assert_string_equal(ones[2].text, "v00002 2 false  null =-9223372036854775808");
    assert_int_equal(ones[2].rows, 2); /* a NULL among the lines is a row as well */
    assert_int_equal(ones[3].rows, 0);
    assert_string_equal(ones[4].text, "v00004 -5 false null '\"it's\", {\\}'");
    db_close(db);
}

static void ten_thousand_lines_go_in_one_operation(void **state)
{
    enum { LINES = 10000 };
    static struct db_value lines[2 * LINES];
    struct one one;
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill(&one, &PUT, &latch, "large", 1, LATER_MS);
    for (int i = 0; i < LINES; i++) {
        lines[2 * i] = db_t("some-stock-keeping-unit-of-a-length-that-fills-buffers");
        lines[2 * i + 1] = db_i(i);
    }
    one.op.lines = lines;
    one.op.line_count = LINES;
    run_one(db, &one);
    assert_all_ok(&one, 1);
    assert_int_equal(one.rows, LINES);
    assert_int_equal(sql_number("SELECT sum(quantity) FROM w.lines"),
                     LINES * (LINES - 1) / 2);
    db_close(db);
}

/* ---- bad operations -------------------------------------------------------------------- */

static void fails_alone(const char *what, void (*spoil)(struct one *one),
                        enum err_code code)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    print_message("  %s\n", what);
    sql("%s; INSERT INTO w.ops (id, n, alias) VALUES ('other', 0, 'taken')", SCHEMA);
    fill_many(ones, MANY, &latch, "b");
    for (int i = 0; i < MANY; i++)
        ones[i].op.deadline_ms = in_ms(LATER_MS);
    spoil(&ones[37]);
    submit_together(db, ones, MANY);
    latch_wait(&latch, 0);
    assert_each_once(ones, MANY);
    assert_int_equal(ones[37].error.code, code);
    assert_int_equal(ones[37].error.effect, EFFECT_NONE);
    ones[37].error = ERR_NONE;
    assert_all_ok(ones, MANY);
    assert_each_took_effect_once("b", MANY - 1);
    db_close(db);
}

static void break_check(struct one *one)
{
    one->op.head[1] = db_i(1000000);
}

static void break_unique(struct one *one)
{
    one->op.head[5] = db_t("taken");
}

static void break_cast(struct one *one)
{
    one->op.head[4] = db_t("cast of no number");
}

/* Every statement succeeds and has its answer; only COMMIT does not. */
static void break_commit(struct one *one)
{
    one->op.head[4] = db_t("refused by COMMIT");
}

static void break_utf8(struct one *one)
{
    one->op.head[4] = db_t("\xff\xfe");
}

static void one_bad_operation_in_a_hundred_fails_alone(void **state)
{
    (void)state;
    fails_alone("a violated check", break_check, ERR_FAILED_PRECONDITION);
    fails_alone("a value that is no number", break_cast, ERR_INVALID_ARGUMENT);
    fails_alone("text that is not UTF-8", break_utf8, ERR_INVALID_ARGUMENT);
    fails_alone("what COMMIT refuses", break_commit, ERR_FAILED_PRECONDITION);
    fails_alone("a unique key that is taken", break_unique, ERR_FAILED_PRECONDITION);
}

static void several_bad_operations_fail_alone(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();
    int bad = 0;

    (void)state;
    fill_many(ones, MANY, &latch, "s");
    for (int i = 0; i < MANY; i += 9, bad++)
        break_check(&ones[i]);
    submit_together(db, ones, MANY);
    latch_wait(&latch, 0);
    assert_each_once(ones, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(ones[i].error.code,
                         i % 9 == 0 ? ERR_FAILED_PRECONDITION : ERR_OK);
    assert_each_took_effect_once("s", MANY - bad);
    db_close(db);
}

/* ---- rows that an outsider has locked -------------------------------------------------- */

static PGconn *hold_row_x(void)
{
    PGconn *conn = admin_connect();

    sql_on(conn, "BEGIN; SELECT * FROM w.rows WHERE id = 'x' FOR UPDATE");
    return conn;
}

static void assert_locked_out(const struct one *one)
{
    assert_int_equal(one->calls, 1);
    assert_int_equal(one->error.code, ERR_UNAVAILABLE);
    assert_int_equal(one->error.effect, EFFECT_NONE);
    assert_true(one->error.retry_after_ms > 0);
}

static void a_locked_row_fails_only_operations_that_need_it(void **state)
{
    static struct one ones[MANY];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    fill_many(ones, MANY, &latch, "l");
    ones[37].op.kind = &BUMP_X;
    PGconn *holder = hold_row_x();
    submit_together(db, ones, MANY);
    latch_wait(&latch, 0);
    let_go(holder);
    assert_locked_out(&ones[37]);
    assert_int_equal(db_health(db).code, ERR_OK);
    ones[37].error = ERR_NONE;
    assert_all_ok(ones, MANY);
    assert_each_took_effect_once("l", MANY - 1);
    db_close(db);
}

/* Half of a batch wants it: told in a few attempts, not one an operation. */
static void operations_that_need_one_locked_row_fail_together(void **state)
{
    static const struct db_value X[] = {{.text = "x"}, {.number = 1}},
                                 Y[] = {{.text = "y"}, {.number = 1}};
    static struct one ones[MANY];
    struct latch latch;
    const struct db_config config = {
        .url = database_url(),
        .name = "writer_test",
        .kinds = SALES,
        .kind_count = 1,
        .lock = "SELECT FROM unnest($1 || $2) AS named(id), LATERAL ("
                "    SELECT FROM w.rows r WHERE r.id = named.id FOR UPDATE) AS locked",
        .queue_max = 8192,
        .batch_max = 512,
    };
    struct db *db = NULL;

    (void)state;
    assert_ok(db_open(&config, &db));
    wait_health(db, ERR_OK, "");
    fill_many(ones, MANY, &latch, "s");
    for (int i = 0; i < MANY; i++) {
        ones[i].op.kind = &SELL;
        ones[i].op.lines = i % 2 == 0 ? X : Y;
        ones[i].op.line_count = 1;
    }
    PGconn *holder = hold_row_x();
    const int64_t begun =
        sql_number("SELECT deadlocks + xact_rollback FROM pg_stat_database"
                   " WHERE datname = current_database()");
    for (int i = 0; i < MANY; i++)
        db_submit(db, &ones[i].op);
    latch_wait(&latch, 0);
    let_go(holder);
    db_close(db); /* which reports what it did */
    wait_for_no_session("writer_test");
    for (int i = 0; i < MANY; i++)
        if (i % 2 == 0)
            assert_locked_out(&ones[i]);
        else
            assert_all_ok(&ones[i], 1);
    assert_int_equal(sql_number("SELECT n FROM w.rows WHERE id = 'y'"), MANY / 2);
    int64_t undone = sql_number("SELECT deadlocks + xact_rollback FROM pg_stat_database"
                                " WHERE datname = current_database()") -
                     begun;
    assert_true(undone >= 1 && undone <= 20);
}

/* ---- deadlines ------------------------------------------------------------------------- */

static void a_deadline_that_passes_in_the_database_leaves_it_unknown(void **state)
{
    struct one one, next;
    struct latch latch, next_latch;
    struct db *db = open_db();
    PGconn *holder = hold_total();

    (void)state;
    wait_health(db, ERR_OK, "");
    latch_set(&latch, 1);
    fill(&one, &PUT, &latch, "late", 1, IN_TIME_MS);
    db_submit(db, &one.op);
    latch_wait(&latch, 0);
    wait_blocked("writer_test", 1); /* it was told while the statement still waits */
    assert_each_once(&one, 1);
    assert_int_equal(one.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    let_go(holder);
    fill(&next, &PUT, &next_latch, "next", 1, LATER_MS);
    run_one(db, &next);
    assert_all_ok(&next, 1);
    assert_each_once(&one, 1);
    db_close(db);
}

static void operations_queued_behind_a_locked_row_end_in_time(void **state)
{
    struct one busy, late, never;
    struct latch latch, late_latch, never_latch;
    struct db *db = open_db();
    PGconn *holder = hold_total();

    (void)state;
    latch_set(&latch, 1);
    latch_set(&late_latch, 1);
    latch_set(&never_latch, 1);
    fill(&busy, &PUT, &latch, "busy", 1, LATER_MS);
    fill(&late, &PUT, &late_latch, "late", 1, SOON_MS);
    fill(&never, &PUT, &never_latch, "never", 1, LATER_MS);
    db_submit(db, &busy.op);
    wait_blocked("writer_test", 1);
    int64_t began =
        sql_number("SELECT extract(epoch FROM xact_start) * 1e6 FROM pg_stat_activity"
                   " WHERE wait_event_type = 'Lock'");
    db_submit(db, &late.op);
    db_submit(db, &never.op);
    latch_wait(&late_latch, 0);
    wait_blocked("writer_test", 1);
    /* Still the same attempt: nothing had to end for it to be told. */
    assert_int_equal(sql_number("SELECT extract(epoch FROM xact_start) * 1e6"
                                " FROM pg_stat_activity WHERE wait_event_type = 'Lock'"),
                     began);
    assert_int_equal(late.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(late.error.effect, EFFECT_NONE);
    let_go(holder);
    latch_wait(&latch, 0);
    latch_wait(&never_latch, 0);
    assert_all_ok(&busy, 1);
    assert_all_ok(&never, 1);
    assert_each_once(&late, 1);
    assert_int_equal(sql_number("SELECT count(*) FROM w.ops WHERE id = 'late'"), 0);
    db_close(db);
}

/* The batch does not even go out: the server reads nothing. */
static void a_server_that_hangs_makes_nobody_wait_past_the_deadline(void **state)
{
    enum { LARGE = 4 << 20 };
    struct one ones[2];
    struct latch latch;
    struct db *db = open_db();
    char *large = calloc(1, LARGE + 1);

    (void)state;
    assert_non_null(large);
    memset(large, 'x', LARGE);
    fill(&ones[0], &TICK, &latch, "warm", 0, LATER_MS);
    run_one(db, &ones[0]);
    pid_t server = (pid_t)sql_number("SELECT pid FROM pg_stat_activity"
                                     " WHERE application_name = 'writer_test'");
    assert_int_equal(kill(server, SIGSTOP), 0);
    latch_set(&latch, 2);
    fill(&ones[0], &PUT, &latch, "large", 1, IN_TIME_MS);
    ones[0].op.head[4] = db_t(large);
    db_submit(db, &ones[0].op);
    latch_wait(&latch, 1);
    fill(&ones[1], &PUT, &latch, "behind", 1, SOON_MS);
    db_submit(db, &ones[1].op);
    latch_wait(&latch, 0);
    assert_ok(db_health(db)); /* it was not given up before they were told */
    assert_int_equal(kill(server, SIGCONT), 0);
    assert_int_equal(ones[0].error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(ones[0].error.effect, EFFECT_UNKNOWN);
    assert_int_equal(ones[1].error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(ones[1].error.effect, EFFECT_NONE);
    db_close(db);
    assert_each_once(ones, 2);
    free(large);
}

static void an_operation_that_expired_in_the_queue_never_runs(void **state)
{
    static struct one ones[3];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill_many(ones, 3, &latch, "e");
    ones[1].op.deadline_ms = in_ms(-1);
    submit_together(db, ones, 3);
    latch_wait(&latch, 0);
    assert_each_once(ones, 3);
    assert_int_equal(ones[1].error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(ones[1].error.effect, EFFECT_NONE);
    assert_all_ok(ones, 1);
    assert_all_ok(ones + 2, 1);
    assert_each_took_effect_once("e", 2);
    db_close(db);
}

static void answers_stay_in_step_when_some_of_a_batch_are_late(void **state)
{
    static struct one ones[5];
    char expected[64];
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    fill_many(ones, 5, &latch, "a");
    for (int i = 0; i < 5; i += 2) /* the first, the middle, the last */
        ones[i].op.deadline_ms = in_ms(IN_TIME_MS);
    PGconn *holder = submit_together_held(db, ones, 5);
    latch_wait(&latch, 2);
    let_go(holder);
    latch_wait(&latch, 0);
    assert_each_once(ones, 5);
    for (int i = 0; i < 5; i++) {
        if (i % 2 == 0) {
            assert_int_equal(ones[i].error.code, ERR_DEADLINE_EXCEEDED);
            continue;
        }
        assert_all_ok(&ones[i], 1);
        snprintf(expected, sizeof expected, "a%05d %d false null null", i, i);
        assert_string_equal(ones[i].text, expected);
    }
    assert_int_equal(
        sql_number("SELECT count(DISTINCT xid) FROM w.ops WHERE id LIKE 'a%%'"), 1);
    db_close(db);
}

/* ---- the queue ------------------------------------------------------------------------- */

/* The first is in the database already when all three are cancelled; the others wait. */
static void a_cancelled_operation_is_dropped_unless_it_has_begun(void **state)
{
    static struct one begun, waiting[2];
    struct latch first, others;
    struct cancel cancels[3];
    struct db *db = open_db();

    (void)state;
    memset(cancels, 0, sizeof cancels);
    for (int i = 0; i < 3; i++)
        cancel_begin(&cancels[i]);
    latch_set(&first, 1);
    fill(&begun, &PUT, &first, "begun", 1, LATER_MS);
    begun.op.cancel = &cancels[0];
    PGconn *holder = submit_together_held(db, &begun, 1);
    wait_blocked("writer_test", 1);
    fill_many(waiting, 2, &others, "c");
    waiting[0].op.cancel = &cancels[1];
    waiting[1].op.cancel = &cancels[2];
    db_submit(db, &waiting[0].op);
    db_submit(db, &waiting[1].op);
    assert_true(cancel_request(&cancels[0], cancel_token(&cancels[0])));
    assert_true(cancel_request(&cancels[1], cancel_token(&cancels[1])));
    let_go(holder);
    latch_wait(&first, 0);
    latch_wait(&others, 0);
    assert_all_ok(&begun, 1);
    assert_int_equal(waiting[0].error.code, ERR_CANCELLED);
    assert_int_equal(waiting[0].error.effect, EFFECT_NONE);
    assert_all_ok(&waiting[1], 1);
    assert_each_took_effect_once("c", 1);
    db_close(db);
}

static void a_full_queue_refuses_at_once(void **state)
{
    static struct one ones[6];
    struct latch latch;
    struct db *db = open_on(database_url(), 4, 512, 0);
    PGconn *holder = hold_total();

    (void)state;
    fill_many(ones, 6, &latch, "q");
    db_submit(db, &ones[0].op);
    wait_blocked("writer_test", 1);
    for (int i = 1; i < 6; i++)
        db_submit(db, &ones[i].op);
    assert_int_equal(ones[5].calls, 1); /* before db_submit returned */
    assert_int_equal(ones[5].error.code, ERR_RESOURCE_EXHAUSTED);
    assert_int_equal(ones[5].error.effect, EFFECT_NONE);
    let_go(holder);
    latch_wait(&latch, 0);
    assert_all_ok(ones, 5);
    assert_each_once(ones, 6);
    assert_each_took_effect_once("q", 5);
    db_close(db);
}

static void *close_it(void *arg)
{
    db_close(arg);
    return NULL;
}

static void closing_cancels_each_queued_operation_once(void **state)
{
    static struct one ones[10], after[1000];
    struct latch latch, after_latch;
    struct db *db = open_db();
    PGconn *holder = hold_total();
    pthread_t closer;
    int tries = 0;

    (void)state;
    fill_many(ones, 10, &latch, "c");
    fill_many(after, 1000, &after_latch, "d");
    db_submit(db, &ones[0].op);
    wait_blocked("writer_test", 1);
    for (int i = 1; i < 10; i++)
        db_submit(db, &ones[i].op);
    assert_int_equal(pthread_create(&closer, NULL, close_it, db), 0);
    /* It is closing once it takes no more. */
    do {
        breathe();
        db_submit(db, &after[tries].op);
    } while (after[tries++].calls == 0 && tries < 1000);
    let_go(holder);
    pthread_join(closer, NULL);
    assert_each_once(ones, 10);
    assert_each_once(after, tries);
    assert_all_ok(ones, 1); /* it was under way, and its COMMIT was seen */
    for (int i = 1; i < 10; i++) {
        assert_int_equal(ones[i].error.code, ERR_CANCELLED);
        assert_int_equal(ones[i].error.effect, EFFECT_NONE);
    }
    assert_int_equal(after[tries - 1].error.code, ERR_CANCELLED);
    assert_each_took_effect_once("c", 1);
}

static void closing_does_not_wait_for_operations_that_have_ended(void **state)
{
    struct one one;
    struct latch latch;
    struct db *db = open_db();
    PGconn *holder = hold_total();

    (void)state;
    wait_health(db, ERR_OK, "");
    fill(&one, &PUT, &latch, "late", 1, IN_TIME_MS);
    run_one(db, &one);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    wait_blocked("writer_test", 1);
    const int64_t begun = clock_monotonic_ms();
    db_close(db);
    assert_true(clock_monotonic_ms() - begun < CLOSING_MS);
    let_go(holder);
}

/* ---- races ----------------------------------------------------------------------------- */

/* Two writers that lock two rows in opposite order: deadlocks, all of them survived. */
static void deadlocks_are_run_again_and_nothing_is_lost(void **state)
{
    enum { PAIRS = 300 };
    static struct one ones[4 * PAIRS];
    struct latch latch;
    struct db *there = open_db(), *back = NULL;
    struct db_config config = {
        .url = database_url(),
        .name = "backwards",
        .kinds = BACKWARDS,
        .kind_count = 2,
        .queue_max = 8192,
        .batch_max = 20,
    };
    char id[32];

    (void)state;
    assert_ok(db_open(&config, &back));
    latch_set(&latch, 4 * PAIRS);
    for (int i = 0; i < 4 * PAIRS; i++) {
        snprintf(id, sizeof id, "d%05d", i);
        fill(&ones[i], i % 2 == 0 ? &BUMP_X : &BUMP_Y, &latch, id, 1, LATER_MS);
    }
    for (int i = 0; i < 4 * PAIRS; i++) {
        db_submit(i % 4 < 2 ? there : back, &ones[i].op);
        if (i % 32 == 0)
            latch_wait(&latch, 4 * PAIRS - i / 2);
    }
    latch_wait(&latch, 0);
    assert_all_ok(ones, 4 * PAIRS);
    assert_sql_text("{600,600}", "SELECT array_agg(n) FROM w.rows");
    db_close(there);
    db_close(back);
}

static void a_serialization_failure_is_run_again(void **state)
{
    struct one one;
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    fill(&one, &PUT, &latch, "serial", 1, LATER_MS);
    one.op.head[4] = db_t("too old at first"); /* 40001 */
    run_one(db, &one);
    assert_all_ok(&one, 1);
    assert_each_took_effect_once("serial", 1);
    assert_int_equal(sql_number("SELECT last_value FROM w.commits"), 2);
    db_close(db);
}

/* ---- waiting --------------------------------------------------------------------------- */

static void add_rows(void *arg, const struct db_rows *rows)
{
    *(int64_t *)arg += rows->count > 0 ? db_number(rows, 0, 2) : 0;
}

static void db_submit_wait_gives_every_answer_and_the_first_error(void **state)
{
    static struct one ones[4];
    struct db_op ops[4];
    struct latch latch;
    struct db *db = open_db();
    int64_t sum = 0;

    (void)state;
    fill_many(ones, 4, &latch, "w");
    for (int i = 0; i < 4; i++)
        ops[i] = ones[i].op;
    assert_ok(db_submit_wait(db, ops, 4, add_rows, &sum));
    assert_int_equal(sum, 0 + 1 + 2 + 3);
    ops[2].head[0] = db_t("bad");
    ops[2].head[1] = db_i(1000000);
    sum = 0;
    struct err e = db_submit_wait(db, ops, 4, add_rows, &sum);
    assert_int_equal(e.code, ERR_FAILED_PRECONDITION);
    assert_int_equal(sum, 0 + 1 + 3);
    db_close(db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(queued_operations_share_one_transaction),
        TEST(no_transaction_holds_more_than_batch_max),
        TEST(a_single_operation_runs_at_once),
        TEST(answers_reach_their_own_operations),
        TEST(ten_thousand_lines_go_in_one_operation),
        TEST(one_bad_operation_in_a_hundred_fails_alone),
        TEST(several_bad_operations_fail_alone),
        TEST(a_locked_row_fails_only_operations_that_need_it),
        TEST(operations_that_need_one_locked_row_fail_together),
        TEST(a_deadline_that_passes_in_the_database_leaves_it_unknown),
        TEST(operations_queued_behind_a_locked_row_end_in_time),
        TEST(a_server_that_hangs_makes_nobody_wait_past_the_deadline),
        TEST(an_operation_that_expired_in_the_queue_never_runs),
        TEST(answers_stay_in_step_when_some_of_a_batch_are_late),
        TEST(a_cancelled_operation_is_dropped_unless_it_has_begun),
        TEST(a_full_queue_refuses_at_once),
        TEST(closing_cancels_each_queued_operation_once),
        TEST(closing_does_not_wait_for_operations_that_have_ended),
        TEST(deadlocks_are_run_again_and_nothing_is_lost),
        TEST(a_serialization_failure_is_run_again),
        TEST(db_submit_wait_gives_every_answer_and_the_first_error),
    };

    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
