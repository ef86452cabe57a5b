/*
 * jwt.h - who asks: verifying a JSON Web Token (RFC 7519, RFC 8725).
 *
 * Signatures are EdDSA (Ed25519), HS256, RS256 or ES256, by the one key that the token's
 * kid and alg choose and with that key's one algorithm (jwks.h).  iss and aud must match
 * exactly, exp is required, nbf and iat are kept to when present, all with 60 s skew;
 * times may have fractions, which round against the token.  One claim names the user
 * (subject.h).  A verified token is remembered by a keyed hash until it expires, in a
 * bounded table, since a verification costs 65 us.
 *
 * One thread at a time may verify; another may hand in new keys meanwhile.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/contract/ids.h"
#include "base/err.h"

enum {
    JWT_SKEW_S = 60,
    JWT_TOKEN_MAX = 8192, /* bytes, unless configured otherwise */
};

struct jwt_config {
    const char *jwks_file; /* or NULL: no token is good before jwt_renew */
    const char *issuer;
    const char *audience;
    const char *user_claim, *user_namespace; /* see subject.h; NULL: "sub" and none */
    size_t token_max;      /* bytes; longer ones are refused; 0: JWT_TOKEN_MAX */
    size_t remembered_max; /* verified tokens; rounded up to a power of two */
};

struct jwks;
struct jwt;

/* Reads the keys; INVALID_ARGUMENT says what is wrong with them or with a setting. */
struct err jwt_open(const struct jwt_config *config, struct jwt **out)
    __attribute__((warn_unused_result));
void jwt_close(struct jwt *jwt);

/* Takes over new keys: from the next token on only they count, and no verdict found with
 * the old ones.  Any thread may call it. */
void jwt_renew(struct jwt *jwt, struct jwks *keys);

/*
 * Verifies at `now_s` (Unix seconds) and writes the user's id.  UNAUTHENTICATED: the
 * message is the reason, for the log and never for the client.  Or RESOURCE_EXHAUSTED.
 */
struct err jwt_verify(struct jwt *jwt, const char *token, size_t size, int64_t now_s,
                      char user[UUID_LENGTH + 1]) __attribute__((warn_unused_result));
