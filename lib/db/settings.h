/*
 * settings.h - the settings of a database session that a promise rests on.
 *
 * PostgreSQL takes defaults from its files, the database, the role, the URL and PGOPTIONS.
 * None of them decides here: each session is set up by SQL, which overrides them all, at
 * every connect.  Settings no promise rests on are left as they are.
 *
 * What no session can set (fsync, the encoding, ...) is looked at instead: server.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* Whose session; values to be or-ed. */
enum settings_of {
    SETTINGS_WRITER = 1,   /* the writer, and dedicated connections */
    SETTINGS_READER = 2,   /* read-only queries */
    SETTINGS_MIGRATOR = 4, /* checkoutctl migrate */
    SETTINGS_SERVICE = SETTINGS_WRITER | SETTINGS_READER,
    SETTINGS_ALL = SETTINGS_SERVICE | SETTINGS_MIGRATOR,
};

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
