/* clock.h - the monotonic clock for deadlines, the wall clock for people. */
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

/* Initializes a condition for clock_cond_wait. */
void clock_cond_init(pthread_cond_t *condition);

/* Waits until signalled, woken spuriously or the monotonic deadline; false, without a
 * wait, when the deadline has passed.  The caller holds the lock. */
bool clock_cond_wait(pthread_cond_t *condition, pthread_mutex_t *lock,
                     int64_t deadline_ms);
