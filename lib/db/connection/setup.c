/* setup.c - see setup.h.  docs/adr/0038 has the table of settings for operators, docs/adr/0039
 * that of what is checked on the server. */
#include "db/connection/setup.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/connection/connect.h"
#include "db/connection/sqlstate.h"

/* ---- the session's settings ---------------------------------------------------------- */

#define SERVICE SETTINGS_SERVICE
#define WRITER  SETTINGS_WRITER

static const struct setting SETTINGS[] = {
    /* A statement that waited for a lock sees what its owner wrote, and no statement of
     * ours fails with 40001 for what others do. */
    {SETTINGS_ALL, "default_transaction_isolation", "read committed", NULL, false},
    /* The writer can write; a reader cannot. */
    {WRITER | SETTINGS_MIGRATOR, "default_transaction_read_only", "off", NULL, false},
    {SETTINGS_READER, "default_transaction_read_only", "on", NULL, false},
    /* What was acknowledged is on disk, here and on a synchronous standby. */
    {WRITER | SETTINGS_MIGRATOR, "synchronous_commit", "on", "remote_apply", false},
    /* The warning of a wait for the standby that was cancelled is sent to us: the outcome
     * is then unknown. */
    {SETTINGS_ALL, "client_min_messages", "warning", NULL, false},
    /* Text goes in and comes out as UTF-8. */
    {SETTINGS_ALL, "client_encoding", "UTF8", NULL, false},
    /* Names in our SQL mean PostgreSQL's own functions, not those that other roles create
     * in a schema of the database's path.  (Migrations may create in `public`.) */
    {SERVICE, "search_path", "pg_catalog, pg_temp", NULL, false},
    /* A wait for a lock ends early enough that operations of the batch which do not need
     * that row keep their deadlines.  A statement that times out has had no effect: this
     * never cancels a COMMIT's wait for a standby in a way we could take for success. */
    {WRITER, "lock_timeout", "1s", NULL, false},
    {SETTINGS_READER, "lock_timeout", "5s", NULL, false}, /* delays no other query */
    {SERVICE, "statement_timeout", "20s", NULL, false},
    /* The locks of a process of ours that hangs or died are released after this time. */
    {SERVICE, "idle_in_transaction_session_timeout", "20s", NULL, false},
    {SERVICE, "client_connection_check_interval", "1s", NULL, false},
    /* The same when its network connection was cut silently. */
    {SERVICE, "tcp_keepalives_idle", "5", NULL, true},
    {SERVICE, "tcp_keepalives_interval", "2", NULL, true},
    {SERVICE, "tcp_keepalives_count", "3", NULL, true},
    {SERVICE, "tcp_user_timeout", "10000", NULL, true},
    /* Deadlines can be met.  All of a writer's statements find their rows by key, but a plan
     * made while the tables were empty would scan them, and would be cached.  With
     * seqscan off, a scan that cannot be avoided costs 1e10, for which JIT would
     * compile each run: half a second.  And with arrays of few elements each run would
     * be planned again: a fifth of its time. */
    {WRITER, "enable_seqscan", "off", NULL, false},
    {WRITER, "jit", "off", NULL, false},
    {WRITER, "plan_cache_mode", "force_generic_plan", NULL, false},
};

enum { SETTINGS_COUNT = sizeof SETTINGS / sizeof *SETTINGS };

const struct setting *settings_all(size_t *count)
{
    *count = SETTINGS_COUNT;
    return SETTINGS;
}

/* Appends to `out`, which has `used` bytes; returns how many it has then. */
__attribute__((format(printf, 3, 4))) static size_t add(char *out, size_t used,
                                                        const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int length = vsnprintf(out + used, SETTINGS_SQL_SIZE - used, format, args);
    va_end(args);
    assert(length > 0 && used + (size_t)length < SETTINGS_SQL_SIZE);
    return used + (size_t)length;
}

/* set_config takes every value in the form in which current_setting gives it; SET does not
 * take a path so.  Nothing is looked up on the path that is being replaced. */
void settings_sql(enum settings_of of, char out[SETTINGS_SQL_SIZE])
{
    size_t used = 0;

    for (const struct setting *s = SETTINGS; s < SETTINGS + SETTINGS_COUNT; s++) {
        if ((s->of & of) == 0)
            continue;
        used = add(out, used, "%s pg_catalog.set_config('%s', ",
                   used == 0 ? "SELECT" : ",", s->name);
        if (s->or_else != NULL)
            used = add(out, used,
                       "CASE WHEN pg_catalog.current_setting('%s') OPERATOR(pg_catalog.=)"
                       " '%s' THEN '%s' ELSE '%s' END, false)",
                       s->name, s->or_else, s->or_else, s->value);
        else
            used = add(out, used, "'%s', false)", s->value);
    }
}

/* ---- poolers ------------------------------------------------------------------------- */

enum { ROUNDS = 4 }; /* a busy pooler may give a session the same process by chance */

static struct err refuse(int before, int now)
{
    return err_make(
        ERR_UNAVAILABLE,
        "A pooler in transaction mode is in front of the database (server process "
        "%d served two sessions, or became %d): what a session sets and locks is "
        "lost there.  Use session mode (PgBouncer: pool_mode = session), or the "
        "server itself.",
        before, now);
}

static struct err ask_pid(struct conn *conn, int64_t deadline_ms, int *pid)
{
    PGresult *result = NULL;
    struct err e =
        conn_ask(conn, "SELECT pg_catalog.pg_backend_pid()", deadline_ms, &result);

    if (!failed(e))
        *pid = atoi(PQgetvalue(result, 0, 0));
    PQclear(result);
    return e;
}

static struct err pooler_check(struct conn *conn, int pid, int64_t deadline_ms)
{
    int now = pid;
    struct err e = ask_pid(conn, deadline_ms, &now);

    return !failed(e) && now != pid ? refuse(pid, now) : e;
}

/* The second connection's server process, or 0 when it does not answer in time. */
static int pid_of_second(struct conn *second, int64_t deadline_ms)
{
    int pid = 0;

    if (second->pg != NULL && failed(ask_pid(second, deadline_ms, &pid)))
        conn_close(second);
    return pid;
}

/*
 * `pid` is the server process that served this connection before.  Asks for it again, and
 * asks a second connection: in transaction mode they get each other's.  A pooler that has
 * no second connection to give is taken to be in session mode.
 */
static struct err pooler_detect(struct conn *conn, int pid, int64_t deadline_ms)
{
    struct conn second = {.url = conn->url,
                          .name = conn->name,
                          .of = conn->of,
                          .meanwhile = conn->meanwhile,
                          .arg = conn->arg};
    int64_t half = clock_monotonic_ms() + clock_remaining_ms(deadline_ms) / 2;
    struct err e = connect_any(&second, half);

    if (!failed(e))
        PQsetnonblocking(second.pg, 1);
    e = ERR_NONE;
    for (int round = 0; round < ROUNDS && !failed(e); round++) {
        if (pid_of_second(&second, half) == pid)
            e = refuse(pid, pid);
        else
            e = pooler_check(conn, pid, deadline_ms);
    }
    conn_end(&second);
    return e;
}

/* ---- the server ---------------------------------------------------------------------- */

enum {
    TEXT_SIZE = 1200,
    CURE_SIZE = 200,
    VERSION_LEAST = 150000, /* as libpq tells it */
};

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
    {"session_replication_role", "origin", "foreign keys and triggers are disabled"},
};

enum { NEEDS_COUNT = sizeof NEEDS / sizeof *NEEDS };

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

/* `source` is pg_settings.source. */
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
        file = PQgetvalue(result, 0, 1); /* "" without the right to see it */
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

static void look_sql(char *out, size_t room)
{
    size_t used = (size_t)snprintf(out, room, "SELECT pg_catalog.pg_backend_pid()");

    for (size_t i = 0; i < NEEDS_COUNT && used < room; i++)
        used +=
            (size_t)snprintf(out + used, room - used,
                             ", pg_catalog.current_setting('%s', true)", NEEDS[i].name);
}

/* Writes to `text` what is unsafe; nothing when all is well. */
static struct err judge(struct conn *conn, const PGresult *look, char text[TEXT_SIZE],
                        int64_t deadline_ms)
{
    int version = PQserverVersion(conn->pg);
    struct err e = ERR_NONE;

    if (version < VERSION_LEAST)
        say(text,
            "The server is PostgreSQL %d: it must be 15 or newer.  To do: upgrade it.",
            version / 10000);
    for (int i = 0; i < NEEDS_COUNT && !failed(e); i++) {
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

/* A service's role may have a setting that the migrator's role has not. */
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
            "session_replication_role is set by ALTER ROLE %s: foreign keys and triggers "
            "are disabled.  To do: ALTER ROLE %s%s%s RESET session_replication_role.",
            role, role, in, database);
    }
    PQclear(result);
    return e;
}

static struct err server_check(struct conn *conn, int64_t deadline_ms)
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

/* ---- opening ------------------------------------------------------------------------- */

struct err conn_open(struct conn *conn, int64_t deadline_ms)
{
    char sql[SETTINGS_SQL_SIZE];
    PGresult *result = NULL;

    conn_close(conn);
    struct err e = connect_any(conn, deadline_ms);
    if (failed(e))
        return e;
    PQsetnonblocking(conn->pg, 1);
    settings_sql(conn->of, sql);
    e = server_check(conn, deadline_ms);
    if (!failed(e))
        e = conn_ask(conn, sql, deadline_ms, &result);
    PQclear(result);
    if (failed(e))
        conn_close(conn);
    return e;
}

struct err conn_check_backend(struct conn *conn, int64_t deadline_ms)
{
    return conn->backend == 0 ? ERR_NONE : pooler_check(conn, conn->backend, deadline_ms);
}
