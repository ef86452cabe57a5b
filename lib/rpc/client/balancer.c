/* balancer.c - see balancer.h. */
#include "rpc/client/balancer.h"

#include <assert.h>

#include "base/clock.h"

enum {
    REST_LEAST_MS = 50,
    REST_DOUBLINGS = 6, /* 3.2 s at most */
};

bool balancer_rests(const struct subchannel *subchannel, int64_t now_ms)
{
    return subchannel->probing || now_ms < subchannel->rest_until_ms;
}

/* Lower is better. */
static unsigned rank(const struct subchannel *subchannel, int64_t now)
{
    return (subchannel_connected(subchannel) ? 0U : 2U) +
           (balancer_rests(subchannel, now) ? 1U : 0U);
}

struct subchannel *balancer_pick(struct subchannel *const *subchannels, size_t count,
                                 size_t first)
{
    if (count == 1)
        return subchannels[0];
    int64_t now = clock_monotonic_ms();
    struct subchannel *best = subchannels[first % count];
    unsigned best_rank = rank(best, now);
    for (size_t i = 1; i < count; i++) {
        struct subchannel *s = subchannels[(first + i) % count];
        unsigned r = rank(s, now);
        if (r < best_rank || (r == best_rank && s->outstanding < best->outstanding)) {
            best = s;
            best_rank = r;
        }
    }
    return best;
}

void balancer_enter(struct subchannel *subchannel)
{
    subchannel->outstanding++;
    subchannel->probing = subchannel->failures > 0;
}

/* Attempts that fail together count as one: a rest is not extended while it lasts. */
static void rest(struct subchannel *subchannel)
{
    int64_t now = clock_monotonic_ms();

    if (now < subchannel->rest_until_ms)
        return;
    subchannel->rest_until_ms = now + ((int64_t)REST_LEAST_MS << subchannel->failures);
    if (subchannel->failures < REST_DOUBLINGS)
        subchannel->failures++;
}

void balancer_leave(struct subchannel *subchannel, enum balancer_report report)
{
    assert(subchannel->outstanding > 0);
    subchannel->outstanding--;
    subchannel->probing = false;
    if (report == ADDRESS_FAILED) {
        rest(subchannel);
    } else if (report == ADDRESS_WELL) {
        subchannel->failures = 0;
        subchannel->rest_until_ms = 0;
    }
}
