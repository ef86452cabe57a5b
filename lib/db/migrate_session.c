/* migrate_session.c - see migrate_session.h. */
#include "db/migrate_session.h"

#include <string.h>

#include "db/settings.h"

struct err session_open(const char *url, PGconn **out)
{
    /* The URL comes last, so what it says wins; a dead peer is noticed within a minute.
     */
    const char *const names[] = {
        "connect_timeout",     "application_name", "keepalives_idle",
        "keepalives_interval", "keepalives_count", "tcp_user_timeout",
        "client_encoding",     "dbname",           NULL};
    const char *const values[] = {"10",    "checkoutctl", "20", "10", "4",
                                  "60000", "UTF8",        url,  NULL};

    *out = PQconnectdbParams(names, values, 1);
    if (*out == NULL)
        return err_memory();
    if (PQstatus(*out) != CONNECTION_OK) {
        const char *message = PQerrorMessage(*out);
        return err_make(ERR_UNAVAILABLE, "cannot connect to the database: %.*s",
                        (int)strcspn(message, "\n"), message);
    }
    return session_settings(*out);
}

struct err session_settings(PGconn *conn)
{
    char sql[SETTINGS_SQL_SIZE];

    settings_sql(SETTINGS_MIGRATOR, sql);
    return session_run(conn, sql);
}

struct err session_error(const PGconn *conn, const PGresult *result)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (message == NULL)
        message = PQerrorMessage(conn);
    return err_make(ERR_UNKNOWN, "%.*s", (int)strcspn(message, "\n"), message);
}

struct err session_run(PGconn *conn, const char *sql)
{
    PGresult *result = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(result);
    struct err e = ERR_NONE;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
        status != PGRES_EMPTY_QUERY)
        e = session_error(conn, result);
    PQclear(result);
    return e;
}

struct err session_commit(PGconn *conn)
{
    PGresult *result = PQexec(conn, "COMMIT");
    struct err e = ERR_NONE;

    if (PQresultStatus(result) == PGRES_FATAL_ERROR && PQstatus(conn) == CONNECTION_OK)
        e = session_error(conn, result);
    else if (PQresultStatus(result) != PGRES_COMMAND_OK)
        e = err_unknown(ERR_UNKNOWN, "the connection was lost in COMMIT; run this again");
    else if (strcmp(PQcmdStatus(result), "COMMIT") != 0)
        e = err_make(ERR_UNKNOWN, "the server rolled the transaction back");
    PQclear(result);
    return e;
}
