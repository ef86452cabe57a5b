/* stats.h - counts the calls of one method, or of one channel: how they ended, how long they
 * took, how many are under way. */
#pragma once

#include <stdint.h>

#include "base/metrics.h"

enum { STATS_STATUSES = 17 };

struct stats {
    struct counter *calls[STATS_STATUSES]; /* SIDE_calls{...,status=} */
    struct histogram *latency;             /* SIDE_latency_us */
    struct gauge *in_flight;               /* SIDE_in_flight */
};

/* `side` is "rpc_server" or "rpc_client"; `label` names what is counted, "method=a.B/C". */
void stats_open(struct stats *stats, struct metrics *metrics, const char *side,
                const char *label);

/* Returns the start time, for stats_end. */
int64_t stats_begin(const struct stats *stats);
void stats_end(const struct stats *stats, int64_t begun_us, unsigned status);
