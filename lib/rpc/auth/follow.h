/*
 * follow.h - a list of callers or services that follows its file while the process runs.
 *
 * The file is looked at when it changes (base/program/file.h).  When it has then stood still from
 * one look to the next (nobody is writing it), it is read.  A list that cannot be read is
 * logged, and the last good one stays in force until the file changes again: an editor's
 * mistake shuts nobody out.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/keys.h"

struct follow;

enum { FOLLOW_SETTLE_MS = 500 };

struct follow_config {
    const char *path;
    bool callers;          /* authorized_callers, or known_services */
    const struct key *key; /* ours; it takes a share */
    int64_t settle_ms;     /* it is to stand still for so long */
    /* Is given each new list, on the follower's thread, and takes a share of what it
     * keeps (peers_share).  Failed: it is not used, and that is logged. */
    struct err (*use)(void *arg, const struct peers *peers);
    void *arg;
};

/* Takes the file as it is now for what is in use.  Everything else is borrowed. */
struct err follow_start(const struct follow_config *config, struct follow **out)
    __attribute__((warn_unused_result));

/* Reads the file at once, changed or not, and from now on with this key (a share of it).  Any
 * thread; waits for nothing.  NULL is allowed. */
void follow_now(struct follow *follow, const struct key *key);
void follow_stop(struct follow *follow); /* NULL is allowed */
