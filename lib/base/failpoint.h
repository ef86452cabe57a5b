/*
 * failpoint.h - places where a test build can be made to fail; empty in any other build.
 *
 * A failpoint is placed between two durable or visible effects.  Its name is
 * PROGRAM.SEAM.WHAT.EDGE, such as inventory.commit.reserve.before.  Test builds
 * (CHECKOUT_FAILPOINTS) use the folder named by the environment variable
 * CHECKOUT_FAILPOINTS_DIR:
 *
 *     seen/NAME    is created when the failpoint is first passed
 *     armed/NAME   makes it fail once; the file moves to fired/NAME
 *
 * The first word of an armed file is the fault: crash, hang, error, drop, repeat, late
 * (then milliseconds).  Crash (SIGKILL) and hang (SIGSTOP, until SIGCONT) happen in
 * failpoint(); the others are returned to the caller, which defines what they mean there.
 */
#pragma once

#include <stdint.h>

enum fault_kind { FAULT_NONE, FAULT_ERROR, FAULT_DROP, FAULT_REPEAT, FAULT_LATE };

struct fault {
    enum fault_kind kind;
    int64_t late_ms; /* FAULT_LATE */
};

#ifdef CHECKOUT_FAILPOINTS

/* Passes the failpoint; returns the fault for the caller to apply.  `what` may be a
 * method's full name: the part after the slash counts. */
struct fault failpoint(const char *seam, const char *what, const char *edge);

#else

static inline struct fault failpoint(const char *seam, const char *what, const char *edge)
{
    (void)seam;
    (void)what;
    (void)edge;
    return (struct fault){FAULT_NONE, 0};
}

#endif
