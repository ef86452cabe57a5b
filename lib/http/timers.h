/*
 * timers.h - one deadline for each of many connections, from a handful of durations.
 *
 * Every kind of wait has one duration, so the deadlines of one kind expire in the order
 * in which they were set: a list for each kind, appended to at its end, is all that is
 * needed.  Setting, clearing and expiring take constant time.  Not thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { TIMERS_KINDS_MAX = 8 };

/* Embedded in what waits; zeroed at first. */
struct timer {
    struct timer *prev, *next; /* in the list of its kind; NULL: not set */
    int64_t deadline_ms;
    unsigned kind;
};

struct timers {
    struct timer lists[TIMERS_KINDS_MAX]; /* heads of the lists */
    int64_t after_ms[TIMERS_KINDS_MAX];
    unsigned kinds;
};

/* `after_ms`: the duration of each kind, copied. */
void timers_init(struct timers *timers, const int64_t *after_ms, unsigned kinds);

/* Sets the deadline of that kind, counted from now, in place of any earlier one. */
void timers_set(struct timers *timers, struct timer *timer, unsigned kind,
                int64_t now_ms);

/* Does nothing when it is not set. */
void timers_clear(struct timer *timer);

/* Whether a deadline of that kind is set. */
bool timers_is(const struct timer *timer, unsigned kind);

/* The one of that kind that was set first; NULL: there is none. */
struct timer *timers_first(struct timers *timers, unsigned kind);

/* The one of that kind that was set last; NULL: there is none. */
struct timer *timers_last(struct timers *timers, unsigned kind);

/* Takes out one whose deadline has passed; NULL: there is none. */
struct timer *timers_expired(struct timers *timers, int64_t now_ms);

/* Milliseconds to the next deadline, 0 when one has passed; -1: none is set. */
int timers_wait_ms(const struct timers *timers, int64_t now_ms);
