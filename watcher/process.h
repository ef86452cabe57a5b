/*
 * process.h - one watched process, and whether it is suspected to hang.
 *
 *     trusted --greeted, no answer; or stopped--> in doubt --too long--> hangs
 *        ^                                           |
 *        +---------- answer; or continued -----------+
 *
 * A greeting costs a service a few context switches, so an idle one is greeted only once
 * a minute.
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
    bool ended; /* before the watch began */
    int pidfd;  /* readable when it has ended */
    struct greeter greeter;
    bool greeted;                   /* no answer yet */
    int64_t greeted_ms;             /* last time; 0: never */
    bool stopped;                   /* at the last check */
    int64_t since_ms;               /* in doubt since; 0: trusted */
    int64_t greeted_us, doubted_us; /* processor time used at greeted_ms, since_ms */
};

/* CLOCK_BOOTTIME, which includes time suspended. */
int64_t process_now_ms(void);

/* Parses "NAME:PID:ADDRESS", which is borrowed.  False: the process has `ended`, or the
 * reason is on standard error. */
bool process_open(struct process *process, const char *argument);

/* Checks the process, greets it when due unless the watcher is `ending`; true: it
 * hangs. */
bool process_hangs(struct process *process, int64_t now_ms, bool ending);

/* Whether an answer is awaited. */
bool process_in_doubt(const struct process *process);

/* Waits briefly for an outstanding answer: closing before it can make nng 1.5.2 deaf
 * (lib/rpc/nng_defects/nng_defects.h). */
void process_leave(struct process *process);

/* Ends the suspicion. */
void process_trust(struct process *process);
