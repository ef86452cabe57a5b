/* sqlstate.h - what a PostgreSQL error means to us: retry, reconnect, or refuse. */
#pragma once

#include <libpq-fe.h>

#include "base/err.h"

enum sqlstate_meaning {
    SQLSTATE_DATA,   /* this statement can never succeed with these values */
    SQLSTATE_RACE,   /* another transaction got in the way: run it again */
    SQLSTATE_LOCKED, /* another transaction keeps a row or table locked: lock_timeout */
    SQLSTATE_UNIQUE, /* unique_violation: perhaps a concurrent repeat of the same id; run it again */
    SQLSTATE_CONNECTION, /* this server stops, is gone or does not serve us: connect again */
    SQLSTATE_READ_ONLY, /* this server is read-only; nothing was done: connect again */
    SQLSTATE_UNABLE,    /* no disk, memory, connection or right: no write succeeds now */
};

/* `state` is the five characters, or NULL when there were none (the connection died). */
enum sqlstate_meaning sqlstate_meaning(const char *state);

/*
 * The error to answer with.  FAILED_PRECONDITION for a violated constraint,
 * INVALID_ARGUMENT for values out of range, UNAVAILABLE for all that is not the
 * operation's own fault, else INTERNAL.  The message never holds SQL or values; those go
 * to the log by the caller's choice.  retry_after_ms is set when somebody must act first:
 * the server is unable to write, or a lock is held.
 */
struct err sqlstate_err(const char *state) __attribute__((warn_unused_result));

/* What is wrong with the database, in words that clients may see: "the database's disk is
 * full".  Never NULL; static. */
const char *sqlstate_words(const char *state);

enum { WORDS_SIZE = 600 };

/* "MESSAGE DETAIL: ... HINT: ...", cut at WORDS_SIZE.  Of a result that is no error, or NULL,
 * what libpq says of its connection. */
void words_of_result(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE]);

/* The same for a log: without the DETAIL that quotes a row's values (SQLSTATE classes 22
 * and 23). */
void words_for_log(const PGconn *pg, const PGresult *result, char out[WORDS_SIZE]);

/* UNAVAILABLE with the words of a connection that could not be made.  They name hosts, roles
 * and databases, but never a password. */
struct err words_of_connection(const PGconn *pg) __attribute__((warn_unused_result));
