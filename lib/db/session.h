/*
 * session.h - a dedicated connection, for work under an advisory lock.
 *
 * The writer and the readers share their connections and replace them at any time.  The
 * holder of an advisory lock needs its own connection: everything it does under the lock
 * goes over the connection that holds it, so when the connection is lost, the lock and
 * the work are lost together.
 *
 * Needs a dedicated thread: every function may wait, within the deadline.  Queries that
 * write have failpoints of the seam `commit` around them.
 */
#pragma once

#include <stdbool.h>

#include "db/db.h"

struct db_session;

/* Not connected yet.  `url` and `name` (application_name) are borrowed.  NULL: no memory.
 */
struct db_session *db_session_new(const char *url, const char *name)
    __attribute__((warn_unused_result));
void db_session_free(struct db_session *connection); /* NULL is allowed */

/* Connects unless connected; `settings` are SQL commands to run first, or NULL. */
struct err db_session_connect(struct db_session *connection, const char *settings,
                              int64_t deadline_ms) __attribute__((warn_unused_result));

bool db_session_connected(const struct db_session *connection);

/* Closes the connection, which releases its locks. */
void db_session_close(struct db_session *connection);

/*
 * Runs one query (its done, arg and next are not used) in a transaction of its own and
 * passes its rows to on_rows(arg, rows), which may be NULL.  A failure of unknown effect,
 * or one that leaves the connection in an unknown state, closes it.
 */
struct err db_session_run(struct db_session *connection, const struct db_query *query,
                          bool writes,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg) __attribute__((warn_unused_result));
