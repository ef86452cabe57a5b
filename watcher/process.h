/*
 * process.h - one process that is watched, and the doubt about it.
 *
 *     trusted --greeted, no answer--> in doubt --too long--> hangs
 *        ^                               |
 *        +---------- answer -------------+
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "watcher/greet.h"

struct process {
    const char *name;
    int name_length;
    pid_t pid;
    bool ended; /* before it could be watched */
    int pidfd;           /* readable when it has ended */
    const char *address; /* NULL: it cannot be greeted */
    int greeting;        /* the connection, or -1 */
    bool greeted;        /* and no answer yet */
    int64_t since_ms;    /* since when there is none: in doubt; or 0 */
    int64_t next_ms;     /* when to greet again */
    int64_t used_ms;     /* processor time when the doubt began */
};

/* CLOCK_BOOTTIME: a machine that slept is late. */
int64_t process_now_ms(void);

/* Takes "NAME:PID:ADDRESS", which is borrowed.  False: it has `ended`, or else the reason
 * is on standard error. */
bool process_open(struct process *process, const char *argument);

/* Looks, and greets when it is time, unless the watcher is about to end; whether it hangs. */
bool process_hangs(struct process *process, int64_t now_ms, bool ending);

/* Whether an answer is awaited. */
bool process_in_doubt(const struct process *process);

/* Waits a moment for its answer: a greeting that is broken off can make nng 1.5.2 deaf
 * (lib/rpc/watch.h). */
void process_leave(struct process *process);

/* Begins anew, as if it had just answered. */
void process_trust(struct process *process, int64_t now_ms);
