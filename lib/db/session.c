/* session.c - see session.h. */
#include "db/session.h"

#include <stdlib.h>
#include <time.h>

#include "base/failpoint.h"
#include "base/log.h"
#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/connection/sqlstate.h"
#include "db/statement.h"

struct db_session {
    struct conn conn;
    struct prepared prepared;
};

struct db_session *db_session_new(const char *url, const char *name)
{
    struct db_session *connection = calloc(1, sizeof *connection);

    if (connection != NULL)
        connection->conn = (struct conn){.url = url, .name = name, .of = SETTINGS_WRITER};
    return connection;
}

void db_session_close(struct db_session *connection)
{
    conn_close(&connection->conn);
    connection->prepared.count = 0;
}

void db_session_free(struct db_session *connection)
{
    if (connection == NULL)
        return;
    conn_end(&connection->conn);
    free(connection);
}

bool db_session_connected(const struct db_session *connection)
{
    return connection->conn.pg != NULL;
}

static struct err lost(const char *what)
{
    return err_unknown(ERR_UNAVAILABLE, "The database connection was lost%s.", what);
}

/* Reads to the end of what was sent; the last result is the caller's, unless failed. */
static struct err receive(struct db_session *connection, int64_t deadline_ms,
                          PGresult **out)
{
    struct err e = ERR_NONE;
    char words[WORDS_SIZE];

    for (;;) {
        int ready = conn_wait(&connection->conn, deadline_ms);
        if (ready != 1)
            return ready == 0 ? err_unknown(ERR_DEADLINE_EXCEEDED,
                                            "The database did not answer in time.")
                              : lost("");
        PGresult *result = PQgetResult(connection->conn.pg);
        if (result == NULL)
            return e;
        ExecStatusType status = PQresultStatus(result);
        if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK && !failed(e)) {
            const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
            words_for_log(connection->conn.pg, result, words);
            log_warn("database_error", "database=%s sqlstate=%s message=%s",
                     connection->conn.name, state != NULL ? state : "none", words);
            e = sqlstate_meaning(state) == SQLSTATE_CONNECTION ? lost("")
                                                               : sqlstate_err(state);
        }
        PQclear(*out);
        *out = result;
    }
}

struct err db_session_connect(struct db_session *connection, const char *settings,
                              int64_t deadline_ms)
{
    PGresult *result = NULL;

    if (db_session_connected(connection))
        return ERR_NONE;
    connection->prepared.count = 0;
    struct err e = conn_open(&connection->conn, deadline_ms);
    if (failed(e) || settings == NULL)
        return e;
    if (!PQsendQuery(connection->conn.pg, settings) ||
        !conn_flush(&connection->conn, deadline_ms))
        e = lost(" in set-up");
    else
        e = receive(connection, deadline_ms, &result);
    PQclear(result);
    if (failed(e))
        db_session_close(connection);
    return e;
}

/* ---- failpoints of the seam `commit` ------------------------------------------------ */

static void late(struct fault fault)
{
    if (fault.kind == FAULT_LATE)
        nanosleep(
            &(struct timespec){fault.late_ms / 1000, fault.late_ms % 1000 * 1000000},
            NULL);
}

static struct err pass_before(const char *name, bool *repeat)
{
    struct fault fault = failpoint("commit", name, "before");

    late(fault);
    *repeat = fault.kind == FAULT_REPEAT;
    if (fault.kind == FAULT_ERROR)
        return sqlstate_err("53100");
    return fault.kind == FAULT_DROP ? lost(" (a failpoint)") : ERR_NONE;
}

static struct err pass_after(const char *name)
{
    struct fault fault = failpoint("commit", name, "after");

    late(fault);
    return fault.kind == FAULT_NONE || fault.kind == FAULT_LATE ? ERR_NONE
                                                                : lost(" (a failpoint)");
}

/* ---- running ----------------------------------------------------------------------- */

static struct err run(struct db_session *connection, const struct db_query *query,
                      bool writes, PGresult **out)
{
    bool lose_answer = false;
    struct err e = writes ? pass_before(query->name, &lose_answer) : ERR_NONE;

    if (!failed(e)) /* which holds the locks */
        e = conn_check_backend(&connection->conn, query->deadline_ms);
    if (!failed(e))
        e = statement_prepare_once(&connection->conn, &connection->prepared, query,
                                   query->deadline_ms);
    if (!failed(e) && !statement_send(&connection->conn, query))
        e = lost("");
    if (!failed(e))
        e = receive(connection, query->deadline_ms, out);
    if (!failed(e) && lose_answer)
        e = lost(" (a failpoint)");
    if (!failed(e) && connection->conn.warned) {
        connection->conn.warned = false; /* perhaps not on the standby */
        if (writes)
            e = lost(" (a warning came with COMMIT)");
    }
    return !failed(e) && writes ? pass_after(query->name) : e;
}

struct err db_session_run(struct db_session *connection, const struct db_query *query,
                          bool writes,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg)
{
    PGresult *result = NULL;

    if (!db_session_connected(connection))
        return err_make(ERR_UNAVAILABLE, "Not connected to the database.");
    struct err e = run(connection, query, writes, &result);
    if (failed(e)) {
        PQclear(result);
        if (e.effect == EFFECT_UNKNOWN || e.code == ERR_UNAVAILABLE ||
            PQstatus(connection->conn.pg) != CONNECTION_OK ||
            PQtransactionStatus(connection->conn.pg) != PQTRANS_IDLE)
            db_session_close(connection);
        return e;
    }
    const struct db_rows rows = rows_of(result);
    e = rows_check(query, &rows);
    if (!failed(e) && on_rows != NULL)
        on_rows(arg, &rows);
    PQclear(result);
    return e;
}
