/*
 * settings_test.c - a session has our settings (lib/db/settings.h), whatever the database,
 * the role, the URL and PGOPTIONS say; and what rests on them holds.
 */
#include "unit/db/database.h"

#include "db/dedicated.h"
#include "db/migrate_session.h"
#include "db/settings.h"
#include "db/wait.h"

enum { LATER_MS = 50000, IN_TIME_MS = 2000 };

/* Of each setting the value that breaks most. */
static const struct {
    const char *name, *worst;
} WORST[] = {
    {"default_transaction_isolation", "repeatable read"},
    {"default_transaction_read_only", "on"}, /* and for readers "off", the default */
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

static void of_dedicated(struct dedicated *own, const char *name, char text[64])
{
    struct db_query query = ask(name);

    assert_ok(dedicated_run(own, &query, false, take_text, text));
}

static void of_migrator(PGconn *conn, const char *name, char text[64])
{
    char query[128];

    snprintf(query, sizeof query, "SELECT current_setting('%s')", name);
    char *value = sql_text_on(conn, query);
    snprintf(text, 64, "%s", value);
    free(value);
}

/* We come over a Unix socket; connect_test.c looks at these over TCP. */
static void expect(const struct setting *s, const char *whose, const char *text)
{
    if (strcmp(text, s->tcp ? "0" : s->value) != 0)
        fail_msg("%s has %s = %s instead of %s", whose, s->name, text, s->value);
}

static void expect_settings(const char *url)
{
    size_t count;
    const struct setting *all = settings_all(&count);
    struct db *db = open_on(url);
    struct dedicated *own = dedicated_new(url, "settings_test");
    PGconn *migrator = NULL;
    char text[64];

    assert_non_null(own);
    assert_ok(dedicated_connect(own, NULL, in_ms(LATER_MS)));
    assert_ok(session_open(url, &migrator));
    for (const struct setting *s = all; s < all + count; s++) {
        if (s->of & SETTINGS_WRITER) {
            of_writer(db, s->name, text);
            expect(s, "the writer", text);
            of_dedicated(own, s->name, text);
            expect(s, "a dedicated connection", text);
        }
        if (s->of & SETTINGS_READER) {
            of_reader(db, s->name, text);
            expect(s, "a reader", text);
        }
        if (s->of & SETTINGS_MIGRATOR) {
            of_migrator(migrator, s->name, text);
            expect(s, "the migrator", text);
        }
    }
    PQfinish(migrator);
    dedicated_free(own);
    db_close(db);
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

static void nothing_said_elsewhere_is_needed(void **state)
{
    (void)state;
    expect_settings(database_url());
}

static void the_databases_defaults_do_not_count(void **state)
{
    (void)state;
    set_worst("DATABASE checkout");
    expect_settings(database_url());
}

static void the_roles_defaults_do_not_count(void **state)
{
    (void)state;
    set_worst("ROLE CURRENT_USER IN DATABASE checkout");
    expect_settings(database_url());
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

static void pgoptions_do_not_count(void **state)
{
    char options[2048];

    (void)state;
    worst_options(options, sizeof options);
    setenv("PGOPTIONS", options, 1);
    expect_settings(database_url());
}

static void the_urls_options_do_not_count(void **state)
{
    char options[2048], url[8192];

    (void)state;
    worst_options(options, sizeof options);
    size_t used = (size_t)snprintf(url, sizeof url, "%s&options=", database_url());
    for (const char *c = options; *c != '\0'; c++)
        used +=
            (size_t)snprintf(url + used, sizeof url - used, "%%%02x", (unsigned char)*c);
    assert_true(used < sizeof url);
    expect_settings(url);
}

static void a_commit_that_waits_for_more_is_left_so(void **state)
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

/* ---- what rests on them --------------------------------------------------------------- */

/* No standby comes, so no COMMIT is done. */
static void want_a_standby(void)
{
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    wait_sql("SELECT (current_setting('synchronous_standby_names') = 'nobody')::int");
}

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

    e = session_commit(conn);
    return &e;
}

static void a_migration_whose_wait_for_the_standby_is_cancelled_is_unknown(void **state)
{
    PGconn *migrator;
    pthread_t committer;
    void *e;

    (void)state;
    assert_ok(session_open(database_url(), &migrator));
    assert_ok(session_run(migrator, "BEGIN; INSERT INTO w.rows VALUES ('migrated')"));
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
        cmocka_unit_test_setup(nothing_said_elsewhere_is_needed, reset),
        cmocka_unit_test_setup(the_databases_defaults_do_not_count, reset),
        cmocka_unit_test_setup(the_roles_defaults_do_not_count, reset),
        cmocka_unit_test_setup(pgoptions_do_not_count, reset),
        cmocka_unit_test_setup(the_urls_options_do_not_count, reset),
        cmocka_unit_test_setup(a_commit_that_waits_for_more_is_left_so, reset),
        cmocka_unit_test_setup(no_write_is_acknowledged_before_it_is_durable, reset),
        cmocka_unit_test_setup(a_cancelled_wait_for_the_standby_is_unknown, reset),
        cmocka_unit_test_setup(
            a_migration_whose_wait_for_the_standby_is_cancelled_is_unknown, reset),
    };

    return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
