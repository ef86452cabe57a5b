/* loop.c - see loop.h. */
#include "http/loop.h"

#include <assert.h>
#include <limits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

enum { DROPPED_LOG_MS = 1000 }; /* between two log lines about dropped connections */

/* ---- timers ---- */

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

/* ---- what connections share ---- */

struct arena *loop_arena_take(struct http_server *s)
{
    return s->arenas_kept > 0 ? s->arenas[--s->arenas_kept]
                              : arena_new(s->config.arena_max);
}

void loop_arena_give(struct http_server *s, struct arena *arena)
{
    if (s->arenas_kept == LOOP_ARENAS) {
        arena_free(arena);
        return;
    }
    arena_reset(arena);
    s->arenas[s->arenas_kept++] = arena;
}

const char *loop_date(struct http_server *s)
{
    struct tm utc;

    if (s->date_looked_ms == s->now_ms)
        return s
            ->date; /* asking the clock for each answer would cost more than the line */
    s->date_looked_ms = s->now_ms;
    time_t seconds = (time_t)(clock_wall_ms() / 1000);
    if (seconds != s->date_of && gmtime_r(&seconds, &utc) != NULL) {
        /* The C locale's names, as no program here sets another. */
        strftime(s->date, sizeof s->date, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
        s->date_of = seconds;
    }
    return s->date;
}

void loop_drop(struct http_server *s, int fd, const char *reason)
{
    s->config.handler->on_dropped(s->config.arg);
    close(fd);
    s->dropped++;
    if (s->now_ms < s->dropped_log_ms)
        return;
    s->dropped_log_ms = s->now_ms + DROPPED_LOG_MS;
    log_line(LOG_WARN, "connections_dropped", "reason=%s per_address_max=%u total=%llu",
             reason, s->config.per_address_max, (unsigned long long)s->dropped);
}
