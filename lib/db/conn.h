/*
 * conn.h - one libpq connection that never waits past a deadline.
 *
 * For lib/db's own threads, each of which has one.  Every wait is a poll with the time
 * left; a connection on which time ran out is closed, for what it was doing is unknown.
 */
#pragma once

#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/db.h"
#include "db/resolve.h"
#include "db/settings.h"

enum { CONN_HOSTS_MAX = 16 }; /* of one URL */

struct conn {
    const char *url;
    const char *name; /* application_name */
    enum settings_of of;
    PGconn *pg;  /* NULL while not connected */
    bool warned; /* a WARNING came since it was last cleared */
    /* Called every so often while the server is waited for, also to connect; or NULL. */
    void (*meanwhile)(void *arg);
    void *arg;
    int64_t look_at_ms; /* when next */
    int backend; /* behind a pooler, the pid of the server process that is ours; else 0 */
    struct lookup *lookups[CONN_HOSTS_MAX]; /* of names, that outlived an attempt */
};

/*
 * Connects within the deadline, looks at the server (server.h) and sets the session up; on
 * failure stays closed and tells why, without the URL.  UNAVAILABLE; for a migrator
 * FAILED_PRECONDITION when the server is not one to keep orders on.
 */
struct err conn_open(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

void conn_close(struct conn *conn);

/* Closes it and lets go of what it keeps between connections.  It may be opened again. */
void conn_end(struct conn *conn);

/* Prepares a statement; for use before pipeline mode. `types` are db.h's letters. */
struct err conn_prepare(struct conn *conn, const char *name, const char *sql,
                        const char *types, bool arrays, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Runs SQL without parameters, before pipeline mode.  The last result is in *out, which must
 * be NULL before and is the caller's, also when failed (UNAVAILABLE). */
struct err conn_ask(struct conn *conn, const char *sql, int64_t deadline_ms,
                    PGresult **out) __attribute__((warn_unused_result));

/* Whether the session still has the server process it had: asks, if there is a pooler. */
struct err conn_check_backend(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Sends what is buffered, reading as it goes so that neither side stalls.  False: closed
 * by the other side, or the deadline passed; the connection is then of no more use. */
bool conn_flush(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* The same, telling apart: 1 all is sent, 0 the deadline passed (call again), -1 lost. */
int conn_push(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Sends a query that is prepared under its name, within its deadline; false as conn_flush. */
bool conn_send(struct conn *conn, const struct db_query *query)
    __attribute__((warn_unused_result));

/* Whether an idle connection still stands, as far as can be told without asking. */
bool conn_alive(struct conn *conn) __attribute__((warn_unused_result));

/* Waits until PQgetResult will not block.  1 ready, 0 the deadline passed, -1 lost. */
int conn_wait(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Polls the socket for POLLIN or POLLOUT.  1: ready, 0: the deadline passed, -1: broken, which
 * is also a link on which nothing is acknowledged any more. */
int conn_poll(struct conn *conn, short events, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Calls `meanwhile` if it is time.  Until when to wait before the next call of this: at the
 * latest the deadline; 0 when that has passed. */
int64_t conn_look_after(struct conn *conn, int64_t deadline_ms);

/* The OID of db.h's letter, of the type itself or of its array. */
Oid conn_oid(char type, bool array);
