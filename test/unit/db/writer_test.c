/*
 * writer_test.c - the group-commit writer's promises (lib/db/db.h), against PostgreSQL.
 *
 * The kind PUT writes a row an operation and adds its number to one total in the same
 * statement: a second effect of any operation would show in the total.  Without operations
 * it touches no row, as all kinds must.
 */
#include "unit/db/database.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "db/wait.h"

enum {
    MANY = 100,
    STREAM = 1500,
    SOON_MS = 150,     /* deadlines that are meant to pass, in a queue */
    IN_TIME_MS = 2000, /* and in the database: enough to get there first */
    LATER_MS = 50000,
    CLOSING_MS = 15000, /* what a service has to end */
};

static const char SCHEMA[] =
    "DROP SCHEMA IF EXISTS w CASCADE; CREATE SCHEMA w;"
    "CREATE TABLE w.ops (id text PRIMARY KEY, n bigint CHECK (n < 1000000), flag boolean,"
    "                    bytes bytea, note text, alias text UNIQUE,"
    "                    xid bigint DEFAULT txid_current());"
    "CREATE TABLE w.lines (op_id text, position bigserial, sku text, quantity bigint);"
    "CREATE TABLE w.total (sum bigint NOT NULL);"
    "INSERT INTO w.total VALUES (0);"
    /* A test that holds the total may do so for as long as it likes. */
    "CREATE SEQUENCE w.held;"
    "CREATE FUNCTION w.patient() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN IF (SELECT last_value FROM w.held) = 2"
    "  THEN PERFORM set_config(''lock_timeout'', ''0'', true); END IF; RETURN NULL; END';"
    "CREATE TRIGGER patient BEFORE UPDATE ON w.total EXECUTE FUNCTION w.patient();"
    "CREATE TABLE w.rows (id text PRIMARY KEY, n bigint NOT NULL);"
    "INSERT INTO w.rows VALUES ('x', 0), ('y', 0);"
    "CREATE SEQUENCE w.commits;" /* counts on when a transaction is rolled back */
    "CREATE FUNCTION w.refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " 'BEGIN IF NEW.note = ''refused by COMMIT'' THEN RAISE check_violation; END IF;"
    "  IF NEW.note = ''read-only'' OR NEW.note = ''read-only at first'' AND nextval(''w.commits'') = 1"
    "  THEN PERFORM set_config(''transaction_read_only'', ''on'', true), nextval(''w.commits'');"
    "  END IF;"
    "  IF NEW.note = ''too old at first'' AND nextval(''w.commits'') = 1"
    "  THEN RAISE serialization_failure; END IF;"
    "  RETURN NULL; END';"
    "CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON w.ops DEFERRABLE INITIALLY DEFERRED"
    " FOR EACH ROW EXECUTE FUNCTION w.refuse()";

/* A note "cast..." is read as a number, which it is not. */
static const struct db_kind PUT = {
    .name = "put",
    .head = "tibytt", /* id, n, flag, bytes, note, alias */
    .lines = "ti",    /* sku, quantity */
    .write =
        "WITH new AS ("
        "    INSERT INTO w.ops (id, n, flag, bytes, note, alias)"
        "    SELECT a.id, a.n, a.flag, a.bytes,"
        "           CASE WHEN a.note LIKE 'cast%' THEN a.note::bigint::text ELSE a.note END,"
        "           a.alias"
        "    FROM unnest($1, $2, $3, $4, $5, $6) AS a(id, n, flag, bytes, note, alias)"
        "    ORDER BY a.id ON CONFLICT (id) DO NOTHING RETURNING id, n"
        "), lines AS ("
        "    INSERT INTO w.lines (op_id, sku, quantity)"
        "    SELECT new.id, l.sku, l.quantity"
        "    FROM unnest($7, $8, $9) WITH ORDINALITY AS l(op, sku, quantity, position)"
        "    JOIN unnest($1) WITH ORDINALITY AS a(id, op) USING (op) JOIN new USING (id)"
        "    ORDER BY l.position"
        ") "
        "UPDATE w.total SET sum = sum + (SELECT coalesce(sum(n), 0) FROM new) "
        "WHERE cardinality($1) > 0",
    .answer =
        "SELECT a.ordinal, o.id, o.n, o.flag, o.bytes, o.note, o.xid, l.sku, l.quantity "
        "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
        "JOIN w.ops o ON o.id = a.id LEFT JOIN w.lines l ON l.op_id = o.id "
        "ORDER BY a.ordinal, l.position",
};

/* Answers nothing. */
static const struct db_kind TICK = {
    .name = "tick",
    .head = "ti", /* id, n */
    .write =
        "WITH new AS (INSERT INTO w.ops (id, n)"
        "             SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING RETURNING n) "
        "UPDATE w.total SET sum = sum + (SELECT coalesce(sum(n), 0) FROM new) "
        "WHERE cardinality($1) > 0",
};

/* One row each, so that two writers can meet in the wrong order. */
#define BUMP(row)                                                                        \
    "WITH new AS (INSERT INTO w.ops (id, n)"                                             \
    "             SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING RETURNING n) "     \
    "UPDATE w.rows SET n = n + (SELECT coalesce(sum(n), 0) FROM new) "                   \
    "WHERE id = '" row "' AND cardinality($1) > 0"

static const struct db_kind BUMP_X = {.name = "bump_x", .head = "ti", .write = BUMP("x")};
static const struct db_kind BUMP_Y = {.name = "bump_y", .head = "ti", .write = BUMP("y")};

/* Adds to the rows its lines name. */
static const struct db_kind SELL = {
    .name = "sell",
    .head = "ti",  /* id, n */
    .lines = "ti", /* row, n */
    .write =
        "WITH new AS ("
        "    INSERT INTO w.ops (id, n)"
        "    SELECT * FROM unnest($1, $2) ON CONFLICT DO NOTHING RETURNING id"
        ") "
        "UPDATE w.rows r SET n = r.n + l.n"
        " FROM (SELECT l.row, sum(l.n) AS n FROM unnest($3, $4, $5) AS l(op, row, n)"
        "       JOIN unnest($1) WITH ORDINALITY AS a(id, op) USING (op) JOIN new USING (id)"
        "       GROUP BY l.row) l WHERE r.id = l.row",
};

static const struct db_kind *const KINDS[] = {&PUT, &TICK, &BUMP_X, &BUMP_Y};
static const struct db_kind *const SALES[] = {&SELL};
static const struct db_kind *const BACKWARDS[] = {&BUMP_Y, &BUMP_X};

static struct db *open_on(const char *url, size_t queue_max, size_t batch_max,
                          size_t readers)
{
    const struct db_config config = {
        .url = url,
        .name = "writer_test",
        .kinds = KINDS,
        .kind_count = 4,
        .queue_max = queue_max,
        .batch_max = batch_max,
        .readers = readers,
    };
    struct db *db = NULL;

    assert_ok(db_open(&config, &db));
    return db;
}

static struct db *open_db(void)
{
    return open_on(database_url(), 8192, 512, 0);
}

/* What a test that failed has left open goes first. */
static int new_schema(void **state)
{
    (void)state;
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
    wait_for_no_session("writer_test");
    sql("%s", SCHEMA);
    return 0;
}

/* ---- operations, and what became of them ----------------------------------------------- */

enum { TEXT_MAX = 256 };

struct one {
    struct db_op op;
    struct latch *latch;
    atomic_int calls;
    struct err error;
    int rows;
    int64_t xid;
    char id[32], text[TEXT_MAX]; /* "id n flag bytes note sku=quantity ..." */
};

static void describe(struct one *one, const struct db_rows *rows)
{
    size_t used = 0, size = db_size(rows, 0, 4);
    const char *id = db_text(rows, 0, 1), *bytes = db_text(rows, 0, 4),
               *note = db_text(rows, 0, 5);

    used +=
        (size_t)snprintf(one->text, TEXT_MAX, "%s %" PRId64 " %s ", id,
                         db_number(rows, 0, 2), db_bool(rows, 0, 3) ? "true" : "false");
    if (bytes == NULL)
        used += (size_t)snprintf(one->text + used, TEXT_MAX - used, "null");
    for (size_t i = 0; i < size && i < 8; i++)
        used += (size_t)snprintf(one->text + used, TEXT_MAX - used, "%02x",
                                 (unsigned char)bytes[i]);
    used +=
        (size_t)snprintf(one->text + used, TEXT_MAX - used,
                         note == NULL ? " %s" : " '%s'", note == NULL ? "null" : note);
    for (int i = 0; i < rows->count && used < TEXT_MAX - 64; i++)
        if (db_text(rows, i, 7) != NULL)
            used += (size_t)snprintf(one->text + used, TEXT_MAX - used, " %s=%" PRId64,
                                     db_text(rows, i, 7), db_number(rows, i, 8));
    one->xid = db_number(rows, 0, 6);
}

static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct one *one = arg;

    one->calls++;
    one->error = error;
    one->rows = rows->count;
    if (rows->count > 0)
        describe(one, rows);
    latch_count(one->latch);
}

static void fill(struct one *one, const struct db_kind *kind, struct latch *latch,
                 const char *id, int64_t n, int64_t deadline_ms)
{
    memset(one, 0, sizeof *one);
    snprintf(one->id, sizeof one->id, "%s", id);
    one->latch = latch;
    one->op = (struct db_op){
        .kind = kind,
        .head = {db_t(one->id), db_i(n), db_i(0), {0}, {0}, {0}},
        .deadline_ms = in_ms(deadline_ms),
        .done = on_done,
        .arg = one,
    };
}

static void fill_many(struct one *ones, int count, struct latch *latch,
                      const char *prefix)
{
    char id[32];

    latch_set(latch, count);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "%s%05d", prefix, i);
        fill(&ones[i], &PUT, latch, id, i, LATER_MS);
    }
}

static void run_one(struct db *db, struct one *one)
{
    latch_set(one->latch, 1);
    db_submit(db, &one->op);
    latch_wait(one->latch, 0);
}

/* Holds the row every PUT needs, until let go. */
static PGconn *hold_total(void)
{
    PGconn *conn = admin_connect();

    sql_on(conn, "SELECT setval('w.held', 2)");
    sql_on(conn, "BEGIN; SELECT * FROM w.total FOR UPDATE");
    return conn;
}

static void let_go(PGconn *conn)
{
    sql_on(conn, "ROLLBACK");
    PQfinish(conn);
}

/*
 * Submitted from the writer's own thread, while it is busy with that call: so they are all
 * in the queue when it looks for its next batch.
 */
struct together {
    struct one kick;
    struct latch latch;
    struct db *db;
    struct one *ones;
    int count;
    bool hold;
    PGconn *holder;
};

static void on_kick(void *arg, struct err error, const struct db_rows *rows)
{
    struct together *t = arg;

    (void)error;
    (void)rows;
    for (int i = 0; i < t->count; i++)
        db_submit(t->db, &t->ones[i].op);
    if (t->hold)
        t->holder = hold_total();
    latch_count(&t->latch);
}

static PGconn *kick(struct db *db, struct one *ones, int count, bool hold)
{
    struct together t = {.db = db, .ones = ones, .count = count, .hold = hold};

    latch_set(&t.latch, 1);
    fill(&t.kick, &TICK, &t.latch, "kick", 0, LATER_MS);
    t.kick.op.done = on_kick;
    t.kick.op.arg = &t;
    db_submit(db, &t.kick.op);
    latch_wait(&t.latch, 0);
    return t.holder;
}

static void submit_together(struct db *db, struct one *ones, int count)
{
    kick(db, ones, count, false);
}

/* The same, and the batch then waits for the total until that is let go. */
static PGconn *submit_together_held(struct db *db, struct one *ones, int count)
{
    return kick(db, ones, count, true);
}

static void assert_each_once(const struct one *ones, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(ones[i].calls, 1);
}

static void assert_all_ok(const struct one *ones, int count)
{
    assert_each_once(ones, count);
    for (int i = 0; i < count; i++)
        if (failed(ones[i].error))
            fail_msg("%s: %s", ones[i].id, ones[i].error.message);
}

/* The total is what the rows say: each took effect once. */
static void assert_each_took_effect_once(const char *prefix, int count)
{
    assert_int_equal(
        sql_number("SELECT count(*) FROM w.ops WHERE id LIKE '%s%%'", prefix), count);
    assert_int_equal(sql_number("SELECT sum - (SELECT sum(n) FROM w.ops) FROM w.total"),
                     0);
}

static void wait_health(struct db *db, enum err_code code, const char *words)
{
    int64_t until = in_ms(PATIENCE_MS);
    struct err e = db_health(db);

    while (e.code != code || strstr(e.message, words) == NULL) {
        if (clock_monotonic_ms() > until)
            fail_msg("health stays %s: %s", err_reason(e.code), e.message);
        breathe();
        e = db_health(db);
    }
}

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

static void a_lone_operation_needs_no_company(void **state)
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

static void a_row_that_stays_locked_fails_only_who_needs_it(void **state)
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
static void those_who_need_the_same_locked_row_fail_together(void **state)
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

static void those_who_wait_behind_it_are_told_in_time_as_well(void **state)
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
static void what_nobody_waits_for_is_dropped_until_it_has_begun(void **state)
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

static void closing_does_not_wait_for_what_everybody_was_told(void **state)
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

/* ---- connections ----------------------------------------------------------------------- */

static void stream(struct db *db, struct one *ones, void (*disturb)(int i))
{
    struct latch latch;

    fill_many(ones, STREAM, &latch, "k");
    for (int i = 0; i < STREAM; i++) {
        db_submit(db, &ones[i].op);
        if (i % 7 == 0)
            latch_wait(&latch, STREAM - i); /* so that batches are many, and small */
        disturb(i);
    }
    latch_wait(&latch, 0);
    assert_all_ok(ones, STREAM);
    assert_each_took_effect_once("k", STREAM);
}

static void kill_sessions(int i)
{
    if (i % 50 == 25)
        sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'writer_test'");
}

static void a_killed_connection_loses_and_doubles_nothing(void **state)
{
    static struct one ones[STREAM];
    struct db *db = open_db();

    (void)state;
    stream(db, ones, kill_sessions);
    db_close(db);
}

static void restart_server(int i)
{
    if (i == STREAM / 3 || i == STREAM * 2 / 3) {
        pg_ctl("-m immediate stop");
        pg_ctl("start");
    }
}

static void a_server_that_crashes_and_returns_loses_and_doubles_nothing(void **state)
{
    static struct one ones[STREAM];
    struct db *db = open_db();

    (void)state;
    stream(db, ones, restart_server);
    db_close(db);
}

static void a_database_that_is_down_at_the_start_is_told_and_waited_for(void **state)
{
    struct one one, hasty;
    struct latch latch, hasty_latch;

    (void)state;
    pg_ctl("-m fast stop");
    struct db *db = open_db();
    wait_health(db, ERR_UNAVAILABLE, "Cannot connect");
    latch_set(&latch, 1);
    latch_set(&hasty_latch, 1);
    fill(&one, &PUT, &latch, "patient", 1, LATER_MS);
    fill(&hasty, &PUT, &hasty_latch, "hasty", 1, SOON_MS);
    db_submit(db, &one.op);
    db_submit(db, &hasty.op);
    latch_wait(&hasty_latch, 0);
    assert_int_equal(hasty.error.code, ERR_UNAVAILABLE);
    assert_int_equal(hasty.error.effect, EFFECT_NONE);
    assert_int_equal(one.calls, 0);
    pg_ctl("start");
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    wait_health(db, ERR_OK, "");
    assert_each_took_effect_once("patient", 1);
    db_close(db);
}

static void an_idle_writer_notices_that_its_database_went_away(void **state)
{
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    pg_ctl("-m fast stop");
    wait_health(db, ERR_UNAVAILABLE, "");
    pg_ctl("start");
    wait_health(db, ERR_OK, "");
    db_close(db);
}

/* ---- a database that cannot write ------------------------------------------------------ */

static void submit_one(struct db *db, struct one *one, struct latch *latch,
                       const char *id, int64_t deadline_ms)
{
    latch_set(latch, 1);
    fill(one, &PUT, latch, id, 1, deadline_ms);
    db_submit(db, &one->op);
}

static void assert_not_done(const struct one *one, const char *words)
{
    if (strstr(one->error.message, words) == NULL)
        fail_msg("%s: %s", err_reason(one->error.code), one->error.message);
    assert_int_equal(one->error.code, ERR_UNAVAILABLE);
    assert_int_equal(one->error.effect, EFFECT_NONE);
}

/* A role of its own: a superuser may do everything. */
static void a_right_that_is_revoked_is_told_and_found_to_be_back_by_itself(void **state)
{
    struct one one;
    struct latch latch;
    char url[512];

    (void)state;
    sql("DROP ROLE IF EXISTS w_writer; CREATE ROLE w_writer LOGIN;"
        "GRANT USAGE ON SCHEMA w TO w_writer;"
        "GRANT ALL ON ALL TABLES IN SCHEMA w TO w_writer;"
        "GRANT ALL ON ALL SEQUENCES IN SCHEMA w TO w_writer");
    snprintf(url, sizeof url, "%s&user=w_writer", database_url());
    struct db *db = open_on(url, 100, 100, 0);
    wait_health(db, ERR_OK, "");
    sql("REVOKE INSERT ON w.ops FROM w_writer");
    submit_one(db, &one, &latch, "revoked", LATER_MS);
    latch_wait(&latch, 0);
    assert_not_done(&one, "a right in the database is missing");
    wait_health(db, ERR_UNAVAILABLE, "permission denied for table ops");
    assert_string_equal(db_health(db).subject, "a right in the database is missing");
    sql("GRANT INSERT ON w.ops TO w_writer");
    wait_health(db, ERR_OK, "");
    submit_one(db, &one, &latch, "granted", LATER_MS);
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    db_close(db);
    sql("DROP OWNED BY w_writer; DROP ROLE w_writer");
}

static void what_only_reads_has_done_nothing_and_is_left_for_another(void **state)
{
    struct one one, hasty;
    struct latch latch, hasty_latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    latch_set(&hasty_latch, 1);
    fill(&hasty, &PUT, &hasty_latch, "never", 1, IN_TIME_MS);
    hasty.op.head[4] = db_t("read-only");
    db_submit(db, &hasty.op);
    latch_wait(&hasty_latch, 0);
    assert_not_done(&hasty, "the database is read-only");
    wait_health(db, ERR_OK, "");
    latch_set(&latch, 1);
    fill(&one, &PUT, &latch, "then", 1, LATER_MS);
    one.op.head[4] = db_t("read-only at first");
    db_submit(db, &one.op);
    latch_wait(&latch, 0);
    assert_all_ok(&one, 1);
    db_close(db);
    assert_each_once(&one, 1);
}

static void make_standby(void)
{
    PGconn *conn = admin_connect();
    char *folder = sql_text_on(conn, "SHOW data_directory"), path[512];

    PQfinish(conn);
    pg_ctl("-m fast stop");
    snprintf(path, sizeof path, "%s/standby.signal", folder);
    FILE *signal_file = fopen(path, "w");
    assert_non_null(signal_file);
    fclose(signal_file);
    free(folder);
    pg_ctl("start");
}

static void a_standby_is_told_as_one_and_written_to_once_it_is_promoted(void **state)
{
    struct one hasty, patient;
    struct latch latch, patient_latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    make_standby();
    wait_health(db, ERR_UNAVAILABLE, "standby");
    submit_one(db, &patient, &patient_latch, "patient", LATER_MS);
    submit_one(db, &hasty, &latch, "hasty", SOON_MS);
    latch_wait(&latch, 0);
    assert_not_done(&hasty, "standby");
    pg_ctl("promote");
    latch_wait(&patient_latch, 0);
    assert_all_ok(&patient, 1);
    wait_health(db, ERR_OK, "");
    db_close(db);
}

static void a_standby_that_is_not_there_is_told_until_it_is_not_waited_for(void **state)
{
    struct one first, next;
    struct latch latch;
    struct db *db = open_db();

    (void)state;
    wait_health(db, ERR_OK, "");
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    submit_one(db, &first, &latch, "first", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_int_equal(first.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(first.error.effect, EFFECT_UNKNOWN);
    wait_health(db, ERR_UNAVAILABLE, "COMMIT is not answered");
    submit_one(db, &next, &latch, "next", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_not_done(&next, "synchronous standby");
    assert_int_equal(sql_number("SELECT count(*) FROM pg_stat_activity"
                                " WHERE application_name = 'writer_test'"),
                     1);
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
    wait_health(db, ERR_OK, "");
    db_close(db);
    assert_each_once(&first, 1);
    assert_int_equal(sql_number("SELECT count(*) FROM w.ops WHERE id = 'next'"), 0);
}

/* Also one that begins so: nothing has been written yet that could have failed. */
static void a_writer_that_starts_without_its_standby_is_not_serving(void **state)
{
    (void)state;
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    struct db *db = open_db();
    wait_health(db, ERR_UNAVAILABLE, "COMMIT is not answered");
    db_close(db); /* which does not wait for it */
    sql("ALTER SYSTEM RESET synchronous_standby_names");
    sql("SELECT pg_reload_conf()");
}

/* ---- a COMMIT whose answer is lost ------------------------------------------------------- */

/*
 * Between writer and server on a socket of its own.  While `deaf`, what the server says is
 * thrown away; when told to, it hangs up.
 */
struct proxy {
    char folder[64], socket[108], url[256], server[108];
    int listener;
    pthread_t thread;
    atomic_bool deaf, hang_up, stop;
    atomic_int connections;
};

static int connect_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    return connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? fd : -1;
}

/* False when this side is done talking. */
static bool pass(int from, int to, bool drop)
{
    char bytes[65536];
    ssize_t got = read(from, bytes, sizeof bytes);

    if (got <= 0)
        return false;
    for (ssize_t sent = 0; sent < got && !drop;) {
        ssize_t n = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += n;
    }
    return true;
}

static void serve(struct proxy *p, int client)
{
    int server = connect_unix(p->server);
    struct pollfd both[] = {{.fd = client, .events = POLLIN},
                            {.fd = server, .events = POLLIN}};

    while (server >= 0 && !p->stop && !p->hang_up) {
        poll(both, 2, 5);
        if (both[0].revents != 0 && !pass(client, server, false))
            break;
        if (both[1].revents != 0 && !pass(server, client, p->deaf))
            break;
    }
    p->hang_up = false;
    p->deaf = false;
    close(client);
    if (server >= 0)
        close(server);
}

static void *proxy_main(void *arg)
{
    struct proxy *p = arg;

    while (!p->stop) {
        struct pollfd one = {.fd = p->listener, .events = POLLIN};
        if (poll(&one, 1, 5) <= 0)
            continue;
        int client = accept(p->listener, NULL, NULL);
        p->connections++;
        serve(p, client);
    }
    return NULL;
}

/* Listens where libpq looks for a server of p->folder, which is made. */
static void proxy_listen(struct proxy *p)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    PGconn *conn = admin_connect();

    memset(p, 0, sizeof *p);
    snprintf(p->folder, sizeof p->folder, "/tmp/checkout-proxy-XXXXXX");
    assert_non_null(mkdtemp(p->folder));
    snprintf(p->socket, sizeof p->socket, "%s/.s.PGSQL.5432", p->folder);
    snprintf(p->server, sizeof p->server, "%s/.s.PGSQL.%s", PQhost(conn), PQport(conn));
    snprintf(p->url, sizeof p->url, "postgresql:///%s?host=%s&port=5432&user=%s",
             PQdb(conn), p->folder, PQuser(conn));
    PQfinish(conn);
    memcpy(address.sun_path, p->socket, sizeof address.sun_path);
    p->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(p->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(p->listener, 8), 0);
}

static void proxy_start(struct proxy *p)
{
    proxy_listen(p);
    assert_int_equal(pthread_create(&p->thread, NULL, proxy_main, p), 0);
}

static void proxy_unlisten(struct proxy *p)
{
    close(p->listener);
    unlink(p->socket);
    rmdir(p->folder);
}

static void proxy_stop(struct proxy *p)
{
    p->stop = true;
    pthread_join(p->thread, NULL);
    proxy_unlisten(p);
}

/* Whether the writer still waits on this connection, of which it has sent the start-up.
 */
static bool is_waited_on(int connection)
{
    char bytes[1024];
    ssize_t count;

    while ((count = recv(connection, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
        ;
    return count < 0 && errno == EAGAIN;
}

/* The server accepts and says nothing more: one attempt to connect lasts 3 s. */
static void an_operation_is_told_in_time_while_a_hung_server_is_connected_to(void **state)
{
    struct one queued, taken;
    struct latch latch;
    struct proxy hung;

    (void)state;
    proxy_listen(&hung);
    struct db *db = open_on(hung.url, 100, 100, 0);
    int connection = accept(hung.listener, NULL, NULL);
    latch_set(&latch, 1);
    fill(&queued, &PUT, &latch, "queued", 1, SOON_MS);
    db_submit(db, &queued.op);
    latch_wait(&latch, 0);
    assert_true(is_waited_on(connection));
    assert_int_equal(queued.error.code, ERR_UNAVAILABLE);
    assert_int_equal(queued.error.effect, EFFECT_NONE);

    latch_set(&latch, 1);
    fill(&taken, &PUT, &latch, "taken", 1, SOON_MS);
    db_submit(db, &taken.op);
    close(connection); /* so that it is in the writer's hands at the next attempt */
    connection = accept(hung.listener, NULL, NULL);
    latch_wait(&latch, 0);
    assert_true(is_waited_on(connection));
    assert_int_equal(taken.error.code, ERR_UNAVAILABLE);
    assert_int_equal(taken.error.effect, EFFECT_NONE);
    close(connection);
    db_close(db);
    proxy_unlisten(&hung);
}

static void
a_commit_whose_answer_is_lost_is_run_again_without_a_second_effect(void **state)
{
    static struct one ones[10];
    struct latch latch;
    struct proxy proxy;

    (void)state;
    proxy_start(&proxy);
    struct db *db = open_on(proxy.url, 100, 100, 0);
    for (int round = 0; round < 5; round++) {
        char prefix[8], query[128];
        snprintf(prefix, sizeof prefix, "p%d-", round);
        snprintf(query, sizeof query, "SELECT count(*) FROM w.ops WHERE id LIKE '%s%%'",
                 prefix);
        wait_health(db, ERR_OK, "");
        int connections = proxy.connections;
        fill_many(ones, 10, &latch, prefix);
        proxy.deaf = true;
        for (int i = 0; i < 10; i++)
            db_submit(db, &ones[i].op);
        wait_sql(query); /* committed, and the writer has not been told */
        assert_int_equal(latch_left(&latch), 10);
        proxy.hang_up = true;
        latch_wait(&latch, 0);
        assert_all_ok(ones, 10);
        assert_true(proxy.connections > connections);
        assert_each_took_effect_once(prefix, 10);
    }
    db_close(db);
    proxy_stop(&proxy);
}

/* Its COMMIT has happened, and the answer does not come; the database, through the proxy. */
static struct db *commit_unanswered(struct proxy *proxy, struct one *one,
                                    struct latch *latch, const char *id, int within_ms)
{
    char committed[128];

    proxy_start(proxy);
    struct db *db = open_on(proxy->url, 100, 100, 0);
    wait_health(db, ERR_OK, "");
    fill(one, &PUT, latch, id, 1, within_ms);
    latch_set(latch, 1);
    proxy->deaf = true;
    db_submit(db, &one->op);
    snprintf(committed, sizeof committed, "SELECT count(*) FROM w.ops WHERE id = '%s'",
             id);
    wait_sql(committed);
    return db;
}

static void a_commit_whose_answer_never_comes_is_unknown(void **state)
{
    struct one one;
    struct latch latch;
    struct proxy proxy;

    (void)state;
    struct db *db = commit_unanswered(&proxy, &one, &latch, "lost", IN_TIME_MS);
    latch_wait(&latch, 0);
    assert_int_equal(one.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    proxy.hang_up = true;
    db_close(db);
    proxy_stop(&proxy);
    assert_each_once(&one, 1);
}

static void a_repeat_that_is_cancelled_leaves_it_unknown(void **state)
{
    struct one one;
    struct latch latch;
    struct proxy proxy;

    (void)state;
    struct db *db = commit_unanswered(&proxy, &one, &latch, "cancelled", LATER_MS);
    PGconn *holder = hold_total();
    proxy.hang_up = true;
    wait_blocked("writer_test", 1);
    sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'writer_test' AND wait_event_type = 'Lock'");
    latch_wait(&latch, 0);
    assert_int_equal(one.error.code, ERR_INTERNAL);
    assert_int_equal(one.error.effect, EFFECT_UNKNOWN);
    let_go(holder);
    db_close(db);
    proxy_stop(&proxy);
    assert_each_once(&one, 1);
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
        cmocka_unit_test_setup(queued_operations_share_one_transaction, new_schema),
        cmocka_unit_test_setup(no_transaction_holds_more_than_batch_max, new_schema),
        cmocka_unit_test_setup(a_lone_operation_needs_no_company, new_schema),
        cmocka_unit_test_setup(answers_reach_their_own_operations, new_schema),
        cmocka_unit_test_setup(ten_thousand_lines_go_in_one_operation, new_schema),
        cmocka_unit_test_setup(one_bad_operation_in_a_hundred_fails_alone, new_schema),
        cmocka_unit_test_setup(several_bad_operations_fail_alone, new_schema),
        cmocka_unit_test_setup(a_row_that_stays_locked_fails_only_who_needs_it,
                               new_schema),
        cmocka_unit_test_setup(those_who_need_the_same_locked_row_fail_together,
                               new_schema),
        cmocka_unit_test_setup(a_deadline_that_passes_in_the_database_leaves_it_unknown,
                               new_schema),
        cmocka_unit_test_setup(those_who_wait_behind_it_are_told_in_time_as_well,
                               new_schema),
        cmocka_unit_test_setup(a_server_that_hangs_makes_nobody_wait_past_the_deadline,
                               new_schema),
        cmocka_unit_test_setup(an_operation_that_expired_in_the_queue_never_runs,
                               new_schema),
        cmocka_unit_test_setup(answers_stay_in_step_when_some_of_a_batch_are_late,
                               new_schema),
        cmocka_unit_test_setup(what_nobody_waits_for_is_dropped_until_it_has_begun,
                               new_schema),
        cmocka_unit_test_setup(a_full_queue_refuses_at_once, new_schema),
        cmocka_unit_test_setup(closing_cancels_each_queued_operation_once, new_schema),
        cmocka_unit_test_setup(closing_does_not_wait_for_what_everybody_was_told,
                               new_schema),
        cmocka_unit_test_setup(a_killed_connection_loses_and_doubles_nothing, new_schema),
        cmocka_unit_test_setup(
            a_server_that_crashes_and_returns_loses_and_doubles_nothing, new_schema),
        cmocka_unit_test_setup(
            a_database_that_is_down_at_the_start_is_told_and_waited_for, new_schema),
        cmocka_unit_test_setup(an_idle_writer_notices_that_its_database_went_away,
                               new_schema),
        cmocka_unit_test_setup(
            a_right_that_is_revoked_is_told_and_found_to_be_back_by_itself, new_schema),
        cmocka_unit_test_setup(what_only_reads_has_done_nothing_and_is_left_for_another,
                               new_schema),
        cmocka_unit_test_setup(
            a_standby_is_told_as_one_and_written_to_once_it_is_promoted, new_schema),
        cmocka_unit_test_setup(
            a_standby_that_is_not_there_is_told_until_it_is_not_waited_for, new_schema),
        cmocka_unit_test_setup(a_writer_that_starts_without_its_standby_is_not_serving,
                               new_schema),
        cmocka_unit_test_setup(
            a_commit_whose_answer_is_lost_is_run_again_without_a_second_effect,
            new_schema),
        cmocka_unit_test_setup(a_commit_whose_answer_never_comes_is_unknown, new_schema),
        cmocka_unit_test_setup(a_repeat_that_is_cancelled_leaves_it_unknown, new_schema),
        cmocka_unit_test_setup(
            an_operation_is_told_in_time_while_a_hung_server_is_connected_to, new_schema),
        cmocka_unit_test_setup(deadlocks_are_run_again_and_nothing_is_lost, new_schema),
        cmocka_unit_test_setup(a_serialization_failure_is_run_again, new_schema),
        cmocka_unit_test_setup(db_submit_wait_gives_every_answer_and_the_first_error,
                               new_schema),
    };

    return cmocka_run_group_tests_name("writer", tests, NULL, NULL);
}
