/*
 * jwks.h - the keys tokens are verified with, from a key set (JWKS, RFC 7517).
 *
 *      kty  crv      verifies            kty  crv     verifies
 *      OKP  Ed25519  EdDSA, Ed25519      RSA          RS256   (2048 to 4096 bits)
 *      oct           HS256               EC   P-256   ES256
 *
 * Each key serves that one algorithm only, so no token can choose how a key is used
 * (RFC 8725, 3.1).  EdDSA and Ed25519 are two names of one algorithm (RFC 9864).
 *
 * A set has keys for others, too.  A key that we cannot or may not use is passed over
 * (RFC 7517, 5): one warning for each set names them with their kid and the reason.  The
 * set stands if one usable key is left.  So a key that was withdrawn from the set is
 * never kept alive by something else in it.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { JWKS_KID_MAX = 128, JWKS_KEYS_MAX = 64, JWKS_BYTES_MAX = 256 << 10 };

enum jwks_alg { JWKS_EDDSA, JWKS_HS256, JWKS_RS256, JWKS_ES256 };

struct public_key;

struct jwks_key {
    char kid[JWKS_KID_MAX + 1];
    enum jwks_alg alg;
    uint8_t *bytes; /* EdDSA: the public key; HS256: the secret; else NULL */
    size_t size;
    struct public_key *public_key; /* RS256, ES256; else NULL */
};

struct jwks;

/*
 * Reads a set; `name` is what to call it.  Logs what was passed over: every odd key, of
 * keys with the same kid and algorithm all but the first, and usable keys past the first
 * JWKS_KEYS_MAX.  INVALID_ARGUMENT names the set and what is wrong: it is not a key set,
 * or has no usable key.
 */
struct err jwks_parse(const char *bytes, size_t size, const char *name, struct jwks **out)
    __attribute__((warn_unused_result));

/* The same from a file, of at most JWKS_BYTES_MAX. */
struct err jwks_read(const char *path, struct jwks **out)
    __attribute__((warn_unused_result));
void jwks_free(struct jwks *jwks);

/* How many keys can be used: 1 to JWKS_KEYS_MAX. */
size_t jwks_count(const struct jwks *jwks);

/*
 * The key for a token whose header says `alg` and `kid`; either may be NULL for missing.
 * Keys may share a kid: the one whose algorithm fits is it.  Without a kid, exactly one
 * key of the set must fit.  UNAUTHENTICATED says why there is none, and *out is NULL; so
 * it is for `jwks` NULL.
 */
struct err jwks_choose(const struct jwks *jwks, const char *kid, const char *alg,
                       const struct jwks_key **out) __attribute__((warn_unused_result));
