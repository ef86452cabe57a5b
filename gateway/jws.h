/*
 * jws.h - a signed text: the compact serialization of a JWS (RFC 7515, RFC 8725).
 *
 *      BASE64URL(header) . BASE64URL(payload) . BASE64URL(signature)
 *
 * The signature is checked before anything in the payload is looked at.  base64url is
 * strict: no padding, white space or stray bits.  A header is refused that brings a key
 * along or names where to find one (jwk, jku, x5u, x5c), or asks for what is not done
 * here (crit, b64, zip, enc).
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct jwks;

/* A signed text whose signature is good. */
struct jws {
    json_t *header; /* an object */
    char *payload;
    size_t payload_size;
};

/*
 * Verifies `text` by the one key of `keys` that its header's kid and alg choose (jwks.h).
 * UNAUTHENTICATED with the reason, for the log alone, or RESOURCE_EXHAUSTED; *out is then
 * empty.  Else the caller frees it by jws_clear.
 */
struct err jws_verify(const char *text, size_t size, const struct jwks *keys,
                      struct jws *out) __attribute__((warn_unused_result));
void jws_clear(struct jws *jws);
