/*
 * failpoint.h - places where a test build can be made to fail; nothing in any other build.
 *
 * A failpoint stands at an edge between two durable or visible effects.  Its name is
 * PROGRAM.SEAM.WHAT.EDGE, such as inventory.commit.reserve.before.  Test builds
 * (CHECKOUT_FAILPOINTS) look into the folder named by the environment's
 * CHECKOUT_FAILPOINTS_DIR:
 *
 *     seen/NAME    is made when the failpoint is passed for the first time
 *     armed/NAME   makes it fail, once: the file moves to fired/NAME as it does
 *
 * The first word of an armed file is the fault: crash, hang, error, drop, repeat, late
 * (then milliseconds).  Crash (SIGKILL) and hang (SIGSTOP, until somebody continues the
 * process) happen in here; the others are told to the seam, which says what they mean there.
 */
#pragma once

#include <stdint.h>

enum fault_kind { FAULT_NONE, FAULT_ERROR, FAULT_DROP, FAULT_REPEAT, FAULT_LATE };

struct fault {
    enum fault_kind kind;
    int64_t late_ms; /* FAULT_LATE */
};

#ifdef CHECKOUT_FAILPOINTS

/* Passes the failpoint; what is left for the seam to do.  `what` may be a method's full
 * name: the part after the slash counts. */
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
