/* clock.h - the two clocks: one for deadlines, one for people. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Milliseconds since some fixed point; never steps back.  Deadlines are in this. */
int64_t clock_monotonic_ms(void);

/* The same clock in microseconds, for measuring. */
int64_t clock_monotonic_us(void);

/* Unix milliseconds, UTC; may step when the machine's clock is set. */
int64_t clock_wall_ms(void);

/* Milliseconds until a monotonic deadline, 0 when it has passed. */
int64_t clock_remaining_ms(int64_t deadline_ms);

/* A condition to be waited for with clock_cond_wait. */
void clock_cond_init(pthread_cond_t *condition);

/* Waits until signalled (or woken for nothing) or until the monotonic deadline; false,
 * and no wait, when that has passed.  The lock is held before and after. */
bool clock_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock,
                     int64_t deadline_ms);
