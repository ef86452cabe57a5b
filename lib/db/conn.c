/* conn.c - see conn.h. */
#include "db/conn.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/db.h"
#include "db/settings.h"

enum { TICK_MS = 50 }; /* how often those who wait behind a connection are looked after */

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
    log_warn("database_warning", "database=%s sqlstate=%s message=%s", conn->name,
             PQresultErrorField(notice, PG_DIAG_SQLSTATE),
             PQresultErrorField(notice, PG_DIAG_MESSAGE_PRIMARY));
}

/* Looks after those who wait elsewhere, if it is time; gives when to do so again. */
static int64_t look_after(struct conn *conn)
{
    int64_t now = clock_monotonic_ms();

    if (conn->meanwhile == NULL)
        return INT64_MAX;
    if (now >= conn->look_at_ms) {
        conn->look_at_ms = now + TICK_MS;
        conn->meanwhile(conn->arg);
    }
    return conn->look_at_ms;
}

/* Polls the socket.  1: ready, 0: time is up, -1: broken. */
static int wait_socket(struct conn *conn, short events, int64_t deadline_ms)
{
    struct pollfd poll_for = {.fd = PQsocket(conn->pg), .events = events};

    if (poll_for.fd < 0)
        return -1;
    for (;;) {
        int64_t tick = look_after(conn), until = tick < deadline_ms ? tick : deadline_ms;
        int n = poll(&poll_for, 1, (int)clock_remaining_ms(until));
        if (n > 0 || (n < 0 && errno != EINTR))
            return n;
        if (n == 0 && until == deadline_ms)
            return 0;
    }
}

static bool connect_within(struct conn *conn, int64_t deadline_ms)
{
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;

    if (PQstatus(conn->pg) == CONNECTION_BAD)
        return false;
    while (next != PGRES_POLLING_OK) {
        short events = next == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        if (next == PGRES_POLLING_FAILED || wait_socket(conn, events, deadline_ms) <= 0)
            return false;
        next = PQconnectPoll(conn->pg);
    }
    return true;
}

/* Gives the session the settings we rest on, whatever anybody else has set. */
static struct err set_up(struct conn *conn, int64_t deadline_ms)
{
    char sql[SETTINGS_SQL_SIZE];
    struct err e = ERR_NONE;

    settings_sql(conn->read_only ? SETTINGS_READER : SETTINGS_WRITER, sql);
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

/* The i-th part of a comma-separated list, or its only part for all; in `room` bytes. */
static const char *part_of(const char *list, size_t i, char *out, size_t room)
{
    const char *part = list;

    if (strchr(list, ',') == NULL)
        return list;
    for (; i > 0; i--) {
        const char *comma = strchr(part, ',');
        if (comma == NULL)
            break;
        part = comma + 1;
    }
    snprintf(out, room, "%.*s", (int)strcspn(part, ","), part);
    return out;
}

static size_t count_hosts(const PQconninfoOption *options)
{
    size_t count = 1;

    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, "host") == 0 && options->val != NULL)
            for (const char *c = options->val; *c != '\0'; c++)
                count += *c == ',' ? 1 : 0;
    return count;
}

/* Starts connecting to one of the URL's hosts. */
static PGconn *start_host(const struct conn *conn, const PQconninfoOption *options, size_t i)
{
    enum { KEYS_MAX = 64, PART_SIZE = 256 };
    const char *keys[KEYS_MAX], *values[KEYS_MAX];
    char parts[3][PART_SIZE];
    size_t count = 0, split = 0;

    for (; options->keyword != NULL && count < KEYS_MAX - 4; options++) {
        const char *key = options->keyword;
        if (options->val == NULL || strcmp(key, "target_session_attrs") == 0)
            continue;
        bool list = strcmp(key, "host") == 0 || strcmp(key, "hostaddr") == 0 ||
                    strcmp(key, "port") == 0;
        keys[count] = key;
        values[count] = list ? part_of(options->val, i, parts[split], PART_SIZE) : options->val;
        split += list ? 1 : 0;
        count++;
    }
    keys[count] = "fallback_application_name";
    values[count++] = conn->name;
    keys[count] = "client_encoding";
    values[count++] = "UTF8";
    /* A standby would show readers the past, and refuse the writer.  ("read-write" would
     * also refuse a primary whose default_transaction_read_only set_up puts right.) */
    keys[count] = "target_session_attrs";
    values[count++] = "primary";
    keys[count] = NULL;
    return PQconnectStartParams(keys, values, 0);
}

/* libpq watches no clock when it connects without blocking, and a host that hangs would
 * take all the time of those after it: so each gets its share. */
static struct err connect_any(struct conn *conn, const PQconninfoOption *options,
                              int64_t deadline_ms)
{
    size_t hosts = count_hosts(options);
    struct err e = ERR_NONE;

    for (size_t i = 0; i < hosts; i++) {
        int64_t share = clock_remaining_ms(deadline_ms) / (int64_t)(hosts - i);
        conn->pg = start_host(conn, options, i);
        if (conn->pg == NULL)
            return err_memory();
        if (connect_within(conn, clock_monotonic_ms() + share))
            return ERR_NONE;
        e = connection_err(conn->pg);
        conn_close(conn);
    }
    return e;
}

struct err conn_open(struct conn *conn, int64_t deadline_ms)
{
    char *problem = NULL; /* may quote the URL: not for anybody's eyes */
    PQconninfoOption *options = PQconninfoParse(conn->url, &problem);

    conn_close(conn);
    if (options == NULL) {
        PQfreemem(problem);
        return err_make(ERR_UNAVAILABLE, "The database URL is not one libpq understands.");
    }
    struct err e = connect_any(conn, options, deadline_ms);
    PQconninfoFree(options);
    if (!failed(e)) {
        PQsetNoticeReceiver(conn->pg, on_notice, conn);
        PQsetnonblocking(conn->pg, 1);
        e = set_up(conn, deadline_ms);
    }
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

int conn_push(struct conn *conn, int64_t deadline_ms)
{
    for (;;) {
        int left = PQflush(conn->pg);
        if (left <= 0)
            return left == 0 ? 1 : -1;
        int ready = wait_socket(conn, POLLIN | POLLOUT, deadline_ms);
        if (ready <= 0)
            return ready;
        if (!PQconsumeInput(conn->pg))
            return -1;
    }
}

bool conn_flush(struct conn *conn, int64_t deadline_ms)
{
    return conn_push(conn, deadline_ms) == 1;
}

bool conn_send(struct conn *conn, const struct db_query *query)
{
    const char *values[DB_HEAD_MAX];
    int lengths[DB_HEAD_MAX], formats[DB_HEAD_MAX], count = (int)strlen(query->types);
    uint64_t numbers[DB_HEAD_MAX];
    char truths[DB_HEAD_MAX];

    for (int i = 0; i < count; i++) {
        const struct db_value *value = &query->values[i];
        numbers[i] = htobe64((uint64_t)value->number);
        truths[i] = value->number != 0;
        formats[i] = 1;
        switch (query->types[i]) {
        case 'i': values[i] = (char *)&numbers[i], lengths[i] = 8; break;
        case 'b': values[i] = &truths[i], lengths[i] = 1; break;
        case 'y': values[i] = value->text, lengths[i] = (int)value->size; break;
        default:
            values[i] = value->text;
            lengths[i] = value->text == NULL ? 0 : (int)strlen(value->text);
        }
    }
    return PQsendQueryPrepared(conn->pg, query->name, count, values, lengths, formats, 1) &&
           conn_flush(conn, query->deadline_ms);
}

/* A server that goes says so and hangs up; both can be read. */
bool conn_alive(struct conn *conn)
{
    for (;;) {
        int ready = wait_socket(conn, POLLIN, 0);
        if (ready <= 0)
            return ready == 0;
        if (!PQconsumeInput(conn->pg) || PQisBusy(conn->pg))
            return false;
    }
}

int conn_wait(struct conn *conn, int64_t deadline_ms)
{
    while (PQisBusy(conn->pg)) {
        int ready = wait_socket(conn, POLLIN, deadline_ms);
        if (ready <= 0)
            return ready;
        if (!PQconsumeInput(conn->pg))
            return -1;
    }
    return 1;
}
