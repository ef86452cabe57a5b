/*
 * setup_test.c - a session has our settings (lib/db/connection/setup.h), whatever the
 * database, the role, the URL and PGOPTIONS say; and what rests on them holds.
 */
#include "unit/db/database.h"

#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/db.h"
#include "db/migrate/migrator.h"
#include "db/session.h"

enum { LATER_MS = 50000, IN_TIME_MS = 2000 };

/* Of each setting the value that breaks most. */
static const struct {
    const char *name, *worst;
} WORST[] = {
    {"default_transaction_isolation", "repeatable read"},
    {"default_transaction_read_only",
     "on"}, /* for readers "off": they have a test below */
    {"synchronous_commit", "off"},
    {"client_min_messages", "error"},
    {"client_encoding", "LATIN1"},
    {"search_path", "w, pg_catalog"},
    {"lock_timeout", "0"},
    {"statement_timeout", "0"},
    {"idle_in_transaction_session_timeout", "0"},
    {"client_connection_check_interval", "0"},
    {"tcp_keepalives_idle", "7200"},
    {"tcp_keepalives_interval", "75"},
    {"tcp_keepalives_count", "9"},
    {"tcp_user_timeout", "0"},
    {"enable_seqscan", "on"},
    {"jit", "on"},
    {"plan_cache_mode", "force_custom_plan"},
};
enum { WORST_COUNT = sizeof WORST / sizeof *WORST };

/* Tells a setting as it is in the writer's session. */
static const struct db_kind TELL = {
    .name = "tell",
    .head = "t",
    .answer = "SELECT a.ordinal, current_setting(a.name)"
              " FROM unnest($1) WITH ORDINALITY AS a(name, ordinal) ORDER BY a.ordinal",
};

static const struct db_kind PUT = {
    .name = "put",
    .head = "t",
    .write = "INSERT INTO w.rows SELECT * FROM unnest($1) ON CONFLICT DO NOTHING",
};

static const struct db_kind *const KINDS[] = {&TELL, &PUT};

static struct db *open_on(const char *url)
{
    const struct db_config config = {.url = url,
                                     .name = "settings_test",
                                     .kinds = KINDS,
                                     .kind_count = 2,
                                     .queue_max = 16,
                                     .batch_max = 16,
                                     .readers = 1};
    struct db *db = NULL;

    assert_ok(db_open(&config, &db));
    return db;
}

/* Statements of the admin, whatever a test has made of the defaults. */
static void admin(const char *const *statements, size_t count)
{
    PGconn *conn = admin_connect();

    sql_on(conn, "SET default_transaction_read_only = off");
    sql_on(conn, "SET synchronous_commit = off");
    for (size_t i = 0; i < count; i++)
        sql_on(conn, statements[i]);
    PQfinish(conn);
}

static int reset(void **state)
{
    static const char *const STATEMENTS[] = {
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity" /* a failed test's */
        " WHERE state = 'idle in transaction'",
        "ALTER SYSTEM RESET ALL",
        "SELECT pg_reload_conf()",
        "ALTER DATABASE checkout RESET ALL",
        "ALTER ROLE CURRENT_USER IN DATABASE checkout RESET ALL",
        "DROP SCHEMA IF EXISTS w CASCADE",
        "CREATE SCHEMA w",
        "CREATE TABLE w.rows (id text PRIMARY KEY)",
    };

    (void)state;
    unsetenv("PGOPTIONS");
    admin(STATEMENTS, sizeof STATEMENTS / sizeof *STATEMENTS);
    return 0;
}

/* ---- what each kind of session has ----------------------------------------------------- */

static void take_text(void *arg, const struct db_rows *rows)
{
    assert_int_equal(rows->count, 1);
    snprintf(arg, 64, "%s", db_text(rows, 0, 1));
}

static void of_writer(struct db *db, const char *name, char text[64])
{
    struct db_op op = {
        .kind = &TELL, .head = {db_t(name)}, .deadline_ms = in_ms(LATER_MS)};

    assert_ok(db_submit_wait(db, &op, 1, take_text, text));
}

static struct db_query ask(const char *name)
{
    return (struct db_query){.name = "ask",
                             .types = "t",
                             .sql = "SELECT 0::bigint, current_setting($1)",
                             .values = {db_t(name)},
                             .deadline_ms = in_ms(LATER_MS)};
}

static void of_reader(struct db *db, const char *name, char text[64])
{
    struct db_query query = ask(name);

    assert_ok(db_read_wait(db, &query, take_text, text));
}

static void of_dedicated(struct db_session *own, const char *name, char text[64])
{
    struct db_query query = ask(name);

    assert_ok(db_session_run(own, &query, false, take_text, text));
}

static void of_migrator(PGconn *conn, const char *name, char text[64])
{
    char query[128];

    snprintf(query, sizeof query, "SELECT current_setting('%s')", name);
    char *value = sql_text_on(conn, query);
    snprintf(text, 64, "%s", value);
    free(value);
}

/* `link`: how the session came. */
enum link { UNIX_SOCKET, TCP };

static void expect(const struct setting *s, enum link link, const char *whose,
                   const char *text)
{
    const char *value = s->tcp && link == UNIX_SOCKET ? "0" : s->value;

    if (strcmp(text, value) != 0)
        fail_msg("%s has %s = %s instead of %s", whose, s->name, text, value);
}

static void expect_settings_on(const char *url, enum link link)
{
    size_t count;
    const struct setting *all = settings_all(&count);
    struct db *db = open_on(url);
    struct db_session *own = db_session_new(url, "settings_test");
    PGconn *migrator = NULL;
    char text[64];

    assert_non_null(own);
    assert_ok(db_session_connect(own, NULL, in_ms(LATER_MS)));
    assert_ok(migrator_open(url, &migrator));
    for (const struct setting *s = all; s < all + count; s++) {
        if (s->of & SETTINGS_WRITER) {
            of_writer(db, s->name, text);
            expect(s, link, "the writer", text);
            of_dedicated(own, s->name, text);
            expect(s, link, "a session", text);
        }
        if (s->of & SETTINGS_READER) {
            of_reader(db, s->name, text);
            expect(s, link, "a reader", text);
        }
        if (s->of & SETTINGS_MIGRATOR) {
            of_migrator(migrator, s->name, text);
            expect(s, link, "the migrator", text);
        }
    }
    PQfinish(migrator);
    db_session_free(own);
    db_close(db);
}

/* `options` are parameters of the URL, each with an & before it; or "". */
static void expect_settings(const char *options)
{
    char url[8192];
    const char *user = strstr(database_url(), "user=") + strlen("user=");

    snprintf(url, sizeof url, "%s%s", database_url(), options);
    expect_settings_on(url, UNIX_SOCKET);
    snprintf(url, sizeof url, "postgresql://127.0.0.1:%s/checkout?user=%s%s",
             getenv("CHECKOUT_TEST_DATABASE_PORT"), user, options);
    expect_settings_on(url, TCP);
}

static void every_setting_has_a_worst_value_here(void **state)
{
    size_t count;
    const struct setting *all = settings_all(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        size_t at = 0;
        while (at < WORST_COUNT && strcmp(WORST[at].name, all[i].name) != 0)
            at++;
        if (at == WORST_COUNT)
            fail_msg("%s has no worst value in this test", all[i].name);
    }
}

static void set_worst(const char *whose)
{
    char texts[WORST_COUNT][256];
    const char *statements[WORST_COUNT];

    for (size_t i = 0; i < WORST_COUNT; i++) {
        /* A path is a list of names, not one in quotes. */
        const char *quote = strcmp(WORST[i].name, "search_path") == 0 ? "" : "'";
        snprintf(texts[i], sizeof texts[i], "ALTER %s SET %s = %s%s%s", whose,
                 WORST[i].name, quote, WORST[i].worst, quote);
        statements[i] = texts[i];
    }
    admin(statements, WORST_COUNT);
}

static void a_session_needs_no_settings_from_elsewhere(void **state)
{
    (void)state;
    expect_settings("");
}

static void the_databases_defaults_do_not_override_a_session(void **state)
{
    (void)state;
    set_worst("DATABASE checkout");
    expect_settings("");
}

static void the_roles_defaults_do_not_override_a_session(void **state)
{
    (void)state;
    set_worst("ROLE CURRENT_USER IN DATABASE checkout");
    expect_settings("");
}

/* "-c NAME=VALUE" of each, its blanks escaped as PostgreSQL wants. */
static void worst_options(char *out, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < WORST_COUNT; i++) {
        used += (size_t)snprintf(out + used, room - used, "-c %s=", WORST[i].name);
        for (const char *c = WORST[i].worst; *c != '\0'; c++)
            used +=
                (size_t)snprintf(out + used, room - used, *c == ' ' ? "\\ " : "%c", *c);
        used += (size_t)snprintf(out + used, room - used, " ");
    }
    assert_true(used < room);
}

static void pgoptions_do_not_override_a_session(void **state)
{
    char options[2048];

    (void)state;
    worst_options(options, sizeof options);
    setenv("PGOPTIONS", options, 1);
    expect_settings("");
}

static void the_urls_options_do_not_override_a_session(void **state)
{
    char worst[2048], options[7168] = "&options=";
    size_t used = strlen(options);

    (void)state;
    worst_options(worst, sizeof worst);
    for (const char *c = worst; *c != '\0'; c++)
        used += (size_t)snprintf(options + used, sizeof options - used, "%%%02x",
                                 (unsigned char)*c);
    assert_true(used < sizeof options);
    expect_settings(options);
}

static void a_stronger_synchronous_commit_is_kept(void **state)
{
    struct db *db;
    char text[64];

    (void)state;
    sql("ALTER DATABASE checkout SET synchronous_commit = 'remote_apply'");
    db = open_on(database_url());
    of_writer(db, "synchronous_commit", text);
    assert_string_equal(text, "remote_apply");
    db_close(db);
}

/* ---- what rests on them: who may write, and what is written ---------------------------- */

static void set_at_both(const char *setting)
{
    char texts[2][256];

    snprintf(texts[0], sizeof texts[0], "ALTER DATABASE checkout SET %s", setting);
    snprintf(texts[1], sizeof texts[1],
             "ALTER ROLE CURRENT_USER IN DATABASE checkout SET %s", setting);
    admin((const char *const[]){texts[0], texts[1]}, 2);
}

static struct err put_one(struct db *db, const char *id)
{
    struct db_op op = {.kind = &PUT, .head = {db_t(id)}, .deadline_ms = in_ms(LATER_MS)};

    return db_submit_wait(db, &op, 1, NULL, NULL);
}

static void a_reader_cannot_write_where_the_default_lets_it(void **state)
{
    struct db_query query = {.name = "write",
                             .types = "",
                             .sql = "INSERT INTO w.rows VALUES ('x') RETURNING 0::bigint",
                             .deadline_ms = in_ms(LATER_MS)};

    (void)state;
    set_at_both("default_transaction_read_only = off");
    struct db *db = open_on(database_url());
    struct err e = db_read_wait(db, &query, NULL, NULL);
    assert_true(failed(e));
    assert_non_null(strstr(e.message, "the database is read-only"));
    assert_int_equal(sql_number("SELECT count(*) FROM w.rows"), 0);
    db_close(db);
}

static void a_writer_writes_where_the_default_forbids_it(void **state)
{
    (void)state;
    set_at_both("default_transaction_read_only = on");
    struct db *db = open_on(database_url());
    assert_ok(put_one(db, "x"));
    assert_int_equal(sql_number("SELECT count(*) FROM w.rows"), 1);
    db_close(db);
}

static void text_is_stored_as_utf8(void **state)
{
    (void)state;
    set_at_both("client_encoding = LATIN1");
    struct db *db = open_on(database_url());
    assert_ok(put_one(db, "\xc3\xbc"));
    assert_int_equal(sql_number("SELECT ascii(id) FROM w.rows"), 0xfc);
    db_close(db);
}

static void functions_of_others_are_not_called(void **state)
{
    char text[64];

    (void)state;
    sql("CREATE FUNCTION w.current_setting(text) RETURNS text"
        " LANGUAGE sql AS $$ SELECT 'theirs' $$");
    set_at_both("search_path = w, pg_catalog");
    struct db *db = open_on(database_url());
    of_writer(db, "lock_timeout", text);
    assert_string_equal(text, "1s");
    of_reader(db, "lock_timeout", text);
    assert_string_equal(text, "5s");
    db_close(db);
}

/* ---- what rests on them: nobody waits for ever ------------------------------------------ */

/* A session set up as the writer's. */
static struct conn session(void)
{
    struct conn conn = {
        .url = database_url(), .name = "settings_test", .of = SETTINGS_WRITER};

    assert_ok(conn_open(&conn, in_ms(LATER_MS)));
    return conn;
}

static void start(struct conn *conn, const char *statement)
{
    assert_int_equal(PQsendQuery(conn->pg, statement), 1);
    assert_true(conn_flush(conn, in_ms(LATER_MS)));
}

/* That what was started ends with `state`; "" is success. */
static void expect_end(struct conn *conn, const char *state)
{
    assert_int_equal(conn_wait(conn, in_ms(PATIENCE_MS)), 1);
    PGresult *result = PQgetResult(conn->pg);
    const char *told = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    assert_string_equal(told != NULL ? told : "", state);
    PQclear(result);
    assert_int_equal(conn_wait(conn, in_ms(LATER_MS)), 1);
    assert_null(PQgetResult(conn->pg));
}

/* The session of that process. */
static void wait_ended(int pid)
{
    char query[128];

    snprintf(query, sizeof query,
             "SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE pid = %d", pid);
    wait_sql(query);
}

static PGconn *lock_rows(void)
{
    PGconn *locker = admin_connect();

    sql_on(locker, "SET default_transaction_read_only = off");
    sql_on(locker, "BEGIN; LOCK TABLE w.rows IN EXCLUSIVE MODE");
    return locker;
}

/* All at once, as most of them take 20 s. */
static void our_limits_hold_where_the_database_has_none(void **state)
{
    (void)state;
    set_worst("DATABASE checkout");
    PGconn *locker = lock_rows();
    struct conn blocked = session(), slow = session(), idle = session();
    start(&idle, "BEGIN");
    expect_end(&idle, "");
    start(&blocked, "INSERT INTO w.rows VALUES ('x')");
    start(&slow, "SELECT pg_sleep(600)");
    expect_end(&blocked, "55P03");     /* lock_timeout */
    expect_end(&slow, "57014");        /* statement_timeout */
    wait_ended(PQbackendPID(idle.pg)); /* idle_in_transaction_session_timeout */
    PQfinish(locker);
    conn_end(&blocked);
    conn_end(&slow);
    conn_end(&idle);
}

static void a_statement_ends_when_its_client_is_gone(void **state)
{
    char query[128];

    (void)state;
    set_worst("DATABASE checkout");
    struct conn conn = session();
    start(&conn, "SET statement_timeout = 0"); /* which would end it, too, and later */
    expect_end(&conn, "");
    start(&conn, "SELECT pg_sleep(600)");
    snprintf(query, sizeof query,
             "SELECT count(*) FROM pg_stat_activity"
             " WHERE pid = %d AND wait_event = 'PgSleep'",
             PQbackendPID(conn.pg));
    wait_sql(query);
    int pid = PQbackendPID(conn.pg);
    conn_end(&conn);
    wait_ended(pid);
}

static void after_a_lock_wait_a_statement_sees_its_owners_writes(void **state)
{
    (void)state;
    sql("INSERT INTO w.rows VALUES ('a')");
    set_worst("DATABASE checkout");
    PGconn *locker = lock_rows();
    sql_on(locker, "UPDATE w.rows SET id = 'b'");
    struct conn conn = session();
    start(&conn, "UPDATE w.rows SET id = id || 'c'");
    wait_blocked("settings_test", 1);
    sql_on(locker, "COMMIT");
    PQfinish(locker);
    expect_end(&conn, "");
    assert_sql_text("bc", "SELECT id FROM w.rows");
    conn_end(&conn);
}

/* ---- what rests on them: what was acknowledged ------------------------------------------- */

struct put {
    struct db_op op;
    struct latch latch;
    struct err error;
};

static void on_put(void *arg, struct err error, const struct db_rows *rows)
{
    struct put *put = arg;

    (void)rows;
    put->error = error;
    latch_count(&put->latch);
}

static void start_put(struct db *db, struct put *put)
{
    put->op = (struct db_op){.kind = &PUT,
                             .head = {db_t("x")},
                             .deadline_ms = in_ms(IN_TIME_MS),
                             .done = on_put,
                             .arg = put};
    latch_set(&put->latch, 1);
    db_submit(db, &put->op);
}

/* A writer that has no standby from the start begins nothing. */
static struct db *open_serving(void)
{
    struct db *db = open_on(database_url());
    int64_t until = in_ms(PATIENCE_MS);

    while (failed(db_health(db))) {
        if (clock_monotonic_ms() > until)
            fail_msg("%s", db_health(db).message);
        breathe();
    }
    return db;
}

static void no_write_is_acknowledged_before_it_is_durable(void **state)
{
    struct put put;

    (void)state;
    sql("ALTER DATABASE checkout SET synchronous_commit = off");
    struct db *db = open_serving();
    want_a_standby();
    start_put(db, &put);
    latch_wait(&put.latch, 0);
    assert_int_equal(put.error.code, ERR_DEADLINE_EXCEEDED);
    assert_int_equal(put.error.effect, EFFECT_UNKNOWN);
    reset(state);
    db_close(db);
}

static void a_cancelled_wait_for_the_standby_is_unknown(void **state)
{
    struct put put;

    (void)state;
    sql("ALTER DATABASE checkout SET client_min_messages = error");
    struct db *db = open_serving();
    want_a_standby();
    start_put(db, &put);
    wait_sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
             " WHERE wait_event = 'SyncRep' AND application_name = 'settings_test'");
    latch_wait(&put.latch, 0);
    assert_true(failed(put.error));
    assert_int_equal(put.error.effect, EFFECT_UNKNOWN);
    reset(state);
    db_close(db);
}

static void *commit(void *conn)
{
    static struct err e;

    e = migrator_commit(conn);
    return &e;
}

static void a_migration_whose_wait_for_the_standby_is_cancelled_is_unknown(void **state)
{
    PGconn *migrator;
    pthread_t committer;
    void *e;

    (void)state;
    assert_ok(migrator_open(database_url(), &migrator));
    assert_ok(migrator_run(migrator, "BEGIN; INSERT INTO w.rows VALUES ('migrated')"));
    want_a_standby();
    assert_int_equal(pthread_create(&committer, NULL, commit, migrator), 0);
    wait_sql("SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity"
             " WHERE wait_event = 'SyncRep' AND application_name = 'checkoutctl'");
    pthread_join(committer, &e);
    assert_true(failed(*(struct err *)e));
    assert_int_equal(((struct err *)e)->effect, EFFECT_UNKNOWN);
    PQfinish(migrator);
    reset(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_setting_has_a_worst_value_here),
        cmocka_unit_test_setup(a_session_needs_no_settings_from_elsewhere, reset),
        cmocka_unit_test_setup(the_databases_defaults_do_not_override_a_session, reset),
        cmocka_unit_test_setup(the_roles_defaults_do_not_override_a_session, reset),
        cmocka_unit_test_setup(pgoptions_do_not_override_a_session, reset),
        cmocka_unit_test_setup(the_urls_options_do_not_override_a_session, reset),
        cmocka_unit_test_setup(a_stronger_synchronous_commit_is_kept, reset),
        cmocka_unit_test_setup(a_reader_cannot_write_where_the_default_lets_it, reset),
        cmocka_unit_test_setup(a_writer_writes_where_the_default_forbids_it, reset),
        cmocka_unit_test_setup(text_is_stored_as_utf8, reset),
        cmocka_unit_test_setup(functions_of_others_are_not_called, reset),
        cmocka_unit_test_setup(our_limits_hold_where_the_database_has_none, reset),
        cmocka_unit_test_setup(a_statement_ends_when_its_client_is_gone, reset),
        cmocka_unit_test_setup(after_a_lock_wait_a_statement_sees_its_owners_writes,
                               reset),
        cmocka_unit_test_setup(no_write_is_acknowledged_before_it_is_durable, reset),
        cmocka_unit_test_setup(a_cancelled_wait_for_the_standby_is_unknown, reset),
        cmocka_unit_test_setup(
            a_migration_whose_wait_for_the_standby_is_cancelled_is_unknown, reset),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
