/*
 * leader.h - a leader task: work that exactly one of all replicas does, taken over within
 * seconds.
 *
 *      connect --> lock? --no--> try again later
 *                    |yes
 *                    v
 *                  work, work, ... --connection lost, or failed--> connect
 *
 * The leader holds an advisory lock on its own connection, and the work's statements use
 * that same connection.  The server ends the session when the leader dies, or hangs
 * (`takeover_ms` without a statement).  This frees the lock, and the old leader has no
 * connection left to write with, so no epoch is needed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/session.h"

struct leader;

struct leader_config {
    const char *name; /* of the thread, the application_name and in logs; one word */
    const char *database_url; /* borrowed */
    int64_t lock;             /* the advisory lock's key */
    int64_t takeover_ms; /* after so long without a statement another may become leader */
    /* How often `work` runs while it finds something; the pauses double while it does not, up
     * to seven tenths of takeover_ms. */
    int64_t every_ms;
    /* Both may block, but must run a statement every takeover_ms / 2 or sooner.  `begin`
     * runs once after the lock was taken; `work` runs repeatedly, without a pause if it
     * sets *more.  A failure releases the lock; then the task tries to take it again. */
    struct err (*begin)(void *arg, struct db_session *connection);
    struct err (*work)(void *arg, struct db_session *connection, bool *more);
    /* Runs after the lock was released or lost, and at the end. */
    void (*end)(void *arg);
    void *arg;
};

/* Starts the thread; does not block.  *out is set before `begin` and `work` may run. */
struct err leader_start(const struct leader_config *config, struct leader **out)
    __attribute__((warn_unused_result));

/* Resets the pause to every_ms, because there is work or soon will be.  Any thread, also
 * in `work`; does not block.  NULL is allowed. */
void leader_wake(struct leader *leader);

/* Waits for `work` to finish, and releases the lock.  NULL is allowed. */
void leader_stop(struct leader *leader);

/* OK when another process is leader, or this one is and its work succeeds; else
 * UNAVAILABLE with the reason.  From any thread. */
struct err leader_health(struct leader *leader) __attribute__((warn_unused_result));

/* A query of the work, with its deadline; `rows` as in struct db_query. */
struct db_query leader_query(const char *name, const char *types, const char *rows,
                             const char *sql);
