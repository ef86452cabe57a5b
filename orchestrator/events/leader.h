/*
 * leader.h - a leader task: work that exactly one of all replicas does, taken over within
 * seconds.
 *
 *      connect --> lock? --no--> try again later
 *                    |yes
 *                    v
 *                  work, work, ... --connection lost, or failed--> connect
 *
 * The leader holds an advisory lock, on its own connection, over which all statements of the
 * work go as well.  When the leader dies the server ends the session; when it hangs
 * (`takeover_ms` without a statement), too.  Then the lock is free, and the old leader has no
 * connection left to write over.  So no epoch is needed.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/session.h"

struct leader;

struct leader_config {
    const char *name; /* of the thread, the application and in logs; a plain word */
    const char *database_url; /* borrowed */
    int64_t lock;             /* the advisory lock's key */
    int64_t takeover_ms;      /* after so long without a statement another may lead */
    /* How often `work` runs while it finds something; the pauses double while it does not, up
     * to seven tenths of takeover_ms. */
    int64_t every_ms;
    /* Both may block, but run a statement at least every half of takeover_ms.  `begin` runs
     * once the lock is taken, `work` again and again: at once if it sets *more.  A failure
     * gives the lock up; then it is tried for again. */
    struct err (*begin)(void *arg, struct db_session *connection);
    struct err (*work)(void *arg, struct db_session *connection, bool *more);
    /* Runs after the lock was given up or lost, and at the end. */
    void (*end)(void *arg);
    void *arg;
};

/* Starts the thread; waits for nothing.  *out is set before `begin` and `work` may run. */
struct err leader_start(const struct leader_config *config, struct leader **out)
    __attribute__((warn_unused_result));

/* There is work, or soon will be: the pauses are every_ms again.  Any thread, also in `work`;
 * waits for nothing.  NULL is allowed. */
void leader_wake(struct leader *leader);

/* Lets `work` finish, and gives the lock back.  NULL is allowed. */
void leader_stop(struct leader *leader);

/* OK when this process leads and its work succeeds, or another leads; else UNAVAILABLE with
 * why not.  From any thread. */
struct err leader_health(struct leader *leader) __attribute__((warn_unused_result));

/* A query of the work, with its deadline; `rows` as in struct db_query. */
struct db_query leader_query(const char *name, const char *types, const char *rows,
                             const char *sql);
