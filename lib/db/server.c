/* server.c - see server.h. */
#include "db/server.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "db/pooler.h"

enum {
    TEXT_SIZE = 1200,
    CURE_SIZE = 200,
    VERSION_LEAST = 150000, /* as libpq tells it */
};

/* What must be so; docs/adr/0039-unsafe-servers-are-refused-by-migrate.md has the table for
 * operators. */
struct need {
    const char *name;      /* of a setting */
    const char *value;     /* as current_setting gives it */
    const char *otherwise; /* what happens then */
};

static const struct need NEEDS[] = {
    {"fsync", "on", "what was acknowledged can be lost when the machine stops"},
    {"full_page_writes", "on", "a page half written when the machine stops stays broken"},
    {"data_sync_retry", "off", "what was acknowledged can be lost when the disk fails"},
    {"zero_damaged_pages", "off", "rows of a damaged page vanish without an error"},
    {"server_encoding", "UTF8", "letters that it lacks cannot be stored"},
    {"session_replication_role", "origin", "foreign keys and triggers are not heeded"},
};

enum { COUNT = sizeof NEEDS / sizeof *NEEDS };

/* Adds a sentence to what `text` holds. */
__attribute__((format(printf, 2, 3))) static void say(char text[TEXT_SIZE],
                                                      const char *format, ...)
{
    size_t used = strlen(text);
    va_list args;

    if (used > 0 && used < TEXT_SIZE - 1)
        text[used++] = ' ';
    va_start(args, format);
    vsnprintf(text + used, TEXT_SIZE - used, format, args);
    va_end(args);
}

/* ---- where a setting comes from, and what to do ------------------------------------------ */

/* By pg_settings.source. */
static const char *where_is(const char *source)
{
    static const char *const PLACES[][2] = {
        {"configuration file", "in the server's files"},
        {"command line", "on the server's command line"},
        {"global", "by ALTER ROLE ALL"},
        {"database", "by ALTER DATABASE"},
        {"user", "by ALTER ROLE"},
        {"database user", "by ALTER ROLE ... IN DATABASE"},
        {"client", "in the URL's options or PGOPTIONS"},
    };

    for (size_t i = 0; i < sizeof PLACES / sizeof *PLACES; i++)
        if (strcmp(PLACES[i][0], source) == 0)
            return PLACES[i][1];
    return "on the server";
}

static void cure_of(const char *source, const struct need *need, const PGconn *pg,
                    char cure[CURE_SIZE])
{
    const char *name = need->name;

    if (strcmp(source, "configuration file") == 0)
        snprintf(cure, CURE_SIZE, "ALTER SYSTEM SET %s = %s, and start the server again",
                 name, need->value);
    else if (strcmp(source, "command line") == 0)
        snprintf(cure, CURE_SIZE, "start it without %s there", name);
    else if (strcmp(source, "client") == 0)
        snprintf(cure, CURE_SIZE, "take %s out of them", name);
    else if (strcmp(source, "global") == 0)
        snprintf(cure, CURE_SIZE, "ALTER ROLE ALL RESET %s", name);
    else if (strcmp(source, "database") == 0)
        snprintf(cure, CURE_SIZE, "ALTER DATABASE \"%s\" RESET %s", PQdb(pg), name);
    else if (strcmp(source, "user") == 0)
        snprintf(cure, CURE_SIZE, "ALTER ROLE \"%s\" RESET %s", PQuser(pg), name);
    else if (strcmp(source, "database user") == 0)
        snprintf(cure, CURE_SIZE, "ALTER ROLE \"%s\" IN DATABASE \"%s\" RESET %s",
                 PQuser(pg), PQdb(pg), name);
    else
        snprintf(cure, CURE_SIZE, "set it to %s", need->value);
}

static struct err say_setting(struct conn *conn, const struct need *need,
                              const char *value, char text[TEXT_SIZE],
                              int64_t deadline_ms)
{
    char sql[200], cure[CURE_SIZE];
    const char *file = "", *line = "", *source = "";
    PGresult *result = NULL;

    snprintf(sql, sizeof sql,
             "SELECT source, sourcefile, sourceline FROM pg_catalog.pg_settings "
             "WHERE name OPERATOR(pg_catalog.=) '%s'",
             need->name);
    struct err e = conn_ask(conn, sql, deadline_ms, &result);
    if (!failed(e) && PQntuples(result) == 1) {
        source = PQgetvalue(result, 0, 0);
        file = PQgetvalue(result, 0, 1); /* "" for who may not see it */
        line = PQgetvalue(result, 0, 2);
    }
    cure_of(source, need, conn->pg, cure);
    say(text, "%s is %s, set %s%s%s%s%s: %s.  To do: %s.", need->name, value,
        where_is(source), *file != '\0' ? " (" : "", file, *file != '\0' ? " line " : "",
        *file != '\0' ? line : "", need->otherwise, cure);
    PQclear(result);
    return e;
}

static void say_encoding(const PGconn *pg, const char *value, const struct need *need,
                         char text[TEXT_SIZE])
{
    say(text,
        "The database \"%s\" has the encoding %s: %s.  To do: make one with CREATE DATABASE "
        "... ENCODING 'UTF8' TEMPLATE template0.",
        PQdb(pg), value, need->otherwise);
}

/* ---- looking ---------------------------------------------------------------------------- */

static void look_sql(char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "SELECT pg_catalog.pg_backend_pid()");

    for (size_t i = 0; i < COUNT && used < room; i++)
        used +=
            (size_t)snprintf(out + used, room - used,
                             ", pg_catalog.current_setting('%s', true)", NEEDS[i].name);
}

/* What is not as it must be, to `text`; nothing when all is. */
static struct err judge(struct conn *conn, const PGresult *look, char text[TEXT_SIZE],
                        int64_t deadline_ms)
{
    int version = PQserverVersion(conn->pg);
    struct err e = ERR_NONE;

    if (version < VERSION_LEAST)
        say(text,
            "The server is PostgreSQL %d: it must be 15 or newer.  To do: upgrade it.",
            version / 10000);
    for (int i = 0; i < COUNT && !failed(e); i++) {
        const char *value = PQgetvalue(look, 0, i + 1);
        if (*value == '\0' || strcmp(value, NEEDS[i].value) == 0)
            continue;
        if (strcmp(NEEDS[i].name, "server_encoding") == 0)
            say_encoding(conn->pg, value, &NEEDS[i], text);
        else
            e = say_setting(conn, &NEEDS[i], value, text, deadline_ms);
    }
    return e;
}

/* The services' roles may have what the migrator's has not. */
static struct err judge_roles(struct conn *conn, char text[TEXT_SIZE],
                              int64_t deadline_ms)
{
    static const char SQL[] =
        "SELECT r.rolname, d.datname FROM pg_catalog.pg_db_role_setting s "
        "JOIN pg_catalog.pg_roles r ON r.oid = s.setrole "
        "LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase, "
        "pg_catalog.unnest(s.setconfig) AS c(setting) "
        "WHERE r.rolname LIKE 'checkout\\_%' AND r.rolname <> current_user "
        "AND (s.setdatabase = 0 OR d.datname = pg_catalog.current_database()) "
        "AND c.setting LIKE 'session\\_replication\\_role=%' "
        "AND c.setting <> 'session_replication_role=origin' ORDER BY 1 LIMIT 1";
    PGresult *result = NULL;
    struct err e = conn_ask(conn, SQL, deadline_ms, &result);

    if (!failed(e) && PQntuples(result) > 0) {
        const char *role = PQgetvalue(result, 0, 0), *database = PQgetvalue(result, 0, 1);
        const char *in = *database != '\0' ? " IN DATABASE " : "";
        say(text,
            "session_replication_role is set by ALTER ROLE %s: foreign keys and triggers are "
            "not heeded.  To do: ALTER ROLE %s%s%s RESET session_replication_role.",
            role, role, in, database);
    }
    PQclear(result);
    return e;
}

struct err server_check(struct conn *conn, int64_t deadline_ms)
{
    char sql[800], text[TEXT_SIZE] = "";
    PGresult *look = NULL;

    look_sql(sql, sizeof sql);
    struct err e = conn_ask(conn, sql, deadline_ms, &look);
    int pid = failed(e) ? 0 : atoi(PQgetvalue(look, 0, 0));
    if (!failed(e) && pid != PQbackendPID(conn->pg)) {
        e = pooler_detect(conn, pid, deadline_ms);
        conn->backend = pid;
    }
    if (!failed(e) && conn->of != SETTINGS_READER)
        e = judge(conn, look, text, deadline_ms);
    if (!failed(e) && conn->of == SETTINGS_MIGRATOR)
        e = judge_roles(conn, text, deadline_ms);
    PQclear(look);
    if (failed(e) || *text == '\0')
        return e;
    if (conn->of == SETTINGS_MIGRATOR)
        return err_make(ERR_FAILED_PRECONDITION, "%s", text);
    log_line(LOG_WARN, "database_unsafe", "database=%s error=%s", conn->name, text);
    return ERR_NONE;
}
