/* jws.c - see jws.h. */
#include "gateway/jws.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"
#include "gateway/jwks.h"
#include "gateway/signature.h"

/* The three parts as they came. */
struct parts {
    const char *text;
    size_t header_size, payload_at, payload_size;
    size_t signed_size; /* header '.' payload */
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_size;
};

#define refuse(...) err_make(ERR_UNAUTHENTICATED, __VA_ARGS__)

static bool decode(const char *text, size_t size, void *out, size_t room,
                   size_t *out_size)
{
    return size > 0 && base64_decode(text, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                                     out, room, out_size);
}

/* *bytes is the caller's to free, NULL when failed. */
static struct err decode_part(const char *text, size_t size, const char *what,
                              char **bytes, size_t *bytes_size)
{
    const size_t room = size / 4 * 3 + 3;

    *bytes = malloc(room);
    if (*bytes == NULL)
        return err_memory();
    if (decode(text, size, *bytes, room, bytes_size))
        return ERR_NONE;
    free(*bytes);
    *bytes = NULL;
    return refuse("the %s is not base64url", what);
}

static struct err split(const char *text, size_t size, struct parts *parts)
{
    const char *end = text + size;
    const char *dot = memchr(text, '.', size);
    const char *dot2 = dot == NULL ? NULL : memchr(dot + 1, '.', (size_t)(end - dot - 1));

    if (dot2 == NULL || memchr(dot2 + 1, '.', (size_t)(end - dot2 - 1)) != NULL)
        return refuse("the token has not three parts");
    parts->text = text;
    parts->header_size = (size_t)(dot - text);
    parts->payload_at = parts->header_size + 1;
    parts->payload_size = (size_t)(dot2 - dot - 1);
    parts->signed_size = (size_t)(dot2 - text);
    if (!decode(dot2 + 1, (size_t)(end - dot2 - 1), parts->signature,
                sizeof parts->signature, &parts->signature_size))
        return refuse("the signature is not base64url of at most %d bytes",
                      SIGNATURE_MAX);
    return ERR_NONE;
}

static struct err read_header(const struct parts *parts, json_t **header)
{
    char *bytes;
    size_t size;
    struct err e = decode_part(parts->text, parts->header_size, "header", &bytes, &size);

    if (failed(e))
        return e;
    e = json_parse(bytes, size, header);
    free(bytes);
    if (e.code == ERR_RESOURCE_EXHAUSTED || json_is_object(*header))
        return e;
    return refuse("the header is not a JSON object");
}

static struct err check_header(const json_t *header)
{
    static const char *const BARRED[] = {"crit", "b64", "jwk", "jku",
                                         "x5u",  "x5c", "zip", "enc"};
    const json_t *kid = json_object_get(header, "kid");

    for (size_t i = 0; i < sizeof BARRED / sizeof BARRED[0]; i++)
        if (json_object_get(header, BARRED[i]) != NULL)
            return refuse("the header has %s", BARRED[i]);
    if (kid != NULL && !json_is_string(kid))
        return refuse("the header's kid is not a string");
    return ERR_NONE;
}

static bool hmac_good(const struct parts *parts, const struct jwks_key *key)
{
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key->bytes, key->size);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)parts->text,
                                  parts->signed_size);
    crypto_auth_hmacsha256_final(&state, mac);
    return parts->signature_size == sizeof mac &&
           sodium_memcmp(mac, parts->signature, sizeof mac) == 0;
}

static bool signature_good(const struct parts *parts, const struct jwks_key *key)
{
    const unsigned char *bytes = (const unsigned char *)parts->text;

    switch (key->alg) {
    case JWKS_HS256:
        return hmac_good(parts, key);
    case JWKS_EDDSA:
        return parts->signature_size == crypto_sign_BYTES &&
               crypto_sign_verify_detached(parts->signature, bytes, parts->signed_size,
                                           key->bytes) == 0;
    case JWKS_RS256:
    case JWKS_ES256:
        break;
    }
    return public_key_verify(key->public_key, bytes, parts->signed_size, parts->signature,
                             parts->signature_size);
}

static struct err check_signature(const struct parts *parts, const struct jwks *keys,
                                  const json_t *header)
{
    const struct jwks_key *key;
    struct err e = jwks_choose(keys, json_string_value(json_object_get(header, "kid")),
                               json_string_value(json_object_get(header, "alg")), &key);

    if (!failed(e) && !signature_good(parts, key))
        e = refuse("the signature is wrong");
    return e;
}

struct err jws_verify(const char *text, size_t size, const struct jwks *keys,
                      struct jws *out)
{
    struct parts parts = {0};
    struct err e = split(text, size, &parts);

    *out = (struct jws){0};
    if (!failed(e))
        e = read_header(&parts, &out->header);
    if (!failed(e))
        e = check_header(out->header);
    if (!failed(e))
        e = check_signature(&parts, keys, out->header);
    if (!failed(e))
        e = decode_part(text + parts.payload_at, parts.payload_size, "payload",
                        &out->payload, &out->payload_size);
    if (failed(e))
        jws_clear(out);
    return e;
}

void jws_clear(struct jws *jws)
{
    json_decref(jws->header);
    free(jws->payload);
    *jws = (struct jws){0};
}
