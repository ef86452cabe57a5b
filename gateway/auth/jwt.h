/*
 * jwt.h - verifies the token of a request: JSON Web Tokens (RFC 7519, RFC 8725).
 *
 *      split -> header -> signature (jwks.h) -> claims -> user id -> remembered
 *
 * The signature is checked before anything in the payload is read.  base64url is strict:
 * no padding, white space or stray bits.  A header that contains or points to a key
 * (jwk, jku, x5u, x5c), or uses an extension (crit, b64, zip, enc), is refused.
 *
 * iss and aud must match exactly, exp is required, nbf and iat are honoured when present,
 * all with 60 s skew; fractions of a second are rounded against the token.
 *
 * A user's id is a UUID.  One claim (`user_claim`) names the user:
 *
 *      the claim is            with a namespace               without
 *      a canonical UUID        that UUID                      that UUID
 *      the same, version 5     refused                        that UUID
 *      another string          UUIDv5(namespace, its bytes)   refused
 *
 * So with a namespace two different claims are never the same user: mapped ids are of
 * version 5, and ids taken from the claim are not.  Otherwise a user who may choose a
 * name could choose the UUID that another user's name is mapped to.  "Canonical" is lower
 * case with dashes.  Strings are compared byte by byte (RFC 7519, 4.1.2): a name in other
 * letters, or a UUID in capitals, is another user.
 *
 * Verified tokens are remembered by a keyed hash until they expire, in a bounded table,
 * since a verification costs 65 us.
 *
 * One thread at a time may verify; another may replace the keys meanwhile.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/contract/ids.h"
#include "base/err.h"

enum {
    JWT_SKEW_S = 60,
    JWT_TOKEN_MAX = 8192, /* bytes, unless configured otherwise */
};

struct jwt_config {
    const char *jwks_file; /* or NULL: every token is refused until jwt_renew */
    const char *issuer;
    const char *audience;
    const char *user_claim;     /* 1 to 128 visible ASCII characters; NULL: "sub" */
    const char *user_namespace; /* a canonical UUID; NULL or "": none */
    size_t token_max;           /* bytes; longer ones are refused; 0: JWT_TOKEN_MAX */
    size_t remembered_max;      /* verified tokens; rounded up to a power of two */
};

struct jwks;
struct jwt;

/* Reads the keys; INVALID_ARGUMENT says what is wrong with them or with a setting. */
struct err jwt_open(const struct jwt_config *config, struct jwt **out)
    __attribute__((warn_unused_result));
void jwt_close(struct jwt *jwt);

/* Takes ownership of new keys.  They replace the old ones from the next token on, and
 * all remembered tokens are forgotten.  Any thread may call it. */
void jwt_renew(struct jwt *jwt, struct jwks *keys);

/*
 * Verifies at `now_s` (Unix seconds) and writes the user's id.  UNAUTHENTICATED: the
 * message is the reason, for the log and never for the client.  Or RESOURCE_EXHAUSTED.
 */
struct err jwt_verify(struct jwt *jwt, const char *token, size_t size, int64_t now_s,
                      char user[UUID_LENGTH + 1]) __attribute__((warn_unused_result));

/* A verified signed text: a JWS in compact serialization (RFC 7515). */
struct jws {
    json_t *header; /* an object */
    char *payload;
    size_t payload_size;
};

/*
 * Verifies `text` by the one key of `keys` that its header's kid and alg choose.  On
 * failure (UNAUTHENTICATED with the reason for the log, or RESOURCE_EXHAUSTED) *out is
 * empty.  Otherwise the caller frees it with jws_clear.
 */
struct err jws_verify(const char *text, size_t size, const struct jwks *keys,
                      struct jws *out) __attribute__((warn_unused_result));
void jws_clear(struct jws *jws);
