/* reader_test.c - read-only queries: beside each other, in time, on connections that
 * die. */
#include "unit/db/database.h"

#include <stdatomic.h>

#include "db/db.h"

enum { LATER_MS = 50000, SOON_MS = 150 };

/* A database has a writer, which here has nothing to do. */
static const struct db_kind NOTHING = {
    .name = "nothing", .head = "t", .answer = "SELECT 1::bigint WHERE $1 IS NULL"};
static const struct db_kind *const KINDS[] = {&NOTHING};

static struct db *open_db(size_t readers, size_t queue_max)
{
    const struct db_config config = {
        .url = database_url(),
        .name = "reader_test",
        .kinds = KINDS,
        .kind_count = 1,
        .queue_max = queue_max,
        .batch_max = 16,
        .readers = readers,
    };
    struct db *db = NULL;

    assert_ok(db_open(&config, &db));
    return db;
}

struct ask {
    struct db_query query;
    struct latch latch;
    atomic_int calls;
    struct err error;
    int rows;
    int64_t number;
};

static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct ask *ask = arg;

    ask->calls++;
    ask->error = error;
    ask->rows = rows->count;
    if (rows->count > 0)
        ask->number = db_number(rows, 0, 0);
    latch_count(&ask->latch);
}

static void start(struct db *db, struct ask *ask, const char *name, const char *text,
                  int64_t number, int64_t deadline_ms)
{
    *ask = (struct ask){.query = {
                            .name = name,
                            .types = "i",
                            .sql = text,
                            .values = {db_i(number)},
                            .deadline_ms = in_ms(deadline_ms),
                            .done = on_done,
                            .arg = ask,
                        }};
    latch_set(&ask->latch, 1);
    db_read(db, &ask->query);
}

static void finish(struct ask *ask)
{
    latch_wait(&ask->latch, 0);
    assert_int_equal(ask->calls, 1);
}

static void start_echo(struct db *db, struct ask *ask, int64_t number)
{
    start(db, ask, "echo", "SELECT $1", number, LATER_MS);
}

/* Waits for an advisory lock the admin holds. */
static void start_blocked(struct db *db, struct ask *ask, int64_t deadline_ms)
{
    start(db, ask, "blocked", "SELECT 7::bigint FROM pg_advisory_xact_lock($1)", 1,
          deadline_ms);
}

static PGconn *hold(void)
{
    PGconn *conn = admin_connect();

    sql_on(conn, "SELECT pg_advisory_lock(1)");
    return conn;
}

static void a_slow_query_delays_no_other(void **state)
{
    enum { ECHOES = 200 };
    static struct ask echoes[ECHOES];
    struct ask slow;
    struct db *db = open_db(2, 1000);
    PGconn *holder = hold();

    (void)state;
    start_blocked(db, &slow, LATER_MS);
    wait_blocked("reader_test", 1);
    for (int i = 0; i < ECHOES; i++)
        start_echo(db, &echoes[i], i);
    for (int i = 0; i < ECHOES; i++) {
        finish(&echoes[i]);
        assert_ok(echoes[i].error);
        assert_int_equal(echoes[i].number, i);
    }
    assert_int_equal(slow.calls, 0);
    PQfinish(holder);
    finish(&slow);
    assert_ok(slow.error);
    assert_int_equal(slow.number, 7);
    db_close(db);
}

static void a_query_ends_at_its_deadline(void **state)
{
    struct ask slow, next;
    struct db *db = open_db(1, 1000);
    PGconn *holder = hold();

    (void)state;
    start_blocked(db, &slow, SOON_MS);
    finish(&slow);
    assert_int_equal(slow.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(slow.error.effect, EFFECT_NONE);
    start_echo(db, &next, 5);
    finish(&next);
    assert_ok(next.error);
    assert_int_equal(next.number, 5);
    PQfinish(holder);
    db_close(db);
}

static void a_queued_query_ends_in_time_while_all_readers_are_busy(void **state)
{
    struct ask slow, waiting;
    struct db *db = open_db(1, 1000);
    PGconn *holder = hold();

    (void)state;
    start_blocked(db, &slow, LATER_MS);
    wait_blocked("reader_test", 1);
    start(db, &waiting, "echo", "SELECT $1", 1, SOON_MS);
    finish(&waiting);
    assert_int_equal(slow.calls, 0);
    assert_int_equal(waiting.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(waiting.error.effect, EFFECT_NONE);
    wait_blocked("reader_test", 1);
    PQfinish(holder);
    finish(&slow);
    assert_ok(slow.error);
    db_close(db);
}

static void a_connection_that_died_idle_or_at_work_is_replaced(void **state)
{
    static const char KILL[] = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                               " WHERE application_name = 'reader_test'";
    struct ask ask;
    struct db *db = open_db(1, 1000);

    (void)state;
    for (int i = 0; i < 3; i++) {
        start_echo(db, &ask, i);
        finish(&ask);
        assert_ok(ask.error);
        assert_int_equal(ask.number, i);
        sql("%s", KILL);
    }
    start_echo(db, &ask, 9);
    finish(&ask);
    PGconn *holder = hold();
    start_blocked(db, &ask, LATER_MS);
    wait_blocked("reader_test", 1);
    sql("%s", KILL);
    wait_blocked("reader_test", 1);
    PQfinish(holder);
    finish(&ask);
    assert_ok(ask.error);
    assert_int_equal(ask.number, 7);
    db_close(db);
}

static void errors_say_what_they_mean(void **state)
{
    struct ask ask;
    struct db *db = open_db(1, 1000);

    (void)state;
    start(db, &ask, "divide", "SELECT 1 / $1", 0, LATER_MS);
    finish(&ask);
    assert_int_equal(ask.error.code, ERR_INVALID_ARGUMENT);
    start(db, &ask, "none", "SELECT $1 WHERE false", 0, LATER_MS);
    finish(&ask);
    assert_ok(ask.error);
    assert_int_equal(ask.rows, 0);
    start(db, &ask, "expired", "SELECT $1", 0, -1);
    finish(&ask);
    assert_int_equal(ask.error.code, ERR_DEADLINE_EXCEEDED);
    db_close(db);
}

static void a_query_writes_nothing(void **state)
{
    struct ask ask;
    struct db *db = open_db(1, 1000);

    (void)state;
    sql("CREATE TABLE IF NOT EXISTS read_only_proof (n bigint)");
    start(db, &ask, "write", "INSERT INTO read_only_proof VALUES ($1) RETURNING n", 1,
          LATER_MS);
    finish(&ask);
    assert_true(failed(ask.error));
    assert_int_equal(sql_number("SELECT count(*) FROM read_only_proof"), 0);
    db_close(db);
}

static void a_full_queue_refuses_at_once(void **state)
{
    struct ask slow, asks[3];
    struct db *db = open_db(1, 2);
    PGconn *holder = hold();

    (void)state;
    start_blocked(db, &slow, LATER_MS);
    wait_blocked("reader_test", 1);
    for (int i = 0; i < 3; i++)
        start_echo(db, &asks[i], i);
    assert_int_equal(asks[2].calls, 1);
    assert_int_equal(asks[2].error.code, ERR_RESOURCE_EXHAUSTED);
    PQfinish(holder);
    finish(&slow);
    for (int i = 0; i < 2; i++) {
        finish(&asks[i]);
        assert_ok(asks[i].error);
    }
    db_close(db);
}

static void every_query_is_answered_once_when_it_closes(void **state)
{
    enum { ASKS = 50 };
    static struct ask asks[ASKS];
    struct db *db = open_db(3, 1000);

    (void)state;
    for (int i = 0; i < ASKS; i++)
        start_echo(db, &asks[i], i);
    db_close(db);
    for (int i = 0; i < ASKS; i++) {
        finish(&asks[i]);
        assert_true(asks[i].error.code == ERR_OK || asks[i].error.code == ERR_CANCELLED);
    }
}

static void add(void *arg, const struct db_rows *rows)
{
    *(int64_t *)arg += db_number(rows, 0, 0);
}

static void db_read_wait_gives_the_rows_or_the_error(void **state)
{
    struct db *db = open_db(1, 1000);
    struct db_query query = {.name = "echo",
                             .types = "i",
                             .sql = "SELECT $1",
                             .values = {db_i(41)},
                             .deadline_ms = in_ms(LATER_MS)};
    int64_t sum = 1;

    (void)state;
    assert_ok(db_read_wait(db, &query, add, &sum));
    assert_int_equal(sum, 42);
    query.deadline_ms = in_ms(-1);
    struct err e = db_read_wait(db, &query, add, &sum);
    assert_int_equal(e.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(sum, 42);
    db_close(db);
}

/* What a test that failed has left open goes first. */
static int set_up(void **state)
{
    (void)state;
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_slow_query_delays_no_other),
        TEST(a_query_ends_at_its_deadline),
        TEST(a_queued_query_ends_in_time_while_all_readers_are_busy),
        TEST(a_connection_that_died_idle_or_at_work_is_replaced),
        TEST(errors_say_what_they_mean),
        TEST(a_query_writes_nothing),
        TEST(a_full_queue_refuses_at_once),
        TEST(every_query_is_answered_once_when_it_closes),
        TEST(db_read_wait_gives_the_rows_or_the_error),
    };

    return cmocka_run_group_tests_name("reader", tests, NULL, NULL);
}
