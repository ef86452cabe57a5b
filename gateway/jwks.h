/*
 * jwks.h - the keys tokens are verified with, from a JWKS file (RFC 7517).
 *
 * Taken are kty OKP with crv Ed25519 (for EdDSA) and kty oct of 32 bytes or more (for
 * HS256).  Each key has a kid of its own and serves one algorithm only, so no token can
 * choose how its key is used.  Keys of other types are passed over with a log line.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum { JWKS_KID_MAX = 128, JWKS_KEYS_MAX = 64 };

enum jwks_alg { JWKS_EDDSA, JWKS_HS256 };

struct jwks_key {
    char kid[JWKS_KID_MAX + 1];
    enum jwks_alg alg;
    uint8_t *bytes; /* the public key, or the secret */
    size_t size;
};

struct jwks;

/* INVALID_ARGUMENT names the file, the key and what is wrong; private parts are refused.
 */
struct err jwks_read(const char *path, struct jwks **out)
    __attribute__((warn_unused_result));
void jwks_free(struct jwks *jwks);

/* NULL when there is none of that id. */
const struct jwks_key *jwks_find(const struct jwks *jwks, const char *kid);

/* "EdDSA" or "HS256". */
const char *jwks_alg_name(enum jwks_alg alg);
