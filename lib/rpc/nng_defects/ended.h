/*
 * ended.h - how many connections of nng's have ended in this process.
 *
 * One that ends at the wrong moment is never given back (closing.h), and nobody is told; but
 * that it ended is.  So the watch looks closer whenever the number has changed.
 */
#pragma once

#include <stdint.h>

/* Both from any thread. */
void ended_count(void);
uint64_t ended_so_far(void);
