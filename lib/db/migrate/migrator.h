/* migrator.h - a blocking connection for the short-lived work of an operator. */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

/*
 * Connects within 15 s.  UNAVAILABLE with the server's words, never with the URL, also for a
 * pooler in transaction mode; FAILED_PRECONDITION when the server is not one to keep orders on
 * (server.h).  Nothing was done then, and no lock is held.
 */
struct err migrator_open(const char *url, PGconn **out)
    __attribute__((warn_unused_result));

/* Sets what the work rests on; migrator_open has done so, RESET ALL undoes it. */
struct err migrator_settings(PGconn *conn) __attribute__((warn_unused_result));

/* Runs SQL without parameters, one statement or many.  UNKNOWN with the server's words.
 */
struct err migrator_run(PGconn *conn, const char *sql)
    __attribute__((warn_unused_result));

/* COMMIT, believed only when the server says COMMIT; effect unknown when it was not said.
 */
struct err migrator_commit(PGconn *conn) __attribute__((warn_unused_result));

/* The server's words for a result (words.h), or else the connection's. */
struct err migrator_error(const PGconn *conn, const PGresult *result)
    __attribute__((warn_unused_result));
