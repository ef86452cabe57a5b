/* pooler.c - see pooler.h. */
#include "db/pooler.h"

#include <stdlib.h>

#include "base/clock.h"
#include "db/connect.h"

enum { ROUNDS = 4 }; /* a busy pooler may give a session the same process by chance */

static struct err refuse(int before, int now)
{
    return err_make(
        ERR_UNAVAILABLE,
        "A pooler in transaction mode stands before the database (server process "
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

struct err pooler_check(struct conn *conn, int pid, int64_t deadline_ms)
{
    int now = pid;
    struct err e = ask_pid(conn, deadline_ms, &now);

    return !failed(e) && now != pid ? refuse(pid, now) : e;
}

/* The second connection's process, or 0 when it cannot be had in time. */
static int pid_of_second(struct conn *second, int64_t deadline_ms)
{
    int pid = 0;

    if (second->pg != NULL && failed(ask_pid(second, deadline_ms, &pid)))
        conn_close(second);
    return pid;
}

struct err pooler_detect(struct conn *conn, int pid, int64_t deadline_ms)
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
