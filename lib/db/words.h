/*
 * words.h - what PostgreSQL and libpq say of a failure, on one line, for operators.
 *
 * With DETAIL and HINT, which often hold the cure.  None of it is for a client of HTTP.
 */
#pragma once

#include <libpq-fe.h>
#include <stddef.h>

#include "base/err.h"

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
