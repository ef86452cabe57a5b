/*
 * url.h - writes a database's URL out in full, for its owner or for another role.
 *
 * The URL is complete: its user needs none of libpq's environment variables.  A role's
 * URL has nothing that belongs to the owner.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum {
    URL_SIZE_MAX = 3000
}; /* bytes of a URL that ./up and its configuration can hold */

/*
 * Writes `url`, a URL or a keyword string as libpq takes them, as one URL into the arena.
 * Missing parts come from libpq's environment (PGHOST, PGSSLMODE, ...); the database's
 * name defaults to the user's, as in libpq.  With a `role` the URL is for that role, and
 * without a password: the owner's user, password, passfile and client certificate are
 * left out.  NULL: for the owner, with all of them.  INVALID_ARGUMENT: it cannot be read,
 * names a service of a pg_service.conf, or is too long; the message has no part of the
 * URL, for any part may be the password.
 */
struct err url_write(const char *url, const char *role, struct arena *arena,
                     const char **out) __attribute__((warn_unused_result));
