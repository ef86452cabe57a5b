/*
 * refusals.h - counts what a server refused to run, and says so in the log, at most once
 * a second: a flood of bad frames must not become a flood of lines.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "base/metrics.h"

enum refusal {
    /* the first ones are enum seal_refusal's */
    REFUSED_MALFORMED = 7,
    REFUSED_EXPIRED,
    REFUSED_FORBIDDEN,
    REFUSED_UNIMPLEMENTED,
    REFUSED_LIMITED,
    REFUSAL_COUNT,
};

struct refusals {
    struct counter *counts[REFUSAL_COUNT]; /* rpc_server_refusals{reason=} */
    atomic_uint_fast64_t total;
    atomic_int_fast64_t logged_ms;
};

void refusals_open(struct refusals *refusals, struct metrics *metrics);

/* `caller`, and `request`, the call's id, are "-" when not known. */
void refusals_count(struct refusals *refusals, int refusal, const char *caller,
                    const char *request);
