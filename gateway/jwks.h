/*
 * jwks.h - the keys tokens are verified with, from a JWKS document (RFC 7517).
 *
 *      kty  crv      for    kty  crv     for
 *      OKP  Ed25519  EdDSA  RSA          RS256   (2048 to 4096 bits)
 *      oct           HS256  EC   P-256   ES256
 *
 * Each key has a kid of its own and serves that one algorithm only, so no token can
 * choose how its key is used.  Keys of other types, or for something else than
 * signatures, are passed over with a log line; one that says it is of these and is
 * malformed is refused, and the document with it.
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

/* INVALID_ARGUMENT names the document, the key and what is wrong; private parts are
 * refused.  `name` is what to call it. */
struct err jwks_parse(const char *bytes, size_t size, const char *name, struct jwks **out)
    __attribute__((warn_unused_result));

/* The same from a file.  INVALID_ARGUMENT names the file, the key and what is wrong;
 * private parts are refused.
 */
struct err jwks_read(const char *path, struct jwks **out)
    __attribute__((warn_unused_result));
void jwks_free(struct jwks *jwks);

/* How many keys it has: 1 or more. */
size_t jwks_count(const struct jwks *jwks);

/* NULL when there is none of that id. */
const struct jwks_key *jwks_find(const struct jwks *jwks, const char *kid);

/* "EdDSA" and so on, as in a token's alg. */
const char *jwks_alg_name(enum jwks_alg alg);
