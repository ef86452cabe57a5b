/*
 * jwt_check.c - see jwt_check.h.
 *
 * Everything in a token is foreign, also after its signature was found good.
 */
#include "gateway/jwt_check.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "base/base64.h"
#include "base/json.h"
#include "gateway/jwks.h"
#include "gateway/jwt.h"
#include "gateway/signature.h"

/* Past it a time is nonsense: the year 10000. */
static const int64_t TIME_MAX = 253402300800;

/* A token's three parts, and the first two decoded. */
struct parts {
    const char *token;
    size_t signed_size; /* header '.' payload */
    json_t *header, *claims;
    uint8_t signature[SIGNATURE_MAX];
    size_t signature_size;
};

#define refuse(...) err_make(ERR_UNAUTHENTICATED, __VA_ARGS__)

/* Strict base64url: no padding, no white space, no stray bits. */
static bool decode(const char *text, size_t size, uint8_t *out, size_t room,
                   size_t *out_size)
{
    return size > 0 && base64_decode(text, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                                     out, room, out_size);
}

static struct err decode_json(const char *text, size_t size, json_t **out)
{
    uint8_t bytes[JWT_TOKEN_MAX];
    size_t length;
    struct err e = ERR_NONE;

    if (decode(text, size, bytes, sizeof bytes, &length))
        e = json_parse((const char *)bytes, length, out);
    if (e.code == ERR_RESOURCE_EXHAUSTED || json_is_object(*out))
        return e;
    return refuse("the header or the claims are not base64url of a JSON object");
}

static struct err split(const char *token, size_t size, struct parts *parts)
{
    if (size > JWT_TOKEN_MAX)
        return refuse("the token is longer than %d bytes", JWT_TOKEN_MAX);
    const char *end = token + size;
    const char *dot = memchr(token, '.', size);
    const char *dot2 = dot == NULL ? NULL : memchr(dot + 1, '.', (size_t)(end - dot - 1));
    if (dot2 == NULL || memchr(dot2 + 1, '.', (size_t)(end - dot2 - 1)) != NULL)
        return refuse("the token has not three parts");
    parts->token = token;
    parts->signed_size = (size_t)(dot2 - token);
    if (!decode(dot2 + 1, (size_t)(end - dot2 - 1), parts->signature,
                sizeof parts->signature, &parts->signature_size))
        return refuse("the signature is not base64url of at most %d bytes",
                      SIGNATURE_MAX);
    struct err e = decode_json(token, (size_t)(dot - token), &parts->header);
    return failed(e) ? e : decode_json(dot + 1, (size_t)(dot2 - dot - 1), &parts->claims);
}

/* The key the header names, if the header is one we accept. */
static struct err choose_key(const struct jwt_rules *rules, const json_t *header,
                             const struct jwks_key **out)
{
    static const char *const BARRED[] = {"crit", "b64", "jwk", "jku",
                                         "x5u",  "x5c", "zip", "enc"};
    const char *alg = json_string_value(json_object_get(header, "alg"));
    const char *kid = json_string_value(json_object_get(header, "kid"));
    const json_t *typ = json_object_get(header, "typ");

    for (size_t i = 0; i < sizeof BARRED / sizeof BARRED[0]; i++)
        if (json_object_get(header, BARRED[i]) != NULL)
            return refuse("the header has %s", BARRED[i]);
    if (typ != NULL &&
        (!json_is_string(typ) || (strcasecmp(json_string_value(typ), "JWT") != 0 &&
                                  strcasecmp(json_string_value(typ), "at+jwt") != 0)))
        return refuse("the header's typ is not JWT");
    if (kid == NULL)
        return refuse("the header has no kid");
    *out = rules->keys == NULL ? NULL : jwks_find(rules->keys, kid);
    if (*out == NULL)
        return refuse("the kid names no key of ours");
    if (alg == NULL || strcmp(alg, jwks_alg_name((*out)->alg)) != 0)
        return refuse("the alg is not %s, the key's", jwks_alg_name((*out)->alg));
    return ERR_NONE;
}

static bool hmac_good(const struct parts *parts, const struct jwks_key *key)
{
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key->bytes, key->size);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)parts->token,
                                  parts->signed_size);
    crypto_auth_hmacsha256_final(&state, mac);
    return parts->signature_size == sizeof mac &&
           sodium_memcmp(mac, parts->signature, sizeof mac) == 0;
}

static bool signature_good(const struct parts *parts, const struct jwks_key *key)
{
    const unsigned char *bytes = (const unsigned char *)parts->token;

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

/* A NumericDate: an exact, sensible integer, or missing when that is allowed (then 0). */
static struct err read_time(const json_t *claims, const char *name, bool required,
                            int64_t *out)
{
    const json_t *value = json_object_get(claims, name);

    *out = 0;
    if (value == NULL)
        return required ? refuse("%s is missing", name) : ERR_NONE;
    if (json_is_integer(value))
        *out = json_integer_value(value);
    if (!json_is_integer(value) || *out < 0 || *out >= TIME_MAX)
        return refuse("%s is not a time in whole seconds", name);
    return ERR_NONE;
}

static struct err check_times(const json_t *claims, int64_t now_s, struct jwt_claims *out)
{
    int64_t expires, not_before, issued;
    struct err e = read_time(claims, "exp", true, &expires);

    if (!failed(e))
        e = read_time(claims, "nbf", false, &not_before);
    if (!failed(e))
        e = read_time(claims, "iat", false, &issued);
    if (failed(e))
        return e;
    out->until_s = expires + JWT_SKEW_S;
    out->from_s = (not_before > issued ? not_before : issued) - JWT_SKEW_S;
    if (now_s >= out->until_s)
        return refuse("the token has expired");
    if (now_s < out->from_s)
        return refuse("the token is not valid yet");
    return ERR_NONE;
}

static bool equals(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool audience_good(const json_t *aud, const char *audience)
{
    bool found = false;

    if (!json_is_array(aud))
        return equals(aud, audience);
    for (size_t i = 0; i < json_array_size(aud); i++) {
        if (!json_is_string(json_array_get(aud, i)))
            return false;
        found = found || equals(json_array_get(aud, i), audience);
    }
    return found;
}

static struct err check_claims(const struct jwt_rules *rules, const json_t *claims,
                               int64_t now_s, struct jwt_claims *out)
{
    const char *sub = json_string_value(json_object_get(claims, "sub"));

    if (!equals(json_object_get(claims, "iss"), rules->issuer))
        return refuse("iss is not our issuer");
    if (!audience_good(json_object_get(claims, "aud"), rules->audience))
        return refuse("aud does not name us");
    if (sub == NULL || !uuid_valid(sub))
        return refuse("sub is not a UUID in lower case");
    memcpy(out->user, sub, sizeof out->user);
    return check_times(claims, now_s, out);
}

struct err jwt_check(const char *token, size_t size, const struct jwt_rules *rules,
                     int64_t now_s, struct jwt_claims *out)
{
    struct parts parts = {0};
    const struct jwks_key *key = NULL;
    struct err e = split(token, size, &parts);

    if (!failed(e))
        e = choose_key(rules, parts.header, &key);
    if (!failed(e) && !signature_good(&parts, key))
        e = refuse("the signature is wrong");
    if (!failed(e))
        e = check_claims(rules, parts.claims, now_s, out);
    json_decref(parts.header);
    json_decref(parts.claims);
    return e;
}
