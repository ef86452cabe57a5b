/*
 * balancer.h - which address the next attempt goes to, by how the earlier ones did.
 *
 * The channel's lock is held for all of these.
 */
#pragma once

#include "rpc/client/subchannel.h"

/* What an attempt says of its address. */
enum balancer_report { ADDRESS_WELL, ADDRESS_FAILED, ADDRESS_UNKNOWN };

/*
 * The best address for the next attempt: connected before not connected, in use before
 * resting, then the one with the least outstanding attempts.  `first` is where to begin, so
 * that equals take turns.
 */
struct subchannel *balancer_pick(struct subchannel *const *subchannels, size_t count,
                                 size_t first);

/* Whether attempts go elsewhere if they can. */
bool balancer_rests(const struct subchannel *subchannel, int64_t now_ms);

/* An attempt begins at the address. */
void balancer_enter(struct subchannel *subchannel);

/*
 * The attempt is over.  An address that fails is rested, each time in a row for twice as long
 * (50 ms to 3.2 s).  Then one attempt alone probes it; if that goes well, the others follow.
 */
void balancer_leave(struct subchannel *subchannel, enum balancer_report report);
