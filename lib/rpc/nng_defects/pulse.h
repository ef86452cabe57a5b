/*
 * pulse.h - for a program that only calls: nng that hangs ends the process.
 *
 * A connection of nng before 1.6 that ends at the wrong moment may never be given back
 * (closing.h says how), and no other after it: whoever was killed and is back is not connected
 * to again, and what waits for that waits for ever.  A server's watch sees it and ends the
 * process; a program without a server has this instead, a server's socket within the process
 * and a watch of it.  From nng 1.6 on there is no thread.
 *
 * Not for a library: it ends its host.
 */
#pragma once

#include "base/err.h"

struct pulse;

/* UNAVAILABLE when there is no socket to be had.  `out` is set only when it succeeds. */
struct err pulse_start(struct pulse **out) __attribute__((warn_unused_result));
void pulse_stop(struct pulse *pulse); /* takes at most a second; NULL is allowed */
