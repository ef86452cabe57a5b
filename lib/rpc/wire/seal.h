/*
 * seal.h - the frames on the wire: every message between two named keys, sealed.
 *
 *   request    01 | length of name, 1 | caller's name | nonce 24 | tag 16 | cipher text
 *   response   01 | salt 16 | tag 16 | cipher text
 *   refusal    00 | reason, 1
 *
 * The cipher is libsodium's crypto_box with the precomputed key of the two parties.
 *
 * - The caller's name is in clear.  It is proven by the key that opens the box, because no two
 *   callers of a server share a key (keys.h ensures it).  While keys are replaced, a caller or
 *   we ourselves may have two; each key of the name is tried.
 * - A request's nonce is its session (16 random bytes, chosen once per channel) and a
 *   counter from 1 (8 bytes, big-endian), so it never repeats and costs no randomness.
 * - The response's nonce is a hash of the request's nonce and the server's salt (16
 *   random bytes, chosen once per server).  That binds an answer to its request.
 *   Two servers, or one before and after a restart, never use one nonce for two answers,
 *   even if one request is replayed to both.  A server must seal at most one response
 *   per request; so what the replay cache does not admit is refused unsealed.
 * - Two parties that call each other share one key.  The first bits of a nonce say what kind a
 *   frame is, so that none opens as another kind: 0x80 a response, 0x40 a request from the
 *   party with the greater public key.  A frame sent back to its sender is refused.
 * - A refusal proves nothing, because its reader and the server need not share a key: anybody
 *   on the path can forge one.  It ends the wait early; what the request did is unknown.
 * - Replicas of a service share its key, so a request seen on the way to one may be replayed
 *   to another within 30 s.  Methods are keyed by their caller's ids, so the replay only
 *   repeats what was done, and the attacker learns nothing.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/principals.h"

enum {
    SEAL_NONCE_SIZE = 24,
    SEAL_SESSION_SIZE = 16,
    SEAL_SALT_SIZE = 16,
    SEAL_TAG_SIZE = 16,
    SEAL_RESPONSE_OVERHEAD = 1 + SEAL_SALT_SIZE + SEAL_TAG_SIZE,
    SEAL_REFUSAL_SIZE = 2,
};

/* Why a request was refused unsealed.  The numbers are on the wire. */
enum seal_refusal {
    SEAL_NOT_OPENED = 1, /* unknown caller, or not sealed with its key, or no envelope */
    SEAL_OUTSIDE_TIME =
        2,              /* sent more than 30 s before or after, by the server's clock */
    SEAL_REPEATED = 3,  /* seen before */
    SEAL_TOO_EARLY = 4, /* sent before the server started: seal it anew */
    SEAL_TOO_MANY = 5,  /* more sessions than the server remembers */
    SEAL_NO_MEMORY = 6, /* the server has no memory to open it */
};

/* Where a channel's nonces come from.  Thread-safe. */
struct seal_session {
    uint8_t id[SEAL_SESSION_SIZE];
    atomic_uint_fast64_t counter;
};

/* `own` and `callee` are the public keys of the two parties. */
void seal_session_start(struct seal_session *session, const uint8_t *own,
                        const uint8_t *callee);
void seal_session_next(struct seal_session *session, uint8_t nonce[SEAL_NONCE_SIZE]);

/* Bytes in front of a request's plain text. */
size_t seal_request_overhead(const char *caller);

/* Seals in place: the plain text is in frame[overhead..size). */
void seal_request(uint8_t *frame, size_t size, const char *caller,
                  const uint8_t nonce[SEAL_NONCE_SIZE], const uint8_t *shared);

struct seal_opened {
    const struct principal *caller;
    const uint8_t
        *shared; /* with the caller; it sealed the request, and seals the answer */
    uint8_t nonce[SEAL_NONCE_SIZE];
    uint8_t *text; /* in the frame */
    size_t size;
};

/* The session and the counter of an opened request. */
const uint8_t *seal_session_of(const struct seal_opened *opened);
uint64_t seal_counter_of(const struct seal_opened *opened);

/* Opens in place.  False if it is not a request sealed by an authorized caller. */
bool seal_open_request(uint8_t *frame, size_t size, const struct principals *callers,
                       struct seal_opened *out) __attribute__((warn_unused_result));

/* Seals in place: the plain text is in frame[SEAL_RESPONSE_OVERHEAD..size).  At most
 * once a request's nonce and salt. */
void seal_response(uint8_t *frame, size_t size, const uint8_t salt[SEAL_SALT_SIZE],
                   const uint8_t request_nonce[SEAL_NONCE_SIZE], const uint8_t *shared);

/* Opens the answer to the request of that nonce, in place. */
bool seal_open_response(uint8_t *frame, size_t size,
                        const uint8_t request_nonce[SEAL_NONCE_SIZE],
                        const uint8_t *shared, uint8_t **text, size_t *text_size)
    __attribute__((warn_unused_result));

void seal_refusal(uint8_t frame[SEAL_REFUSAL_SIZE], enum seal_refusal reason);

/* Whether the frame is a refusal, and what to make of it: effect unknown, always. */
bool seal_is_refusal(const uint8_t *frame, size_t size, struct err *out);
