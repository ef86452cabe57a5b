/* window.c - see window.h. */
#include "rpc/wire/replay_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, WORDS = WINDOW_COUNTERS / 64 };

static const enum seal_refusal ADMITTED = 0;

struct session {
    struct session *next;            /* in its bucket */
    uint8_t caller[KEY_PUBLIC_SIZE]; /* its key: the list it stands in may be replaced */
    uint8_t id[SEAL_SESSION_SIZE];
    uint64_t highest;
    int64_t newest_ms;    /* the latest sent_at_ms admitted */
    uint64_t seen[WORDS]; /* bit c % WINDOW_COUNTERS, for the counters up to highest */
};

struct window {
    pthread_mutex_t lock;
    int64_t floor_ms;
    size_t count;
    struct session *buckets[BUCKETS];
};

struct window *window_new(int64_t started_ms)
{
    struct window *window = calloc(1, sizeof *window);

    if (window == NULL)
        return NULL;
    pthread_mutex_init(&window->lock, NULL);
    window->floor_ms = started_ms;
    return window;
}

void window_free(struct window *window)
{
    if (window == NULL)
        return;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct session *s = window->buckets[b], *next; s != NULL; s = next) {
            next = s->next;
            free(s);
        }
    pthread_mutex_destroy(&window->lock);
    free(window);
}

/* Ids are random but for their first bits, so a byte of one spreads them well. */
static struct session **bucket_of(struct window *window, const uint8_t *id)
{
    return &window->buckets[id[1]];
}

static struct session *find(struct window *window, const uint8_t *id)
{
    for (struct session *s = *bucket_of(window, id); s != NULL; s = s->next)
        if (memcmp(s->id, id, SEAL_SESSION_SIZE) == 0)
            return s;
    return NULL;
}

/* Forgets every session that has no frame left inside the window. */
static void forget_old(struct window *window, int64_t now_ms)
{
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct session **at = &window->buckets[b]; *at != NULL;) {
            struct session *s = *at;
            if (s->newest_ms >= now_ms - WINDOW_MS) {
                at = &s->next;
                continue;
            }
            if (window->floor_ms < s->newest_ms)
                window->floor_ms = s->newest_ms;
            *at = s->next;
            window->count--;
            free(s);
        }
}

static struct session *remember(struct window *window, const struct seal_opened *opened,
                                int64_t now_ms)
{
    struct session **bucket = bucket_of(window, seal_session_of(opened));

    if (window->count == WINDOW_SESSIONS)
        forget_old(window, now_ms);
    struct session *s = window->count == WINDOW_SESSIONS ? NULL : calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    memcpy(s->id, seal_session_of(opened), SEAL_SESSION_SIZE);
    memcpy(s->caller, opened->caller->public_key, KEY_PUBLIC_SIZE);
    s->next = *bucket;
    *bucket = s;
    window->count++;
    return s;
}

/* Moves the window up to a new highest counter, clearing the places it enters. */
static void advance(struct session *s, uint64_t counter)
{
    if (counter - s->highest >= WINDOW_COUNTERS) {
        memset(s->seen, 0, sizeof s->seen);
    } else {
        for (uint64_t c = s->highest + 1; c <= counter; c++)
            s->seen[c % WINDOW_COUNTERS / 64] &= ~(UINT64_C(1) << c % 64);
    }
    s->highest = counter;
}

/* Whether the counter is new, marking it seen. */
static bool mark(struct session *s, uint64_t counter)
{
    uint64_t *word = &s->seen[counter % WINDOW_COUNTERS / 64];
    uint64_t bit = UINT64_C(1) << counter % 64;

    if (counter == 0 ||
        (counter <= s->highest && s->highest - counter >= WINDOW_COUNTERS))
        return false;
    if (counter > s->highest)
        advance(s, counter);
    else if ((*word & bit) != 0)
        return false;
    *word |= bit;
    return true;
}

static enum seal_refusal admit(struct window *window, const struct seal_opened *opened,
                               int64_t sent_at_ms, int64_t now_ms)
{
    struct session *s = find(window, seal_session_of(opened));

    if (s == NULL && sent_at_ms <= window->floor_ms)
        return SEAL_TOO_EARLY;
    if (s == NULL)
        s = remember(window, opened, now_ms);
    if (s == NULL)
        return SEAL_TOO_MANY;
    if (memcmp(s->caller, opened->caller->public_key, KEY_PUBLIC_SIZE) != 0 ||
        !mark(s, seal_counter_of(opened)))
        return SEAL_REPEATED;
    if (s->newest_ms < sent_at_ms)
        s->newest_ms = sent_at_ms;
    return ADMITTED;
}

enum seal_refusal window_admit(struct window *window, const struct seal_opened *opened,
                               int64_t sent_at_ms, int64_t now_ms)
{
    if (sent_at_ms < now_ms - WINDOW_MS || sent_at_ms > now_ms + WINDOW_MS)
        return SEAL_OUTSIDE_TIME;
    pthread_mutex_lock(&window->lock);
    enum seal_refusal refusal = admit(window, opened, sent_at_ms, now_ms);
    pthread_mutex_unlock(&window->lock);
    return refusal;
}
