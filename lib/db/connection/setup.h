/*
 * setup.h - opens a connection whose durability and isolation do not depend on defaults.
 *
 *      connect (connect.h) --> check the server --> check for a pooler --> set the session up
 *
 * Settings: PostgreSQL takes defaults from its files, the database, the role, the URL and
 * PGOPTIONS.  None of them decides here: each session is set up by SQL, which overrides
 * them all, at every connect.  Settings that no promise depends on are left alone.
 *
 * The server: what no session can set is checked.  A server that may forget or corrupt
 * what it acknowledged (fsync off, and the like) is rejected by the migrator and logged
 * as a warning by services, which must go on serving what is there.
 *
 * Poolers: in session mode a pooler is as good as the server.  In transaction or
 * statement mode each transaction may run on another server process: settings and
 * advisory locks are lost.  So that mode is rejected by all, before anything is set or
 * locked. https://www.pgbouncer.org/features.html
 */
#pragma once

#include <stddef.h>

#include "db/connection/connection.h"

/*
 * Connects within the deadline, checks the server and sets the session up; on failure
 * stays closed and returns why, without the URL.  UNAVAILABLE; for a migrator
 * FAILED_PRECONDITION with what is unsafe about the server, where it is set, and what to
 * do; for the writer that is one line in the log, event database_unsafe.
 */
struct err conn_open(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Checks, behind a pooler, that the session still has the server process it was set up
 * on. */
struct err conn_check_backend(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

struct setting {
    unsigned of; /* enum settings_of, or-ed */
    const char *name;
    const char *value;   /* as current_setting gives it */
    const char *or_else; /* a stronger default that is kept; or NULL */
    bool tcp;            /* on a Unix socket there is none, and current_setting gives 0 */
};

enum { SETTINGS_SQL_SIZE = 2048 };

/* All of them, to `count`. */
const struct setting *settings_all(size_t *count);

/* The commands that set up a session, in one text. */
void settings_sql(enum settings_of of, char out[SETTINGS_SQL_SIZE]);
