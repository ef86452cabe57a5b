/*
 * seal.h - the frames on the wire: every message between two named keys, sealed.
 *
 *   request    01 | length of name, 1 | caller's name | nonce 24 | tag 16 | cipher text
 *   response   01 | salt 16 | tag 16 | cipher text
 *   refusal    00 | reason, 1
 *
 * The cipher is libsodium's crypto_box with the precomputed key of the two parties.
 *
 * - The caller's name is in clear and proven by its key being the one that opens the box;
 *   no two callers of a server share a key (keys.h sees to it).  While keys are replaced there
 *   are two of a caller's, or two of our own; each that goes with the name is tried.
 * - A request's nonce is its session (16 bytes: random, chosen once a channel) and a
 *   counter from 1 (8 bytes, big-endian), so it never repeats and costs no randomness.
 * - The response's nonce is a hash of the request's nonce and the server's salt (16
 *   random bytes, chosen once a server).  That binds an answer to the one request it
 *   answers, and no two servers, nor one before and after a restart, ever use one nonce
 *   for two answers even if the same request is played to both.  A server must therefore
 *   seal at most one response a request: what the replay window does not admit is refused
 *   unsealed.
 * - Two parties that call each other have one key.  The first bits of a nonce say what a
 *   frame is, so that none opens as another: 0x80 a response, 0x40 a request
 *   from the party with the greater public key.  A frame sent back to where it came
 *   from is refused.
 * - A refusal proves nothing, as its reader and the server need not share a key.  It ends
 *   the wait early; what the request did is unknown (anybody on the path can forge one).
 * - Replicas of a service share its key, so a request seen on the way to one may be
 *   played to another inside the 30 s.  Methods are keyed by their caller's ids, so that
 *   repeats what was done and tells the player nothing.
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
    SEAL_NO_MEMORY = 6, /* to look at it */
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

/* Seals in place: the plain text stands in frame[overhead..size). */
void seal_request(uint8_t *frame, size_t size, const char *caller,
                  const uint8_t nonce[SEAL_NONCE_SIZE], const uint8_t *shared);

struct seal_opened {
    const struct principal *caller;
    const uint8_t
        *shared; /* the caller's, that it was sealed with, and so is the answer */
    uint8_t nonce[SEAL_NONCE_SIZE];
    uint8_t *text; /* in the frame */
    size_t size;
};

/* The session and the counter of an opened request. */
const uint8_t *seal_session_of(const struct seal_opened *opened);
uint64_t seal_counter_of(const struct seal_opened *opened);

/* Opens in place.  False when it is no request, or not sealed by an authorized caller. */
bool seal_open_request(uint8_t *frame, size_t size, const struct principals *callers,
                       struct seal_opened *out) __attribute__((warn_unused_result));

/* Seals in place: the plain text stands in frame[SEAL_RESPONSE_OVERHEAD..size).  At most
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
