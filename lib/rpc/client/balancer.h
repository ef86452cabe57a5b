/*
 * balancer.h - picks the address of the next attempt by the results of earlier ones.
 *
 * The channel's lock is held for all of these.
 */
#pragma once

#include "rpc/client/subchannel.h"

/* What the result of an attempt says about its address. */
enum balancer_report { ADDRESS_WELL, ADDRESS_FAILED, ADDRESS_UNKNOWN };

/*
 * The best address for the next attempt: connected before not connected, in use before
 * resting, then the one with the least outstanding attempts.  The search begins at
 * `first`, so that equals take turns.
 */
struct subchannel *balancer_pick(struct subchannel *const *subchannels, size_t count,
                                 size_t first);

/* Whether attempts avoid the address if there is another. */
bool balancer_rests(const struct subchannel *subchannel, int64_t now_ms);

/* An attempt begins at the address. */
void balancer_enter(struct subchannel *subchannel);

/*
 * The attempt is over.  An address that fails is rested, each time in a row for twice as long
 * (50 ms to 3.2 s).  Then one attempt alone probes it; if that goes well, the others follow.
 */
void balancer_leave(struct subchannel *subchannel, enum balancer_report report);
