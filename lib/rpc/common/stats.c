/* stats.c - see stats.h. */
#include "rpc/common/stats.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/err.h"

/* The first seventeen codes are gRPC's statuses (err.h). */
static const char *const STATUS_NAMES[] = {
#define X(name, status, reason, http, again) #name,
    ERR_CODES(X)
#undef X
};

void stats_open(struct stats *stats, struct metrics *metrics, const char *side,
                const char *label)
{
    char name[METRIC_NAME_SIZE], labels[METRIC_LABELS_SIZE];

    snprintf(name, sizeof name, "%s_calls", side);
    for (unsigned s = 0; s < STATS_STATUSES; s++) {
        snprintf(labels, sizeof labels, "%s,status=%s", label, STATUS_NAMES[s]);
        stats->calls[s] = metrics_counter(metrics, name, labels);
    }
    snprintf(name, sizeof name, "%s_latency_us", side);
    stats->latency = metrics_histogram(metrics, name, label);
    snprintf(name, sizeof name, "%s_in_flight", side);
    stats->in_flight = metrics_gauge(metrics, name, label);
}

int64_t stats_begin(const struct stats *stats)
{
    gauge_add(stats->in_flight, 1);
    return clock_monotonic_us();
}

void stats_end(const struct stats *stats, int64_t begun_us, unsigned status)
{
    gauge_add(stats->in_flight, -1);
    counter_add(stats->calls[status < STATS_STATUSES ? status : ERR_UNKNOWN], 1);
    histogram_record(stats->latency, (uint64_t)(clock_monotonic_us() - begun_us));
}
