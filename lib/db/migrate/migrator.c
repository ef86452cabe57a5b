/* migrator.c - see migrator.h. */
#include "db/migrate/migrator.h"

#include <string.h>

#include "base/clock.h"
#include "db/connection/connect.h"
#include "db/connection/setup.h"
#include "db/connection/sqlstate.h"

enum { CONNECT_MS = 15000 };

struct err migrator_open(const char *url, PGconn **out)
{
    struct conn conn = {.url = url, .name = "checkoutctl", .of = SETTINGS_MIGRATOR};
    struct err e = conn_open(&conn, clock_monotonic_ms() + CONNECT_MS);

    if (failed(e)) {
        conn_end(&conn);
        return e;
    }
    *out = conn.pg;
    conn.pg = NULL;
    conn_end(&conn);
    PQsetnonblocking(*out, 0);
    return ERR_NONE;
}

struct err migrator_settings(PGconn *conn)
{
    char sql[SETTINGS_SQL_SIZE];

    settings_sql(SETTINGS_MIGRATOR, sql);
    return migrator_run(conn, sql);
}

struct err migrator_error(const PGconn *conn, const PGresult *result)
{
    char words[WORDS_SIZE];

    words_of_result(conn, result, words);
    return err_make(ERR_UNKNOWN, "%s", words);
}

struct err migrator_run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    struct err e = ERR_NONE;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
        status != PGRES_EMPTY_QUERY)
        e = migrator_error(conn, result);
    PQclear(result);
    return e;
}

struct warning {
    PQnoticeReceiver shown_by;
    bool came;
};

static void note_warning(void *arg, const PGresult *notice)
{
    struct warning *warning = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);

    warning->came |= severity != NULL && strcmp(severity, "WARNING") == 0;
    warning->shown_by(NULL, notice);
}

/* A warning during COMMIT may be "canceling the wait for synchronous replication":
 * committed here, perhaps nowhere else. */
struct err migrator_commit(PGconn *conn)
{
    struct warning warning = {.shown_by = PQsetNoticeReceiver(conn, NULL, NULL)};
    PQsetNoticeReceiver(conn, note_warning, &warning);
    PGresult *result = PQexec(conn, "COMMIT");
    struct err e = ERR_NONE;

    PQsetNoticeReceiver(conn, warning.shown_by, NULL);

    if (PQresultStatus(result) == PGRES_FATAL_ERROR && PQstatus(conn) == CONNECTION_OK)
        e = migrator_error(conn, result);
    else if (PQresultStatus(result) != PGRES_COMMAND_OK)
        e = err_unknown(ERR_UNKNOWN, "the connection was lost in COMMIT; run this again");
    else if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        e = err_make(ERR_UNKNOWN, "the server rolled the transaction back");
    else if (warning.came)
        e = err_unknown(ERR_UNKNOWN,
                        "the server warned in COMMIT (above): it may not be on "
                        "the standby; run this again");
    PQclear(result);
    return e;
}
