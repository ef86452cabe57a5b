/* setup.h */
#pragma once

#include <stddef.h>

#include "db/connection/connection.h"

/*
 * Connects within the deadline, looks at the server (server.h) and sets the session up; on
 * failure stays closed and tells why, without the URL.  UNAVAILABLE; for a migrator
 * FAILED_PRECONDITION when the server is not one to keep orders on.
 */
struct err conn_open(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Whether the session still has the server process it had: asks, if there is a pooler. */
struct err conn_check_backend(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

struct setting {
    unsigned of; /* whose sessions have it */
    const char *name;
    const char *value;   /* as current_setting gives it */
    const char *or_else; /* a default that promises more and is kept; or NULL */
    bool tcp;            /* on a Unix socket there is none, and current_setting gives 0 */
};

enum { SETTINGS_SQL_SIZE = 2048 };

/* All of them, to `count`. */
const struct setting *settings_all(size_t *count);

/* The commands that set up a session, in one text. */
void settings_sql(enum settings_of of, char out[SETTINGS_SQL_SIZE]);
