/* refusals.c - see refusals.h. */
#include "rpc/auth/rejections.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

enum { LOG_EVERY_MS = 1000 };

static const char *const NAMES[REFUSAL_COUNT] = {
    "",          "not_opened",        "outside_time",  "repeated",
    "too_early", "too_many_sessions", "no_memory",     "malformed",
    "expired",   "forbidden",         "unimplemented", "limited",
};

void refusals_open(struct refusals *refusals, struct metrics *metrics)
{
    char label[METRIC_LABELS_SIZE];

    for (int r = 1; r < REFUSAL_COUNT; r++) {
        snprintf(label, sizeof label, "reason=%s", NAMES[r]);
        refusals->counts[r] = metrics_counter(metrics, "rpc_server_refusals", label);
    }
}

void refusals_count(struct refusals *refusals, int refusal, const char *caller,
                    const char *request)
{
    uint64_t total = atomic_fetch_add(&refusals->total, 1) + 1;

    counter_add(refusals->counts[refusal], 1);
    int_fast64_t last = atomic_load(&refusals->logged_ms);
    int_fast64_t now = clock_monotonic_ms();

    if ((last != 0 && now - last < LOG_EVERY_MS) ||
        !atomic_compare_exchange_strong(&refusals->logged_ms, &last, now))
        return;
    log_line(LOG_WARN, "refused", "request=%s reason=%s caller=%s total=%" PRIu64,
             request, NAMES[refusal], caller, total);
}
