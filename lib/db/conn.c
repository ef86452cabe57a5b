/* conn.c - see conn.h. */
#include "db/conn.h"

#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "db/connect.h"
#include "db/pooler.h"
#include "db/server.h"
#include "db/words.h"

enum {
    TICK_MS = 50, /* how often those who wait behind a connection are looked after */
    LINK_LOOK_MS = 250, /* how often the link itself is, while an answer is waited for */
    PROBES_LOST = 2,    /* so many keepalives without an answer: the link is cut, */
    CUT_MS = 2500,      /* and when for so long nothing is acknowledged */
};

Oid conn_oid(char type, bool array)
{
    switch (type) {
    case 't':
        return array ? 1009 : 25;
    case 'i':
        return array ? 1016 : 20;
    case 'b':
        return array ? 1000 : 16;
    case 'y':
        return array ? 1001 : 17;
    default:
        return 0;
    }
}

static void on_notice(void *arg, const PGresult *notice)
{
    struct conn *conn = arg;
    const char *severity = PQresultErrorField(notice, PG_DIAG_SEVERITY_NONLOCALIZED);
    char words[WORDS_SIZE];

    if (severity == NULL || strcmp(severity, "WARNING") != 0)
        return;
    conn->warned = true;
    words_for_log(conn->pg, notice, words);
    log_warn("database_warning", "database=%s sqlstate=%s message=%s", conn->name,
             PQresultErrorField(notice, PG_DIAG_SQLSTATE), words);
}

/* Looks after those who wait elsewhere. */
int64_t conn_look_after(struct conn *conn, int64_t deadline_ms)
{
    int64_t now = clock_monotonic_ms(), next = now + LINK_LOOK_MS;

    if (conn->meanwhile != NULL && now >= conn->look_at_ms) {
        conn->look_at_ms = now + TICK_MS;
        conn->meanwhile(conn->arg);
    }
    if (conn->meanwhile != NULL && conn->look_at_ms < next)
        next = conn->look_at_ms;
    if (now >= deadline_ms)
        return 0;
    return next < deadline_ms ? next : deadline_ms;
}

/*
 * Whether the other machine's kernel is silent: it answers no keepalive, two of which were sent
 * (connect.c), or does not acknowledge what was sent, during which there are no keepalives.
 * (TCP_USER_TIMEOUT would take a server that does not read, as it waits for a lock, for one
 * that is gone.)
 */
static bool is_cut(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        info.tcpi_state != TCP_ESTABLISHED)
        return false; /* a Unix socket has no link; what ends is seen by reading */
    return info.tcpi_probes >= PROBES_LOST ||
           (info.tcpi_unacked > 0 && info.tcpi_retransmits > 0 &&
            info.tcpi_last_ack_recv > CUT_MS);
}

int conn_poll(struct conn *conn, short events, int64_t deadline_ms)
{
    struct pollfd poll_for = {.fd = PQsocket(conn->pg), .events = events};

    if (poll_for.fd < 0)
        return -1;
    for (;;) {
        int64_t until = conn_look_after(conn, deadline_ms);
        int n = poll(&poll_for, 1, (int)clock_remaining_ms(until));
        if (n > 0 || (n < 0 && errno != EINTR))
            return n;
        if (n == 0 && is_cut(poll_for.fd))
            return -1;
        if (n == 0 && until == 0)
            return 0;
    }
}

struct err conn_ask(struct conn *conn, const char *sql, int64_t deadline_ms,
                    PGresult **out)
{
    struct err e = ERR_NONE;
    char words[WORDS_SIZE];

    if (!PQsendQuery(conn->pg, sql) || !conn_flush(conn, deadline_ms))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    for (;;) {
        int ready = conn_wait(conn, deadline_ms);
        if (ready != 1)
            return err_make(ERR_UNAVAILABLE,
                            ready == 0 ? "The database did not finish set-up in time."
                                       : "The database connection was lost in set-up.");
        PGresult *result = PQgetResult(conn->pg);
        if (result == NULL)
            return e;
        if (PQresultStatus(result) == PGRES_FATAL_ERROR) {
            words_of_result(conn->pg, result, words);
            e = err_make(ERR_UNAVAILABLE, "The database refused set-up: %s", words);
        }
        PQclear(*out);
        *out = result;
    }
}

/* Gives the session the settings we rest on, whatever anybody else has set. */
static struct err set_up(struct conn *conn, int64_t deadline_ms)
{
    char sql[SETTINGS_SQL_SIZE];
    PGresult *result = NULL;

    settings_sql(conn->of, sql);
    struct err e = conn_ask(conn, sql, deadline_ms, &result);
    PQclear(result);
    return e;
}

struct err conn_open(struct conn *conn, int64_t deadline_ms)
{
    conn_close(conn);
    struct err e = connect_any(conn, deadline_ms);
    if (failed(e))
        return e;
    if (conn->of != SETTINGS_MIGRATOR) /* whose notices are shown as they come */
        PQsetNoticeReceiver(conn->pg, on_notice, conn);
    PQsetnonblocking(conn->pg, 1);
    e = server_check(conn, deadline_ms);
    if (!failed(e))
        e = set_up(conn, deadline_ms);
    if (failed(e))
        conn_close(conn);
    return e;
}

void conn_close(struct conn *conn)
{
    PQfinish(conn->pg);
    conn->pg = NULL;
    conn->warned = false;
    conn->backend = 0;
}

void conn_end(struct conn *conn)
{
    conn_close(conn);
    for (size_t i = 0; i < CONN_HOSTS_MAX; i++) {
        lookup_drop(conn->lookups[i]);
        conn->lookups[i] = NULL;
    }
}

struct err conn_check_backend(struct conn *conn, int64_t deadline_ms)
{
    return conn->backend == 0 ? ERR_NONE : pooler_check(conn, conn->backend, deadline_ms);
}

struct err conn_prepare(struct conn *conn, const char *name, const char *sql,
                        const char *types, bool arrays, int64_t deadline_ms)
{
    Oid oids[DB_HEAD_MAX + DB_LINES_MAX + 1];
    int count = (int)strlen(types);
    struct err e = ERR_NONE;
    char words[WORDS_SIZE];

    for (int i = 0; i < count; i++)
        oids[i] = conn_oid(types[i], arrays);
    if (!PQsendPrepare(conn->pg, name, sql, count, oids) ||
        !conn_flush(conn, deadline_ms))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    for (;;) {
        if (conn_wait(conn, deadline_ms) != 1)
            return err_make(ERR_UNAVAILABLE,
                            "The database did not finish set-up in time.");
        PGresult *result = PQgetResult(conn->pg);
        if (result == NULL)
            return e;
        if (PQresultStatus(result) != PGRES_COMMAND_OK) {
            words_of_result(conn->pg, result, words);
            e = err_make(ERR_UNAVAILABLE, "The database cannot prepare %s: %s", name,
                         words);
        }
        PQclear(result);
    }
}

int conn_push(struct conn *conn, int64_t deadline_ms)
{
    for (;;) {
        int left = PQflush(conn->pg);
        if (left <= 0)
            return left == 0 ? 1 : -1;
        int ready = conn_poll(conn, POLLIN | POLLOUT, deadline_ms);
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
        case 'i':
            values[i] = (char *)&numbers[i], lengths[i] = 8;
            break;
        case 'b':
            values[i] = &truths[i], lengths[i] = 1;
            break;
        case 'y':
            values[i] = value->text, lengths[i] = (int)value->size;
            break;
        default:
            values[i] = value->text;
            lengths[i] = value->text == NULL ? 0 : (int)strlen(value->text);
        }
    }
    return PQsendQueryPrepared(conn->pg, query->name, count, values, lengths, formats,
                               1) &&
           conn_flush(conn, query->deadline_ms);
}

/* A server that goes says so and hangs up; both can be read. */
bool conn_alive(struct conn *conn)
{
    for (;;) {
        int ready = conn_poll(conn, POLLIN, 0);
        if (ready <= 0)
            return ready == 0;
        if (!PQconsumeInput(conn->pg) || PQisBusy(conn->pg))
            return false;
    }
}

int conn_wait(struct conn *conn, int64_t deadline_ms)
{
    while (PQisBusy(conn->pg)) {
        int ready = conn_poll(conn, POLLIN, deadline_ms);
        if (ready <= 0)
            return ready;
        if (!PQconsumeInput(conn->pg))
            return -1;
    }
    return 1;
}
