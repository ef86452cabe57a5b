/* connection.c - see connection.h. */
#include "db/connection/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/clock.h"
#include "db/connection/sqlstate.h"

enum {
    TICK_MS = 50,       /* how often `meanwhile` is called */
    LINK_LOOK_MS = 250, /* how often the link is checked while waiting for an answer */
    PROBES_LOST = 2,    /* the link is cut after so many unanswered keepalives, */
    CUT_MS = 2500,      /* or when nothing was acknowledged for so long */
};

int64_t conn_tick(struct conn *conn, int64_t deadline_ms)
{
    int64_t now = clock_monotonic_ms(), next = now + LINK_LOOK_MS;

    if (conn->meanwhile != NULL && now >= conn->tick_ms) {
        conn->tick_ms = now + TICK_MS;
        conn->meanwhile(conn->arg);
    }
    if (conn->meanwhile != NULL && conn->tick_ms < next)
        next = conn->tick_ms;
    if (now >= deadline_ms)
        return 0;
    return next < deadline_ms ? next : deadline_ms;
}

/*
 * Whether the other machine's kernel is silent: it left two keepalives (connect.c)
 * unanswered, or does not acknowledge data; until it does, no keepalives are sent.
 * (TCP_USER_TIMEOUT would also cut a server that does not read because it waits for a
 * lock.)
 */
static bool is_cut(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        info.tcpi_state != TCP_ESTABLISHED)
        return false; /* a Unix socket: its end is seen by reading */
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
        int64_t until = conn_tick(conn, deadline_ms);
        int n = poll(&poll_for, 1, (int)clock_remaining_ms(until));
        if (n > 0 || (n < 0 && errno != EINTR))
            return n;
        if (n == 0 && is_cut(poll_for.fd))
            return -1;
        if (n == 0 && until == 0)
            return 0;
    }
}

struct err conn_collect(struct conn *conn, const char *refusal, int64_t deadline_ms,
                        PGresult **out)
{
    struct err e = ERR_NONE;
    char words[WORDS_SIZE];

    if (!conn_flush(conn, deadline_ms))
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
            e = err_make(ERR_UNAVAILABLE, "The database %s: %s", refusal, words);
        }
        PQclear(*out);
        *out = result;
    }
}

struct err conn_ask(struct conn *conn, const char *sql, int64_t deadline_ms,
                    PGresult **out)
{
    if (!PQsendQuery(conn->pg, sql))
        return err_make(ERR_UNAVAILABLE, "The database connection was lost in set-up.");
    return conn_collect(conn, "refused set-up", deadline_ms, out);
}

void conn_close(struct conn *conn)
{
    PQfinish(conn->pg);
    conn->pg = NULL;
    conn->warned = false;
    conn->backend = 0;
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

/* A server that stops sends an error and disconnects; reading notices both. */
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
