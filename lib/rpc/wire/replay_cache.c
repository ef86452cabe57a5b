/* replay_cache.c - see replay_cache.h. */
#include "rpc/wire/replay_cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 256, WORDS = REPLAY_CACHE_COUNTERS / 64 };

static const enum seal_refusal ADMITTED = 0;

/* `caller` is a copy, as the list of callers may be replaced. */
struct session {
    struct session *next; /* in its bucket */
    uint8_t caller[KEY_PUBLIC_SIZE], id[SEAL_SESSION_SIZE];
    uint64_t highest;
    int64_t newest_ms;    /* the latest sent_at_ms admitted */
    uint64_t seen[WORDS]; /* bit counter % REPLAY_CACHE_COUNTERS, up to highest */
};

struct replay_cache {
    pthread_mutex_t lock;
    int64_t floor_ms;
    size_t count;
    struct session *buckets[BUCKETS];
};

struct replay_cache *replay_cache_new(int64_t started_ms)
{
    struct replay_cache *cache = calloc(1, sizeof *cache);

    if (cache == NULL)
        return NULL;
    pthread_mutex_init(&cache->lock, NULL);
    cache->floor_ms = started_ms;
    return cache;
}

void replay_cache_free(struct replay_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct session *s = cache->buckets[b], *next; s != NULL; s = next) {
            next = s->next;
            free(s);
        }
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

/* Ids are random except for their first two bits, so their second byte is a good hash. */
static struct session **bucket_of(struct replay_cache *cache, const uint8_t *id)
{
    return &cache->buckets[id[1]];
}

static struct session *find(struct replay_cache *cache, const uint8_t *id)
{
    for (struct session *s = *bucket_of(cache, id); s != NULL; s = s->next)
        if (memcmp(s->id, id, SEAL_SESSION_SIZE) == 0)
            return s;
    return NULL;
}

/* Forgets every session whose newest frame is older than REPLAY_CACHE_MS. */
static void forget_old(struct replay_cache *cache, int64_t now_ms)
{
    for (size_t b = 0; b < BUCKETS; b++)
        for (struct session **at = &cache->buckets[b]; *at != NULL;) {
            struct session *s = *at;
            if (s->newest_ms >= now_ms - REPLAY_CACHE_MS) {
                at = &s->next;
                continue;
            }
            if (cache->floor_ms < s->newest_ms)
                cache->floor_ms = s->newest_ms;
            *at = s->next;
            cache->count--;
            free(s);
        }
}

static struct session *remember(struct replay_cache *cache,
                                const struct seal_opened *opened, int64_t now_ms)
{
    struct session **bucket = bucket_of(cache, seal_session_of(opened));

    if (cache->count == REPLAY_CACHE_SESSIONS)
        forget_old(cache, now_ms);
    struct session *s =
        cache->count == REPLAY_CACHE_SESSIONS ? NULL : calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    memcpy(s->id, seal_session_of(opened), SEAL_SESSION_SIZE);
    memcpy(s->caller, opened->caller->public_key, KEY_PUBLIC_SIZE);
    s->next = *bucket;
    *bucket = s;
    cache->count++;
    return s;
}

/* Moves the bitmap up to a new highest counter and clears the bits in between. */
static void advance(struct session *s, uint64_t counter)
{
    if (counter - s->highest >= REPLAY_CACHE_COUNTERS) {
        memset(s->seen, 0, sizeof s->seen);
    } else {
        for (uint64_t c = s->highest + 1; c <= counter; c++)
            s->seen[c % REPLAY_CACHE_COUNTERS / 64] &= ~(UINT64_C(1) << c % 64);
    }
    s->highest = counter;
}

/* Whether the counter is new, marking it seen. */
static bool mark(struct session *s, uint64_t counter)
{
    uint64_t *word = &s->seen[counter % REPLAY_CACHE_COUNTERS / 64];
    uint64_t bit = UINT64_C(1) << counter % 64;

    if (counter == 0 ||
        (counter <= s->highest && s->highest - counter >= REPLAY_CACHE_COUNTERS))
        return false;
    if (counter > s->highest)
        advance(s, counter);
    else if ((*word & bit) != 0)
        return false;
    *word |= bit;
    return true;
}

static enum seal_refusal admit(struct replay_cache *cache,
                               const struct seal_opened *opened, int64_t sent_at_ms,
                               int64_t now_ms)
{
    struct session *s = find(cache, seal_session_of(opened));

    if (s == NULL && sent_at_ms <= cache->floor_ms)
        return SEAL_TOO_EARLY;
    if (s == NULL)
        s = remember(cache, opened, now_ms);
    if (s == NULL)
        return SEAL_TOO_MANY;
    if (memcmp(s->caller, opened->caller->public_key, KEY_PUBLIC_SIZE) != 0 ||
        !mark(s, seal_counter_of(opened)))
        return SEAL_REPEATED;
    if (s->newest_ms < sent_at_ms)
        s->newest_ms = sent_at_ms;
    return ADMITTED;
}

enum seal_refusal replay_cache_admit(struct replay_cache *cache,
                                     const struct seal_opened *opened, int64_t sent_at_ms,
                                     int64_t now_ms)
{
    if (sent_at_ms < now_ms - REPLAY_CACHE_MS || sent_at_ms > now_ms + REPLAY_CACHE_MS)
        return SEAL_OUTSIDE_TIME;
    pthread_mutex_lock(&cache->lock);
    enum seal_refusal refusal = admit(cache, opened, sent_at_ms, now_ms);
    pthread_mutex_unlock(&cache->lock);
    return refusal;
}
