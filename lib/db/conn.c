/* conn.c - see conn.h. */
#include "db/conn.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db.h"

/*
 * lock_timeout bounds a wait behind a transaction whose owner died without a word; the
 * batch is then run again.  statement_timeout never cancels a COMMIT's wait for a standby
 * in a way we could take for success: a warning during COMMIT counts as unknown.
 */
static const char SESSION[] = "SET lock_timeout = '5s'; SET statement_timeout = '20s';"
                              "SET idle_in_transaction_session_timeout = '20s'";

Oid conn_oid(char type, bool array)
{
    switch (type) {
    case 't': return array ? 1009 : 25;
    case 'i': return array ? 1016 : 20;
    case 'b': return array ? 1000 : 16;
    case 'y': return array ? 1001 : 17;
    default: return 0;
    }
}

static void on_notice(void *arg, const PGresult *notice)
{
    struct conn *conn = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);

    if (severity == NULL || strcmp(severity, "WARNING") != 0)
        return;
    conn->warned = true;
    log_warn("database_warning", "database=%s sqlstate=%s message=\"%s\"", conn->name,
             PQresultErrorField(notice, PG_DIAG_SQLSTATE),
             PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY));
}

/* Polls the socket.  1: ready, 0: time is up, -1: broken. */
static int wait_socket(PGconn *pg, short events, int64_t deadline_ms)
{
    struct pollfd poll_for = {.fd = PQsocket(pg), .events = events};

    if (poll_for.fd < 0)
        return -1;
    for (;;) {
        int n = poll(&poll_for, 1, (int)clock_remaining_ms(deadline_ms));
        if (n >= 0 || errno != EINTR)
            return n;
    }
}

static bool connect_within(PGconn *pg, int64_t deadline_ms)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;

    if (PQstatus(pg) == CONNECTION_BAD)
        return false;
    while (next != PGRES_POLLING_OK) {
        short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (next == PGRES_POLLING_FAILED || wait_socket(pg, events, deadline_ms) <= 0)
            return false;
        next = PQconnectPoll(pg);
    }
    return true;
}

/* Runs one simple command to its end; for session set-up only. */
static struct err run_command(struct conn *conn, const char *sql, int64_t deadline_ms)
{
    struct err e = ERR_NONE;

    if (!PQsendQuery(conn->pg, sql) || !conn_flush(conn, deadline_ms))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    for (;;) {
        if (conn_wait(conn, deadline_ms) != 1)
            return err_make(ERR_UNAVAILABLE, "The database did not finish set-up in time.");
        PGresult *result = PQgetResult(conn->pg);
        if (result == NULL)
            return e;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            e = err_make(ERR_UNAVAILABLE, "The database refused set-up: %s",
                         PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        PQclear(result);
    }
}

/* libpq's message, first line only; it names hosts and roles but never a password. */
static struct err connection_err(const PGconn *pg)
{
    const char *text = PQerrorMessage(pg);
    int length = (int)strcspn(text, "\n");

    if (length == 0)
        return err_make(ERR_UNAVAILABLE, "The database did not answer in time.");
    return err_make(ERR_UNAVAILABLE, "Cannot connect to the database: %.*s", length, text);
}

struct err conn_open(struct conn *conn, int64_t deadline_ms)
{
    const char *keys[] = {"dbname", "fallback_application_name", "target_session_attrs",
                          "client_encoding", NULL};
    const char *values[] = {conn->url, conn->name, conn->read_only ? "any" : "read-write",
                            "UTF8", NULL};

    conn_close(conn);
    conn->pg = PQconnectStartParams(keys, values, 1);
    if (conn->pg == NULL)
        return err_memory();
    struct err e = ERR_NONE;
    if (!connect_within(conn->pg, deadline_ms))
        e = connection_err(conn->pg);
    if (!failed(e)) {
        PQsetNoticeReceiver(conn->pg, on_notice, conn);
        PQsetnonblocking(conn->pg, 1);
        e = run_command(conn, SESSION, deadline_ms);
    }
    if (!failed(e) && conn->read_only)
        e = run_command(conn, "SET default_transaction_read_only = on", deadline_ms);
    if (failed(e))
        conn_close(conn);
    return e;
}

void conn_close(struct conn *conn)
{
    PQfinish(conn->pg);
    conn->pg = NULL;
    conn->warned = false;
}

struct err conn_prepare(struct conn *conn, const char *name, const char *sql, const char *types,
                        bool arrays, int64_t deadline_ms)
{
    Oid oids[DB_HEAD_MAX + DB_LINES_MAX + 1];
    int count = (int)strlen(types);
    struct err e = ERR_NONE;

    for (int i = 0; i < count; i++)
        oids[i] = conn_oid(types[i], arrays);
    if (!PQsendPrepare(conn->pg, name, sql, count, oids) || !conn_flush(conn, deadline_ms))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    for (;;) {
        if (conn_wait(conn, deadline_ms) != 1)
            return err_make(ERR_UNAVAILABLE, "The database did not finish set-up in time.");
        PGresult *result = PQgetResult(conn->pg);
        if (result == NULL)
            return e;
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            e = err_make(ERR_UNAVAILABLE, "The database cannot prepare %s: %s", name,
                         PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY));
        PQclear(result);
    }
}

bool conn_flush(struct conn *conn, int64_t deadline_ms)
{
    for (;;) {
        int left = PQflush(conn->pg);
        if (left == 0)
            return true;
        if (left < 0 || wait_socket(conn->pg, POLLIN | POLLOUT, deadline_ms) <= 0)
            return false;
        if (!PQconsumeInput(conn->pg))
            return false;
    }
}

int conn_wait(struct conn *conn, int64_t deadline_ms)
{
    while (PQisBusy(conn->pg)) {
        int ready = wait_socket(conn->pg, POLLIN, deadline_ms);
        if (ready <= 0)
            return ready;
        if (!PQconsumeInput(conn->pg))
            return -1;
    }
    return 1;
}
