/*
 * conn.h - one libpq connection that never waits past a deadline.
 *
 * For lib/db's own threads, each of which has one.  Every wait is a poll with the time
 * left; a connection on which time ran out is closed, for what it was doing is unknown.
 */
#pragma once

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/db.h"

struct conn {
    const char *url;
    const char *name; /* application_name */
    bool read_only;
    PGconn *pg;       /* NULL while not connected */
    bool warned;      /* a WARNING came since it was last cleared */
};

/* Connects within the deadline; on failure stays closed and tells why, without the URL. */
struct err conn_open(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

void conn_close(struct conn *conn);

/* Prepares a statement; for use before pipeline mode. `types` are db.h's letters. */
struct err conn_prepare(struct conn *conn, const char *name, const char *sql, const char *types,
                        bool arrays, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Sends what is buffered, reading as it goes so that neither side stalls.  False: closed
 * by the other side, or the deadline passed; the connection is then of no more use. */
bool conn_flush(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* The same, telling apart: 1 all is sent, 0 the deadline passed (call again), -1 lost. */
int conn_push(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Sends a query that is prepared under its name, within its deadline; false as conn_flush. */
bool conn_send(struct conn *conn, const struct db_query *query)
    __attribute__((warn_unused_result));

/* Whether an idle connection still stands, as far as can be told without asking. */
bool conn_alive(struct conn *conn) __attribute__((warn_unused_result));

/* Waits until PQgetResult will not block.  1 ready, 0 the deadline passed, -1 lost. */
int conn_wait(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* The OID of db.h's letter, of the type itself or of its array. */
Oid conn_oid(char type, bool array);
