/* buckets.c - see buckets.h. */
#include "base/contract/buckets.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, TOKEN = 1000 /* a bucket counts thousandths */ };

struct bucket {
    char user[UUID_LENGTH + 1]; /* "": unused */
    int64_t level;              /* at `at_ms` */
    int64_t at_ms;
};

struct buckets {
    int64_t rate, burst;
    uint8_t key[crypto_shorthash_KEYBYTES]; /* random: no client can choose its set */
    size_t sets;                            /* a power of two */
    struct bucket table[];
};

struct err buckets_open(size_t users, int64_t rate, int64_t burst, struct buckets **out)
{
    size_t sets = 1;

    while (sets * WAYS < users)
        sets *= 2;
    *out = calloc(1, sizeof **out + sets * WAYS * sizeof(struct bucket));
    if (*out == NULL)
        return err_memory();
    (*out)->sets = sets;
    (*out)->rate = rate;
    (*out)->burst = burst;
    randombytes_buf((*out)->key, sizeof(*out)->key);
    return ERR_NONE;
}

void buckets_close(struct buckets *buckets)
{
    free(buckets);
}

/* `rate` tokens per second are `rate` thousandths per millisecond: exact in integers. */
static int64_t level_at(const struct buckets *b, const struct bucket *bucket,
                        int64_t now_ms)
{
    int64_t full = b->burst * TOKEN, passed = now_ms - bucket->at_ms;

    if (passed >= full / b->rate + 1)
        return full;
    int64_t level = bucket->level + passed * b->rate;
    return level < full ? level : full;
}

static struct bucket *place_for(struct buckets *b, const char *user, int64_t now_ms)
{
    uint64_t hash;

    crypto_shorthash((unsigned char *)&hash, (const unsigned char *)user, UUID_LENGTH,
                     b->key);
    struct bucket *set = &b->table[(hash & (b->sets - 1)) * WAYS];
    struct bucket *fullest = set;
    for (int i = 0; i < WAYS; i++) {
        if (memcmp(set[i].user, user, UUID_LENGTH) == 0)
            return &set[i];
        if (fullest->user[0] != '\0' &&
            (set[i].user[0] == '\0' ||
             level_at(b, &set[i], now_ms) > level_at(b, fullest, now_ms)))
            fullest = &set[i];
    }
    *fullest = (struct bucket){.level = b->burst * TOKEN, .at_ms = now_ms};
    memcpy(fullest->user, user, UUID_LENGTH);
    return fullest;
}

bool buckets_take(struct buckets *b, const char user[UUID_LENGTH + 1], int64_t now_ms)
{
    struct bucket *bucket = place_for(b, user, now_ms);

    bucket->level = level_at(b, bucket, now_ms);
    bucket->at_ms = now_ms;
    if (bucket->level < TOKEN)
        return false;
    bucket->level -= TOKEN;
    return true;
}
