/*
 * jwks.h - the keys that tokens are verified with, from a key set (JWKS, RFC 7517).
 *
 *      kty  crv      verifies            kty  crv     verifies
 *      OKP  Ed25519  EdDSA, Ed25519      RSA          RS256   (2048 to 4096 bits)
 *      oct           HS256               EC   P-256   ES256
 *
 * Each key serves that one algorithm only, so no token can choose how a key is used
 * (RFC 8725, 3.1).  EdDSA and Ed25519 are two names of one algorithm (RFC 9864).
 *
 * A set may hold keys for other uses.  Keys that the gateway cannot or may not use are
 * ignored (RFC 7517, 5): one warning for each set lists them with kid and reason.  The
 * set is accepted if it has at least one usable key.  If one defect refused the whole
 * set, a withdrawn key would stay trusted.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    JWKS_KID_MAX = 128,
    JWKS_KEYS_MAX = 64,
    JWKS_BYTES_MAX = 256 << 10,
    JWKS_SIGNATURE_MAX = 512, /* bytes: RS256 with 4096 bits */
};

struct jwks;
struct jwks_key;

/*
 * Reads a set; `name` is used in messages.  Ignores and logs: every unusable key; of keys
 * with the same kid and algorithm all but the first; usable keys past the first
 * JWKS_KEYS_MAX.  INVALID_ARGUMENT names the set and what is wrong: it is not a key set,
 * or it has no usable key.
 */
struct err jwks_parse(const char *bytes, size_t size, const char *name, struct jwks **out)
    __attribute__((warn_unused_result));

/* The same from a file of at most JWKS_BYTES_MAX. */
struct err jwks_read(const char *path, struct jwks **out)
    __attribute__((warn_unused_result));
void jwks_free(struct jwks *jwks);

/* How many keys can be used: 1 to JWKS_KEYS_MAX. */
size_t jwks_count(const struct jwks *jwks);

/*
 * The key for a token whose header has `alg` and `kid`; either may be NULL for missing.
 * Keys may share a kid: the key whose algorithm fits is taken.  Without a kid, exactly
 * one key of the set must fit.  Otherwise, and for `jwks` NULL, UNAUTHENTICATED with the
 * reason, and *out is NULL.  *out is borrowed from the set.
 */
struct err jwks_choose(const struct jwks *jwks, const char *kid, const char *alg,
                       const struct jwks_key **out) __attribute__((warn_unused_result));

/* Whether `signature`, in the form of JWS, is the key's over `bytes`.  Thread-safe. */
bool jwks_verify(const struct jwks_key *key, const char *bytes, size_t size,
                 const uint8_t *signature, size_t signature_size)
    __attribute__((warn_unused_result));
