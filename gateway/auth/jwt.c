/* jwt.c - see jwt.h.  Everything in a token is foreign input, also behind a good
 * signature. */
#include "gateway/auth/jwt.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/json.h"
#include "base/text.h"
#include "gateway/auth/jwks.h"

enum {
    WAYS = 4, /* places a token may be remembered in */
    /* SipHash of 128 bits under a random key: without the key nobody can make a token
     * that passes for a remembered one, and it costs half of a BLAKE2b. */
    HASH_SIZE = crypto_shorthash_siphashx24_BYTES,
    CLAIM_MAX = 128, /* bytes of user_claim */
    UUID_SIZE = 16,
    UUID_VERSION_AT = 14, /* index of the version's character */
    SHA1_SIZE = 20,
};

/* Times from the year 10000 on are refused. */
static const int64_t TIME_MAX = 253402300800;

#define refuse(...)  err_make(ERR_UNAUTHENTICATED, __VA_ARGS__)
#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

/* Which claim names the user, and how a name becomes an id. */
struct user_rule {
    char claim[CLAIM_MAX + 1];
    bool mapped; /* there is a namespace */
    uint8_t namespace[UUID_SIZE];
};

/* What a good token says. */
struct claims {
    int64_t from_s, until_s; /* valid from, and before; until_s > 0 */
    char user[UUID_LENGTH + 1];
};

struct remembered {
    uint8_t hash[HASH_SIZE];
    struct claims claims; /* until_s 0: the place is free */
};

struct jwt {
    struct jwks *jwks;           /* NULL: none yet */
    _Atomic(struct jwks *) next; /* to be used from the next token on; NULL: none */
    uint8_t key[crypto_shorthash_siphashx24_KEYBYTES]; /* of the hashes */
    char *issuer;
    char *audience;
    struct user_rule rule;
    size_t token_max;
    size_t sets; /* a power of two */
    struct remembered *table;
};

/* ---- the signed text ---- */

/* The three parts, still encoded but for the signature. */
struct parts {
    const char *text;
    size_t header_size, payload_at, payload_size;
    size_t signed_size; /* header '.' payload */
    uint8_t signature[JWKS_SIGNATURE_MAX];
    size_t signature_size;
};

static bool decode(const char *text, size_t size, void *out, size_t room,
                   size_t *out_size)
{
    return size > 0 && base64_decode(text, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                                     out, room, out_size);
}

/* The caller frees *bytes, which is NULL on failure. */
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
                      JWKS_SIGNATURE_MAX);
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

static struct err check_signature(const struct parts *parts, const struct jwks *keys,
                                  const json_t *header)
{
    const struct jwks_key *key;
    struct err e = jwks_choose(keys, json_string_value(json_object_get(header, "kid")),
                               json_string_value(json_object_get(header, "alg")), &key);

    if (!failed(e) && !jwks_verify(key, parts->text, parts->signed_size, parts->signature,
                                   parts->signature_size))
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

/* ---- the user ---- */

static struct err make_rule(const char *claim, const char *namespace,
                            struct user_rule *out)
{
    *out = (struct user_rule){.mapped = namespace[0] != '\0'};
    if (!visible_ascii(claim, 1, CLAIM_MAX))
        return invalid("user_claim is \"%.100s\"; write the name of a claim, 1 to %d "
                       "visible ASCII characters",
                       claim, CLAIM_MAX);
    memcpy(out->claim, claim, strlen(claim) + 1);
    if (!out->mapped)
        return ERR_NONE;
    if (!uuid_valid(namespace))
        return invalid("user_namespace is \"%.100s\"; write a UUID in lower case, or "
                       "nothing",
                       namespace);
    return sodium_hex2bin(out->namespace, UUID_SIZE, namespace, UUID_LENGTH, "-", NULL,
                          NULL) == 0
               ? ERR_NONE
               : invalid("user_namespace is no UUID");
}

/* RFC 9562, 5.5. */
static struct err make_uuid5(const uint8_t namespace[UUID_SIZE], const char *name,
                             size_t size, char out[UUID_LENGTH + 1])
{
    uint8_t b[SHA1_SIZE];
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha1(), NULL) == 1 &&
                EVP_DigestUpdate(context, namespace, UUID_SIZE) == 1 &&
                EVP_DigestUpdate(context, name, size) == 1 &&
                EVP_DigestFinal_ex(context, b, NULL) == 1;

    EVP_MD_CTX_free(context);
    if (!good)
        return err_memory();
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x50);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(out, UUID_LENGTH + 1,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12],
             b[13], b[14], b[15]);
    return ERR_NONE;
}

/* OpenID Connect Core, 5.7: only a verified e-mail address identifies a user. */
static bool is_unverified_email(const struct user_rule *rule, const json_t *claims)
{
    return strcmp(rule->claim, "email") == 0 &&
           !json_is_true(json_object_get(claims, "email_verified"));
}

static struct err find_user(const struct user_rule *rule, const json_t *claims,
                            char user[UUID_LENGTH + 1])
{
    const json_t *value = json_object_get(claims, rule->claim);
    const char *name = json_string_value(value);

    if (name == NULL || name[0] == '\0')
        return refuse("%s is missing, empty or not a string", rule->claim);
    if (is_unverified_email(rule, claims))
        return refuse("email names no user unless email_verified is true");
    if (!uuid_valid(name))
        return rule->mapped
                   ? make_uuid5(rule->namespace, name, json_string_length(value), user)
                   : refuse("%s is not a UUID in lower case, and there is no "
                            "user_namespace to make one",
                            rule->claim);
    if (rule->mapped && name[UUID_VERSION_AT] == '5')
        return refuse("%s is a UUID of version 5, as user_namespace makes of other names",
                      rule->claim);
    memcpy(user, name, UUID_LENGTH + 1);
    return ERR_NONE;
}

/* ---- the claims ---- */

/* RFC 7515, 4.1.9: a media type, of which "application/" may be left out. */
static struct err check_type(const json_t *header)
{
    static const char PREFIX[] = "application/";
    const json_t *typ = json_object_get(header, "typ");
    const char *type = json_string_value(typ);

    if (typ == NULL)
        return ERR_NONE;
    if (type != NULL && strncasecmp(type, PREFIX, sizeof PREFIX - 1) == 0)
        type += sizeof PREFIX - 1;
    if (type != NULL && (strcasecmp(type, "JWT") == 0 || strcasecmp(type, "at+jwt") == 0))
        return ERR_NONE;
    return refuse("the header's typ is not JWT or at+jwt");
}

/* A NumericDate (RFC 7519, 2), rounded up or down to a second.  The JSON parser has
 * refused numbers beyond 64 bits. */
static struct err read_time(const json_t *claims, const char *name, bool up, int64_t *out)
{
    const json_t *value = json_object_get(claims, name);
    double seconds = json_number_value(value);

    if (!json_is_number(value) || !(seconds >= 0 && seconds < (double)TIME_MAX))
        return refuse("%s is missing or not a number of seconds from 0 to below %lld",
                      name, (long long)TIME_MAX);
    *out = (int64_t)seconds;
    if (up && (double)*out < seconds)
        *out += 1;
    return ERR_NONE;
}

static struct err check_times(const json_t *claims, int64_t now_s, struct claims *out)
{
    int64_t expires, not_before = 0, issued = 0;
    struct err e = read_time(claims, "exp", false, &expires);

    if (!failed(e) && json_object_get(claims, "nbf") != NULL)
        e = read_time(claims, "nbf", true, &not_before);
    if (!failed(e) && json_object_get(claims, "iat") != NULL)
        e = read_time(claims, "iat", true, &issued);
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

static struct err check_claims(const struct jwt *jwt, const json_t *claims, int64_t now_s,
                               struct claims *out)
{
    if (!equals(json_object_get(claims, "iss"), jwt->issuer))
        return refuse("iss is not our issuer");
    if (!audience_good(json_object_get(claims, "aud"), jwt->audience))
        return refuse("aud does not name us");
    struct err e = check_times(claims, now_s, out);
    return failed(e) ? e : find_user(&jwt->rule, claims, out->user);
}

static struct err check_payload(const struct jws *jws, const struct jwt *jwt,
                                int64_t now_s, struct claims *out)
{
    json_t *claims;
    struct err e = json_parse(jws->payload, jws->payload_size, &claims);

    if (e.code == ERR_INVALID_ARGUMENT || (!failed(e) && !json_is_object(claims)))
        e = refuse("the claims are not a JSON object, or hold a number beyond 64 bits");
    if (!failed(e))
        e = check_claims(jwt, claims, now_s, out);
    json_decref(claims);
    return e;
}

static struct err check(const struct jwt *jwt, const char *token, size_t size,
                        int64_t now_s, struct claims *out)
{
    struct jws jws;
    struct err e = jws_verify(token, size, jwt->jwks, &jws);

    if (failed(e))
        return e;
    e = check_type(jws.header);
    if (!failed(e))
        e = check_payload(&jws, jwt, now_s, out);
    jws_clear(&jws);
    return e;
}

/* ---- the verifier ---- */

struct err jwt_open(const struct jwt_config *config, struct jwt **out)
{
    struct jwt *jwt = calloc(1, sizeof *jwt);

    *out = NULL;
    if (jwt == NULL)
        return err_memory();
    randombytes_buf(jwt->key, sizeof jwt->key);
    for (jwt->sets = 1; jwt->sets * WAYS < config->remembered_max;)
        jwt->sets *= 2;
    jwt->table = calloc(jwt->sets * WAYS, sizeof *jwt->table);
    jwt->issuer = strdup(config->issuer);
    jwt->audience = strdup(config->audience);
    jwt->token_max = config->token_max > 0 ? config->token_max : JWT_TOKEN_MAX;
    struct err e = make_rule(config->user_claim != NULL ? config->user_claim : "sub",
                             config->user_namespace != NULL ? config->user_namespace : "",
                             &jwt->rule);
    if (jwt->table == NULL || jwt->issuer == NULL || jwt->audience == NULL)
        e = err_memory();
    if (!failed(e) && config->jwks_file != NULL)
        e = jwks_read(config->jwks_file, &jwt->jwks);
    if (failed(e))
        jwt_close(jwt);
    else
        *out = jwt;
    return e;
}

void jwt_close(struct jwt *jwt)
{
    if (jwt == NULL)
        return;
    jwks_free(jwt->jwks);
    jwks_free(atomic_load(&jwt->next));
    free(jwt->table);
    free(jwt->issuer);
    free(jwt->audience);
    free(jwt);
}

void jwt_renew(struct jwt *jwt, struct jwks *keys)
{
    jwks_free(atomic_exchange(&jwt->next, keys));
}

static void use_next_keys(struct jwt *jwt)
{
    struct jwks *keys = atomic_exchange(&jwt->next, NULL);

    if (keys == NULL)
        return;
    jwks_free(jwt->jwks);
    jwt->jwks = keys;
    memset(jwt->table, 0, jwt->sets * WAYS * sizeof *jwt->table);
}

/* The token's entry, or else the entry of its set that expires first. */
static struct remembered *place_for(struct jwt *jwt, const uint8_t hash[HASH_SIZE])
{
    uint64_t index;

    memcpy(&index, hash, sizeof index);
    struct remembered *set = &jwt->table[(index & (jwt->sets - 1)) * WAYS];
    struct remembered *first = set;
    for (int i = 0; i < WAYS; i++) {
        if (set[i].claims.until_s != 0 && memcmp(set[i].hash, hash, HASH_SIZE) == 0)
            return &set[i];
        if (set[i].claims.until_s < first->claims.until_s)
            first = &set[i];
    }
    return first;
}

struct err jwt_verify(struct jwt *jwt, const char *token, size_t size, int64_t now_s,
                      char user[UUID_LENGTH + 1])
{
    struct remembered made = {0};

    use_next_keys(jwt);
    if (size > jwt->token_max)
        return err_make(ERR_UNAUTHENTICATED, "the token is longer than %zu bytes",
                        jwt->token_max);
    crypto_shorthash_siphashx24(made.hash, (const unsigned char *)token, size, jwt->key);
    struct remembered *place = place_for(jwt, made.hash);
    bool known =
        place->claims.until_s != 0 && memcmp(place->hash, made.hash, HASH_SIZE) == 0;
    if (!known || now_s < place->claims.from_s || now_s >= place->claims.until_s) {
        struct err e = check(jwt, token, size, now_s, &made.claims);
        if (failed(e))
            return e;
        *place = made;
    }
    memcpy(user, place->claims.user, sizeof place->claims.user);
    return ERR_NONE;
}
