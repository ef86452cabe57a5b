/* answers.c - see answers.h. */
#include "gateway/answers.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4 };

/* One kept answer: its body, then its location, in `bytes`. */
struct entry {
    uint8_t id[ANSWERS_ID_SIZE];
    int64_t put_ms;       /* clock_monotonic_ms */
    char *bytes;          /* NULL: the entry is free */
    size_t size;          /* of the body */
    size_t location_size; /* with its NUL; 0: none */
    unsigned status;
};

struct answers {
    pthread_mutex_t mutex;
    size_t sets; /* a power of two */
    struct entry entries[];
};

struct err answers_open(size_t entries, struct answers **out)
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

void answers_close(struct answers *answers)
{
    if (answers == NULL)
        return;
    for (size_t i = 0; i < answers->sets * WAYS; i++)
        free(answers->entries[i].bytes);
    pthread_mutex_destroy(&answers->mutex);
    free(answers);
}

void answers_id(const char *user, const char *key, const char *body, size_t size,
                uint8_t id[ANSWERS_ID_SIZE])
{
    crypto_generichash_state state;
    const uint8_t given = key != NULL;

    /* With their NULs, which neither can hold: no two requests are the same bytes here. */
    crypto_generichash_init(&state, NULL, 0, ANSWERS_ID_SIZE);
    crypto_generichash_update(&state, (const unsigned char *)user, strlen(user) + 1);
    crypto_generichash_update(&state, &given, 1);
    if (given)
        crypto_generichash_update(&state, (const unsigned char *)key, strlen(key) + 1);
    crypto_generichash_update(&state, (const unsigned char *)body, size);
    crypto_generichash_final(&state, id, ANSWERS_ID_SIZE);
}

static struct entry *set_of(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE])
{
    uint64_t hash;

    memcpy(&hash, id, sizeof hash);
    return &answers->entries[(hash & (answers->sets - 1)) * WAYS];
}

/* The entry of that id, else a free one, else the oldest of its set. */
static struct entry *place_for(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE])
{
    struct entry *set = set_of(answers, id);
    struct entry *best = &set[0];

    for (int i = 0; i < WAYS; i++) {
        if (set[i].bytes != NULL && memcmp(set[i].id, id, ANSWERS_ID_SIZE) == 0)
            return &set[i];
        if (best->bytes != NULL && (set[i].bytes == NULL || set[i].put_ms < best->put_ms))
            best = &set[i];
    }
    return best;
}

void answers_put(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE],
                 int64_t now_ms, const struct answer *answer)
{
    struct entry made = {
        .put_ms = now_ms, .size = answer->size, .status = answer->status};

    if (answer->size > ANSWERS_BODY_MAX)
        return;
    made.location_size = answer->location == NULL ? 0 : strlen(answer->location) + 1;
    made.bytes = malloc(made.size + made.location_size + 1);
    if (made.bytes == NULL)
        return;
    memcpy(made.bytes, answer->body, made.size);
    if (made.location_size > 0)
        memcpy(made.bytes + made.size, answer->location, made.location_size);
    memcpy(made.id, id, ANSWERS_ID_SIZE);

    pthread_mutex_lock(&answers->mutex);
    struct entry *entry = place_for(answers, id);
    char *old = entry->bytes;
    *entry = made;
    pthread_mutex_unlock(&answers->mutex);
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

bool answers_get(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE],
                 int64_t now_ms, struct arena *arena, struct answer *out)
{
    bool found = false;

    pthread_mutex_lock(&answers->mutex);
    const struct entry *entry = place_for(answers, id);
    if (entry->bytes != NULL && memcmp(entry->id, id, ANSWERS_ID_SIZE) == 0 &&
        now_ms - entry->put_ms < ANSWERS_AGE_MAX_MS)
        found = copy_out(entry, arena, out);
    pthread_mutex_unlock(&answers->mutex);
    return found;
}
