/*
 * connection.h - one libpq connection that never waits past a deadline.
 *
 * Each thread of lib/db has its own.  Every wait is a poll with the time that is left.
 * When a deadline passes, close the connection: what it was doing is unknown.
 */
#pragma once

#include <libpq-fe.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum { CONN_HOSTS_MAX = 16 }; /* of one URL */

/* Whose session; values to be or-ed. */
enum settings_of {
    SETTINGS_WRITER = 1,   /* the writer, and sessions */
    SETTINGS_READER = 2,   /* read-only queries */
    SETTINGS_MIGRATOR = 4, /* checkoutctl migrate */
    SETTINGS_SERVICE = SETTINGS_WRITER | SETTINGS_READER,
    SETTINGS_ALL = SETTINGS_SERVICE | SETTINGS_MIGRATOR,
};

struct lookup; /* connect.c */

struct conn {
    const char *url;
    const char *name; /* application_name */
    enum settings_of of;
    PGconn *pg;  /* NULL while not connected */
    bool warned; /* a WARNING arrived since this was last cleared */
    /* Called every so often during waits for the server, also to connect; or NULL. */
    void (*meanwhile)(void *arg);
    void *arg;
    int64_t tick_ms; /* when next */
    int backend;     /* behind a pooler, the pid of our server process; else 0 */
    struct lookup *lookups[CONN_HOSTS_MAX]; /* of names; they may outlive an attempt */
};

void conn_close(struct conn *conn);

/*
 * For use before pipeline mode; UNAVAILABLE on failure.  *out must be NULL before; it
 * gets the last result, also on failure, and the caller clears it.  conn_ask runs SQL
 * without parameters.  conn_collect reads the results of what was sent; its error has
 * `refusal` after "The database", such as "cannot prepare x".
 */
struct err conn_ask(struct conn *conn, const char *sql, int64_t deadline_ms,
                    PGresult **out) __attribute__((warn_unused_result));
struct err conn_collect(struct conn *conn, const char *refusal, int64_t deadline_ms,
                        PGresult **out) __attribute__((warn_unused_result));

/* Sends what is buffered, reading as it goes so that neither side stalls.  False: closed
 * by the other side, or the deadline passed; the connection is then unusable. */
bool conn_flush(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* The same: 1 all is sent, 0 the deadline passed (call again), -1 lost. */
int conn_push(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Whether an idle connection is still open, as far as is known without a query. */
bool conn_alive(struct conn *conn) __attribute__((warn_unused_result));

/* Waits until PQgetResult will not block.  1 ready, 0 the deadline passed, -1 lost. */
int conn_wait(struct conn *conn, int64_t deadline_ms) __attribute__((warn_unused_result));

/* Polls the socket for POLLIN or POLLOUT.  1: ready, 0: the deadline passed, -1: broken, also
 * when the other machine's kernel acknowledges nothing any more. */
int conn_poll(struct conn *conn, short events, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Calls `meanwhile` if it is due.  Returns until when to wait before calling this again, at
 * the latest the deadline; 0 when that has passed. */
int64_t conn_tick(struct conn *conn, int64_t deadline_ms);
