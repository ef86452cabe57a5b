/*
 * migrate.h - applies the migrations of a folder to a database.
 *
 * The files are NNNN_what.sql, numbered 0001, 0002, ... without gaps, forward only.  Each
 * is run in one transaction together with its row in checkout_meta.migrations (number,
 * name, BLAKE2b-256 of its bytes, time).  So a migration has happened as a whole or not
 * at all, and running again does only what is missing.
 *
 * Before anything is run, the record is compared with the files.  Rejected, naming the
 * file: one that was edited or renamed after it was applied, a gap, a number twice, a
 * file name of another form, and a database that is newer than the files.
 *
 * One migrator at a time: an advisory lock of the database, waited for a bounded time.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct migrate_config {
    const char *url; /* libpq URL of the database's owner; never logged */
    const char *folder;
    /* How long to wait for another migrator, and each statement for a lock; 1 to 600000.
     */
    int64_t lock_wait_ms;
    /* Called after each migration's COMMIT with its file's name. */
    void (*applied)(void *arg, const char *file);
    void *arg;
};

/*
 * May be repeated.  INVALID_ARGUMENT: the folder's files are not in order.
 * FAILED_PRECONDITION: the database's record and the files contradict each other.
 * ABORTED: another migrator held the lock too long.  UNAVAILABLE: no connection.
 * UNKNOWN: a migration failed (its file, line and the server's message) and left nothing,
 * or, with effect unknown, the connection was lost in COMMIT: run again.
 * A statement may take 15 minutes; a migration that needs more says SET LOCAL
 * statement_timeout.
 */
struct err migrate(const struct migrate_config *config)
    __attribute__((warn_unused_result));

/*
 * Gives login roles their passwords: `file` has lines "role = password" ('#' starts a
 * comment) and must be readable by its owner alone.  Only SCRAM verifiers are sent, never
 * a password.  All roles or none; may be repeated.  INVALID_ARGUMENT names file and line.
 *
 * A line "@owner = ID PLACE" (at most 399 bytes, before the roles) is stored in the
 * comment on each role that follows; FAILED_PRECONDITION when the comment names an owner
 * that differs in both ID and PLACE.
 */
struct err migrate_roles(const char *url, const char *file)
    __attribute__((warn_unused_result));
