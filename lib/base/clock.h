/* clock.h - the two clocks: one for deadlines, one for people. */
#pragma once

#include <stdint.h>

/* Milliseconds since some fixed point; never steps back.  Deadlines are in this. */
int64_t clock_monotonic_ms(void);

/* Unix milliseconds, UTC; may step when the machine's clock is set. */
int64_t clock_wall_ms(void);

/* Milliseconds until a monotonic deadline, 0 when it has passed. */
int64_t clock_remaining_ms(int64_t deadline_ms);
