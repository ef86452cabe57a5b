/*
 * response_cache.h - recent final answers to POST /v1/orders, so that a repeated request
 * is answered without a call.
 *
 * Only an optimization: the orchestrator stores the authoritative answer, and a miss
 * becomes a call.  Only final answers may be put in.  Bounded in entries, in bytes of an
 * entry and in age; in a full set the oldest entry is replaced.  Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "gateway/http/fields.h"

enum {
    RESPONSE_CACHE_BODY_MAX = 4096,      /* bytes; a longer answer is not cached */
    RESPONSE_CACHE_AGE_MAX_MS = 3600000, /* well below how long a key is kept */
    RESPONSE_CACHE_ID_SIZE = 32,
};

struct response_cache;

/* At most `entries` answers are kept (rounded up to a power of two). */
struct err response_cache_open(size_t entries, struct response_cache **out)
    __attribute__((warn_unused_result));
void response_cache_close(struct response_cache *cache);

/*
 * The id of an answer: BLAKE2b over the user, the key and every byte of the body.  So a
 * repeat is found before its body is parsed; a body spelled differently is a miss.
 * `key`: the Idempotency-Key header, or NULL.
 */
void response_cache_id(const char *user, const char *key, const char *body, size_t size,
                       uint8_t id[RESPONSE_CACHE_ID_SIZE]);

/* Stores a copy of status, body and location; may replace another entry. */
void response_cache_put(struct response_cache *cache,
                        const uint8_t id[RESPONSE_CACHE_ID_SIZE], int64_t now_ms,
                        const struct answer *answer);

/* Finds an answer and copies it into the arena, marked replayed; false when there is
 * none. */
bool response_cache_get(struct response_cache *cache,
                        const uint8_t id[RESPONSE_CACHE_ID_SIZE], int64_t now_ms,
                        struct arena *arena, struct answer *out);
