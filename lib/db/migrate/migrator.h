/* migrator.h - the blocking connection of checkoutctl migrate.  Private to
 * lib/db/migrate. */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

/*
 * Connects within 15 s.  UNAVAILABLE with the server's words, never with the URL, also
 * for a pooler in transaction mode; FAILED_PRECONDITION when the server is unsafe
 * (setup.h).  Then nothing was done, and no lock is held.
 */
struct err migrator_open(const char *url, PGconn **out)
    __attribute__((warn_unused_result));

/* Sets the session up, as migrator_open has done; for use after RESET ALL. */
struct err migrator_settings(PGconn *conn) __attribute__((warn_unused_result));

/* Runs SQL without parameters, one statement or many.  UNKNOWN with the server's words.
 */
struct err migrator_run(PGconn *conn, const char *sql)
    __attribute__((warn_unused_result));

/* OK only when the server has answered COMMIT; effect unknown when it has not
 * answered. */
struct err migrator_commit(PGconn *conn) __attribute__((warn_unused_result));

/* UNKNOWN with the server's message for a result, or else the connection's. */
struct err migrator_error(const PGconn *conn, const PGresult *result)
    __attribute__((warn_unused_result));
