/*
 * session.h - one connection of a chore's own, for what must end with it: a lock.
 *
 * The writer and the readers share their connections and replace them as they like.  Who
 * holds an advisory lock needs one that is his: then everything he does under the lock
 * goes over the connection that holds it, and what is lost with the one is lost with the
 * other.
 *
 * For a thread of its own: every function may wait, within the deadline.  Failpoints of
 * the seam `commit` stand around each query that says it writes.
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

/* Connects, unless it is; `settings` are SQL commands that are run first, or NULL. */
struct err db_session_connect(struct db_session *connection, const char *settings,
                              int64_t deadline_ms) __attribute__((warn_unused_result));

bool db_session_connected(const struct db_session *connection);

/* Ends it, and every lock with it. */
void db_session_close(struct db_session *connection);

/*
 * Runs one query (its done, arg and next are not used) in a transaction of its own and
 * hands its rows to on_rows(arg, rows), which may be NULL.  A failure of unknown effect,
 * and any other that leaves the connection in doubt, closes it.
 */
struct err db_session_run(struct db_session *connection, const struct db_query *query,
                          bool writes,
                          void (*on_rows)(void *arg, const struct db_rows *rows),
                          void *arg) __attribute__((warn_unused_result));
