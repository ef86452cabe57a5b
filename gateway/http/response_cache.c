/* response_cache.c - see response_cache.h. */
#include "gateway/http/response_cache.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4 }; /* entries of a set */

/* One answer: its body, then its location, in `bytes`. */
struct entry {
    uint8_t id[RESPONSE_CACHE_ID_SIZE];
    int64_t put_ms;       /* clock_monotonic_ms */
    char *bytes;          /* NULL: the entry is free */
    size_t size;          /* of the body */
    size_t location_size; /* with its NUL; 0: none */
    unsigned status;
};

struct response_cache {
    pthread_mutex_t mutex;
    size_t sets; /* a power of two */
    struct entry entries[];
};

struct err response_cache_open(size_t entries, struct response_cache **out)
{
    size_t sets = 1;

    while (sets * WAYS < entries)
        sets *= 2;
    *out = calloc(1, sizeof **out + sets * WAYS * sizeof(struct entry));
    if (*out == NULL)
        return err_memory();
    (*out)->sets = sets;
    pthread_mutex_init(&(*out)->mutex, NULL);
    return ERR_NONE;
}

void response_cache_close(struct response_cache *cache)
{
    if (cache == NULL)
        return;
    for (size_t i = 0; i < cache->sets * WAYS; i++)
        free(cache->entries[i].bytes);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

void response_cache_id(const char *user, const char *key, const char *body, size_t size,
                       uint8_t id[RESPONSE_CACHE_ID_SIZE])
{
    crypto_generichash_state state;
    const uint8_t given = key != NULL;

    /* Texts with their NULs, so that different requests never hash the same bytes. */
    crypto_generichash_init(&state, NULL, 0, RESPONSE_CACHE_ID_SIZE);
    crypto_generichash_update(&state, (const unsigned char *)user, strlen(user) + 1);
    crypto_generichash_update(&state, &given, 1);
    if (given)
        crypto_generichash_update(&state, (const unsigned char *)key, strlen(key) + 1);
    crypto_generichash_update(&state, (const unsigned char *)body, size);
    crypto_generichash_final(&state, id, RESPONSE_CACHE_ID_SIZE);
}

static struct entry *set_of(struct response_cache *cache,
                            const uint8_t id[RESPONSE_CACHE_ID_SIZE])
{
    uint64_t hash;

    memcpy(&hash, id, sizeof hash);
    return &cache->entries[(hash & (cache->sets - 1)) * WAYS];
}

/* The entry of that id, else a free one, else the oldest of its set. */
static struct entry *place_for(struct response_cache *cache,
                               const uint8_t id[RESPONSE_CACHE_ID_SIZE])
{
    struct entry *set = set_of(cache, id);
    struct entry *best = &set[0];

    for (int i = 0; i < WAYS; i++) {
        if (set[i].bytes != NULL && memcmp(set[i].id, id, RESPONSE_CACHE_ID_SIZE) == 0)
            return &set[i];
        if (best->bytes != NULL && (set[i].bytes == NULL || set[i].put_ms < best->put_ms))
            best = &set[i];
    }
    return best;
}

void response_cache_put(struct response_cache *cache,
                        const uint8_t id[RESPONSE_CACHE_ID_SIZE], int64_t now_ms,
                        const struct answer *answer)
{
    struct entry made = {
        .put_ms = now_ms, .size = answer->size, .status = answer->status};

    if (answer->size > RESPONSE_CACHE_BODY_MAX)
        return;
    made.location_size = answer->location == NULL ? 0 : strlen(answer->location) + 1;
    made.bytes = malloc(made.size + made.location_size + 1);
    if (made.bytes == NULL)
        return;
    memcpy(made.bytes, answer->body, made.size);
    if (made.location_size > 0)
        memcpy(made.bytes + made.size, answer->location, made.location_size);
    memcpy(made.id, id, RESPONSE_CACHE_ID_SIZE);

    pthread_mutex_lock(&cache->mutex);
    struct entry *entry = place_for(cache, id);
    char *old = entry->bytes;
    *entry = made;
    pthread_mutex_unlock(&cache->mutex);
    free(old);
}

static bool copy_out(const struct entry *entry, struct arena *arena, struct answer *out)
{
    char *bytes = arena_copy(arena, entry->bytes, entry->size + entry->location_size);

    if (bytes == NULL)
        return false;
    *out = (struct answer){
        .status = entry->status,
        .body = bytes,
        .size = entry->size,
        .location = entry->location_size > 0 ? bytes + entry->size : NULL,
        .replayed = true,
    };
    return true;
}

bool response_cache_get(struct response_cache *cache,
                        const uint8_t id[RESPONSE_CACHE_ID_SIZE], int64_t now_ms,
                        struct arena *arena, struct answer *out)
{
    bool found = false;

    pthread_mutex_lock(&cache->mutex);
    const struct entry *entry = place_for(cache, id);
    if (entry->bytes != NULL && memcmp(entry->id, id, RESPONSE_CACHE_ID_SIZE) == 0 &&
        now_ms - entry->put_ms < RESPONSE_CACHE_AGE_MAX_MS)
        found = copy_out(entry, arena, out);
    pthread_mutex_unlock(&cache->mutex);
    return found;
}
