/*
 * writer.h - what the tests of the writer share: a schema, kinds of operation,
 * submitting.
 *
 * The kind PUT writes a row an operation and adds its number to one total in the same
 * statement: a second effect of any operation would show in the total.  Without
 * operations it touches no row, as all kinds must.
 */
#pragma once

#include "unit/db/database.h"

#include <signal.h>
#include <stdatomic.h>

#include "db/db.h"

#define TEST(name) cmocka_unit_test_setup(name, new_schema)

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

UNUSED static struct db *open_on(const char *url, size_t queue_max, size_t batch_max,
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

UNUSED static struct db *open_db(void)
{
    return open_on(database_url(), 8192, 512, 0);
}

/* What a test that failed has left open goes first. */
UNUSED static int new_schema(void **state)
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

UNUSED static void describe(struct one *one, const struct db_rows *rows)
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

UNUSED static void on_done(void *arg, struct err error, const struct db_rows *rows)
{
    struct one *one = arg;

    one->calls++;
    one->error = error;
    one->rows = rows->count;
    if (rows->count > 0)
        describe(one, rows);
    latch_count(one->latch);
}

UNUSED static void fill(struct one *one, const struct db_kind *kind, struct latch *latch,
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

UNUSED static void fill_many(struct one *ones, int count, struct latch *latch,
                             const char *prefix)
{
    char id[32];

    latch_set(latch, count);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "%s%05d", prefix, i);
        fill(&ones[i], &PUT, latch, id, i, LATER_MS);
    }
}

UNUSED static void run_one(struct db *db, struct one *one)
{
    latch_set(one->latch, 1);
    db_submit(db, &one->op);
    latch_wait(one->latch, 0);
}

/* Holds the row every PUT needs, until let go. */
UNUSED static PGconn *hold_total(void)
{
    PGconn *conn = admin_connect();

    sql_on(conn, "SELECT setval('w.held', 2)");
    sql_on(conn, "BEGIN; SELECT * FROM w.total FOR UPDATE");
    return conn;
}

UNUSED static void let_go(PGconn *conn)
{
    sql_on(conn, "ROLLBACK");
    PQfinish(conn);
}

/*
 * Submitted from the writer's own thread, while it is busy with that call: so they are
 * all in the queue when it looks for its next batch.
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

UNUSED static void on_kick(void *arg, struct err error, const struct db_rows *rows)
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

UNUSED static PGconn *kick(struct db *db, struct one *ones, int count, bool hold)
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

UNUSED static void submit_together(struct db *db, struct one *ones, int count)
{
    kick(db, ones, count, false);
}

/* The same, and the batch then waits for the total until that is let go. */
UNUSED static PGconn *submit_together_held(struct db *db, struct one *ones, int count)
{
    return kick(db, ones, count, true);
}

UNUSED static void assert_each_once(const struct one *ones, int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(ones[i].calls, 1);
}

UNUSED static void assert_all_ok(const struct one *ones, int count)
{
    assert_each_once(ones, count);
    for (int i = 0; i < count; i++)
        if (failed(ones[i].error))
            fail_msg("%s: %s", ones[i].id, ones[i].error.message);
}

/* The total is what the rows say: each took effect once. */
UNUSED static void assert_each_took_effect_once(const char *prefix, int count)
{
    assert_int_equal(
        sql_number("SELECT count(*) FROM w.ops WHERE id LIKE '%s%%'", prefix), count);
    assert_int_equal(sql_number("SELECT sum - (SELECT sum(n) FROM w.ops) FROM w.total"),
                     0);
}

UNUSED static void wait_health(struct db *db, enum err_code code, const char *words)
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
