/*
 * duty.h - a chore that exactly one process of all replicas does, taken over within
 * seconds.
 *
 *      connect --> lock? --no--> look again
 *                    |yes
 *                    v
 *                  work, work, ... --connection lost, or failed--> connect
 *
 * Who has the duty holds an advisory lock, on a connection of his own over which all of
 * the work's statements go as well.  When he dies the server ends the session, and when
 * he hangs
 * (`takeover_ms` without a statement) it does so too: the lock is then free, and whatever
 * he still tries has no connection to go over.  So nobody needs an epoch here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "db/session.h"

struct duty;

struct duty_config {
    const char *name; /* of the thread, the application and in logs; a bare word */
    const char *database_url; /* borrowed */
    int64_t lock;             /* the advisory lock's key */
    int64_t takeover_ms;      /* a holder that is silent for so long has lost it */
    int64_t every_ms; /* how often there is a look after there was something to do;
                               * at rest ever less, but every seven tenths of takeover_ms */
    /* Both may wait, but not for longer than half of takeover_ms without a statement.
     * `begin` runs once after the lock was got, `work` again and again: at once while it
     * says that there is more.  A failure gives the duty up, and then tries for it again.
     */
    struct err (*begin)(void *arg, struct db_session *connection);
    struct err (*work)(void *arg, struct db_session *connection, bool *more);
    /* Runs when the duty was given up or lost, and at the end; NULL: nothing to do. */
    void (*end)(void *arg);
    void *arg;
};

/* Starts the thread; waits for nothing.  *out is set before `begin` and `work` may run. */
struct err duty_start(const struct duty_config *config, struct duty **out)
    __attribute__((warn_unused_result));

/* There is, or will soon be, something to do: it looks every every_ms again, if it rests.  Any
 * thread, also in `work`; waits for nothing.  NULL is allowed. */
void duty_stir(struct duty *duty);

/* Lets the work under way end, and gives the lock back.  NULL is allowed. */
void duty_stop(struct duty *duty);

/* OK when this process has the duty and its work goes on, or leaves it to another that has
 * it; else UNAVAILABLE with why it could be neither had nor sought.  From any thread. */
struct err duty_health(struct duty *duty) __attribute__((warn_unused_result));

/* Whether it is time to end, for work that waits. */
bool duty_stopping(const struct duty *duty);
