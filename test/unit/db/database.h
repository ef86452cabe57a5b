/*
 * database.h - what tests against a real PostgreSQL share.
 *
 * Including it makes CMake run the test through test/with_postgres: a private cluster for
 * the program.  A second connection (the "admin") looks at what really happened and gets
 * in the way.  Nothing here sleeps for a result: it waits for facts, within PATIENCE_MS.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> /* needs those above */
#include <inttypes.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db.h"
#include "db/migrate/migrate.h"

#define UNUSED __attribute__((unused))

enum { PATIENCE_MS = 60000 }; /* only ever reached by a test that fails */

#define assert_ok(expression)                                                            \
    do {                                                                                 \
        struct err assert_ok_ = (expression);                                            \
        if (failed(assert_ok_))                                                          \
            fail_msg("%s", assert_ok_.message);                                          \
    } while (0)

UNUSED static const char *database_url(void)
{
    const char *url = getenv("CHECKOUT_TEST_DATABASE_URL");

    if (url == NULL)
        fail_msg("CHECKOUT_TEST_DATABASE_URL is not set; run through test/with_postgres");
    return url;
}

UNUSED static int64_t in_ms(int64_t ms)
{
    return clock_monotonic_ms() + ms;
}

/* Between two looks at a fact that is waited for. */
UNUSED static void breathe(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* ---- the admin's connections --------------------------------------------------------- */

UNUSED static PGconn *admin_connect(void)
{
    PGconn *conn = PQconnectdb(database_url());

    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

UNUSED static void sql_on(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);

    PQclear(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
}

/* One statement, or several, on a connection of its own. */
UNUSED __attribute__((format(printf, 1, 2))) static void sql(const char *format, ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    PGconn *conn = admin_connect();
    sql_on(conn, text);
    PQfinish(conn);
}

/* The first cell of the first row as text; the caller frees it. */
UNUSED static char *sql_text_on(PGconn *conn, const char *query)
{
    PGresult *result = PQexec(conn, query);

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) == 0) {
        PQclear(result);
        fail_msg("%s: %s", query, PQerrorMessage(conn));
    }
    char *text = strdup(PQgetvalue(result, 0, 0));
    PQclear(result);
    return text;
}

UNUSED static int64_t sql_number_on(PGconn *conn, const char *query)
{
    char *text = sql_text_on(conn, query);
    int64_t number = strtoll(text, NULL, 10);

    free(text);
    return number;
}

UNUSED __attribute__((format(printf, 1, 2))) static int64_t sql_number(const char *format,
                                                                       ...)
{
    char text[4096];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    PGconn *conn = admin_connect();
    int64_t number = sql_number_on(conn, text);
    PQfinish(conn);
    return number;
}

#define assert_sql_text(expected, query)                                                 \
    do {                                                                                 \
        PGconn *assert_conn_ = admin_connect();                                          \
        char *assert_text_ = sql_text_on(assert_conn_, query);                           \
        PQfinish(assert_conn_);                                                          \
        assert_string_equal(assert_text_, expected);                                     \
        free(assert_text_);                                                              \
    } while (0)

/* Waits until a query gives a number other than 0. */
UNUSED static void wait_sql(const char *query)
{
    PGconn *conn = admin_connect();
    int64_t until = in_ms(PATIENCE_MS);

    while (sql_number_on(conn, query) == 0) {
        if (clock_monotonic_ms() > until)
            fail_msg("in vain waited for: %s", query);
        breathe();
    }
    PQfinish(conn);
}

/* Until so many sessions of application `name` wait for a lock. */
UNUSED static void wait_blocked(const char *name, int sessions)
{
    char query[256];

    snprintf(query, sizeof query,
             "SELECT (count(*) >= %d)::int FROM pg_stat_activity"
             " WHERE wait_event_type = 'Lock' AND application_name = '%s'",
             sessions, name);
    wait_sql(query);
}

/* ---- the cluster --------------------------------------------------------------------- */

UNUSED static void pg_ctl(const char *arguments)
{
    char command[512];

    snprintf(command, sizeof command, "%s %s >/dev/null </dev/null",
             getenv("CHECKOUT_TEST_PG_CTL"), arguments);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/*
 * Asks for a synchronous standby that never comes, so that no COMMIT is done.  A COMMIT
 * waits for it once the checkpointer has read the new configuration, however long that
 * takes after pg_reload_conf; so this returns when a COMMIT of its own was seen to wait.
 */
UNUSED static void want_a_standby(void)
{
    PGconn *conn = admin_connect();
    int64_t until = in_ms(PATIENCE_MS);
    PGresult *result = NULL;

    sql_on(conn, "SET synchronous_commit = on"); /* whatever the database's default is */
    sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    sql("SELECT pg_reload_conf()");
    while (sql_number("SELECT count(*) FROM pg_stat_activity"
                      " WHERE pid = %d AND wait_event = 'SyncRep'",
                      PQbackendPID(conn)) == 0) {
        if (clock_monotonic_ms() > until)
            fail_msg("COMMIT does not wait for the standby");
        assert_int_equal(PQconsumeInput(conn), 1);
        if (PQtransactionStatus(conn) != PQTRANS_ACTIVE)
            assert_int_equal(
                PQsendQuery(conn, "SELECT pg_logical_emit_message(true, '', '')"), 1);
        while (!PQisBusy(conn) && (result = PQgetResult(conn)) != NULL)
            PQclear(result);
    }
    sql("SELECT pg_cancel_backend(%d)", PQbackendPID(conn));
    while ((result = PQgetResult(conn)) != NULL)
        PQclear(result);
    PQfinish(conn);
}

UNUSED static void migrate_all(void)
{
    const struct migrate_config config = {
        .url = database_url(),
        .folder = getenv("CHECKOUT_TEST_MIGRATIONS"),
        .lock_wait_ms = 10000,
    };

    assert_ok(migrate(&config));
}

/* ---- counting down ------------------------------------------------------------------- */

struct latch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int left;
};

UNUSED static void latch_set(struct latch *latch, int left)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&latch->lock, NULL);
    pthread_cond_init(&latch->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    latch->left = left;
}

UNUSED static void latch_count(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    latch->left--;
    pthread_cond_broadcast(&latch->wake);
    pthread_mutex_unlock(&latch->lock);
}

UNUSED static int latch_left(struct latch *latch)
{
    pthread_mutex_lock(&latch->lock);
    int left = latch->left;
    pthread_mutex_unlock(&latch->lock);
    return left;
}

/* Until no more than `left` are to come. */
UNUSED static void latch_wait(struct latch *latch, int left)
{
    struct timespec until;
    int timed_out = 0;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&latch->lock);
    while (latch->left > left && timed_out == 0)
        timed_out = pthread_cond_timedwait(&latch->wake, &latch->lock, &until);
    int still = latch->left;
    pthread_mutex_unlock(&latch->lock);
    if (still > left)
        fail_msg("%d answers did not come", still - left);
}

/* Until the server has ended the sessions of that name: one that was closed in the middle of
 * something still holds what it locked for a moment. */
UNUSED static void wait_for_no_session(const char *name)
{
    static const char SESSIONS[] =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '%s'";

    for (int i = 0; i < 5000 && sql_number(SESSIONS, name) > 0; i++)
        usleep(2000);
    assert_int_equal(sql_number(SESSIONS, name), 0);
}
