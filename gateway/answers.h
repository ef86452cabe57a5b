/*
 * answers.h - answers given lately to POST /v1/orders, so that a repeat need not travel.
 *
 * Only a short cut: the answer stored by the orchestrator is the truth, and an answer
 * that is not here is asked for there.  Only final answers may be put in.  Bounded in
 * entries, in bytes of an entry and in age; the oldest of a neighbourhood gives way.
 * Thread-safe.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    ANSWERS_BODY_MAX = 4096,      /* bytes; a longer answer is not kept */
    ANSWERS_AGE_MAX_MS = 3600000, /* well below what a key is kept for */
    ANSWERS_ID_SIZE = 32,
};

/* A header field; a list of them ends with a NULL name. */
struct answer_field {
    const char *name, *value;
};

/* What is sent over HTTP.  All pointers are borrowed; NULL or 0 means not sent. */
struct answer {
    unsigned status;
    const char *body;
    size_t size;
    const char *content_type; /* NULL: JSON, or a problem from 400 on */
    const char *location;
    const char *allow;
    const char *accept_encoding; /* with 415: which codings of a body are read */
    bool replayed;               /* it was given before, to the same key */
    bool close;                  /* end the connection after it */
    int retry_after_s;
    const char *cache_control; /* NULL: no-store */
    const char *set_cookie;
    const struct answer_field *fields; /* more, or in place of the usual ones; or NULL */
};

struct answers;

/* At most `entries` answers are kept (rounded up to a power of two). */
struct err answers_open(size_t entries, struct answers **out)
    __attribute__((warn_unused_result));
void answers_close(struct answers *answers);

/*
 * The name of an answer: BLAKE2b over who asks and every byte of what they sent that says
 * what for.  So a repeat is found before anything of it is read; one in another spelling
 * travels.  `key`: the Idempotency-Key header, or NULL.
 */
void answers_id(const char *user, const char *key, const char *body, size_t size,
                uint8_t id[ANSWERS_ID_SIZE]);

/* Keeps a copy of status, body and location; forgets another answer when it must. */
void answers_put(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE],
                 int64_t now_ms, const struct answer *answer);

/* Finds an answer and copies it into the arena, marked replayed; false when there is
 * none. */
bool answers_get(struct answers *answers, const uint8_t id[ANSWERS_ID_SIZE],
                 int64_t now_ms, struct arena *arena, struct answer *out);
