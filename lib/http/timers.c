/* timers.c - see timers.h. */
#include "http/timers.h"

#include <assert.h>
#include <limits.h>
#include <stddef.h>

void timers_init(struct timers *t, const int64_t *after_ms, unsigned kinds)
{
    assert(kinds <= TIMERS_KINDS_MAX);
    t->kinds = kinds;
    for (unsigned i = 0; i < kinds; i++) {
        t->lists[i].prev = t->lists[i].next = &t->lists[i];
        t->after_ms[i] = after_ms[i];
    }
}

void timers_clear(struct timer *timer)
{
    if (timer->next == NULL)
        return;
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->prev = timer->next = NULL;
}

void timers_set(struct timers *t, struct timer *timer, unsigned kind, int64_t now_ms)
{
    struct timer *list = &t->lists[kind];

    timers_clear(timer);
    timer->kind = kind;
    timer->deadline_ms = now_ms + t->after_ms[kind];
    timer->prev = list->prev;
    timer->next = list;
    timer->prev->next = timer->next->prev = timer;
}

bool timers_is(const struct timer *timer, unsigned kind)
{
    return timer->next != NULL && timer->kind == kind;
}

struct timer *timers_first(struct timers *t, unsigned kind)
{
    struct timer *list = &t->lists[kind];

    return list->next != list ? list->next : NULL;
}

struct timer *timers_last(struct timers *t, unsigned kind)
{
    struct timer *list = &t->lists[kind];

    return list->prev != list ? list->prev : NULL;
}

struct timer *timers_expired(struct timers *t, int64_t now_ms)
{
    for (unsigned i = 0; i < t->kinds; i++) {
        struct timer *first = timers_first(t, i);
        if (first == NULL || first->deadline_ms > now_ms)
            continue;
        timers_clear(first);
        return first;
    }
    return NULL;
}

int timers_wait_ms(const struct timers *t, int64_t now_ms)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < t->kinds; i++) {
        const struct timer *first = t->lists[i].next;
        if (first != &t->lists[i] && first->deadline_ms < next)
            next = first->deadline_ms;
    }
    if (next == INT64_MAX)
        return -1;
    if (next <= now_ms)
        return 0;
    return next - now_ms < INT_MAX ? (int)(next - now_ms) : INT_MAX;
}
