/*
 * process.h - one process that is watched, and the doubt about it.
 *
 *     trusted --greeted, no answer; or stopped--> in doubt --too long--> hangs
 *        ^                                           |
 *        +---------- answer; or goes on -------------+
 *
 * A greeting costs a service a few context switches, so one at rest is left to rest: it is
 * greeted when it has worked since the last time, or after a minute.
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
    int pidfd;  /* readable when it has ended */
    struct greeter greeter;
    bool greeted;                   /* and no answer yet */
    int64_t greeted_ms;             /* when last; 0: never */
    bool stopped;                   /* at the last look */
    int64_t since_ms;               /* in doubt since; 0: trusted */
    int64_t greeted_us, doubted_us; /* the processor time it had used at these moments */
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
 * (lib/rpc/nng_defects/watchdog.c). */
void process_leave(struct process *process);

/* Ends the doubt. */
void process_trust(struct process *process);
