/*
 * jwks.c - see jwks.h.  From top to bottom: a key's material, a key, the set, and the use
 * of a set: choosing a key and verifying with it.
 */
#include "gateway/auth/jwks.h"

#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/program/file.h"
#include "base/text.h"

enum {
    SECRET_MIN = 32,
    SECRET_MAX = 1024,
    MODULUS_READ_MAX = 2048, /* above the limit, so that the error can state the size */
    RSA_BITS_MIN = 2048,     /* RFC 7518, 3.3 */
    RSA_BITS_MAX = 4096,
    P256_SIZE = 32, /* bytes of a coordinate, and of half a signature */
};
_Static_assert(JWKS_SIGNATURE_MAX == RSA_BITS_MAX / 8, "the longest signature");

enum jwks_alg { JWKS_EDDSA, JWKS_HS256, JWKS_RS256, JWKS_ES256 };

struct jwks_key {
    char kid[JWKS_KID_MAX + 1];
    enum jwks_alg alg;
    uint8_t *bytes; /* EdDSA: the public key; HS256: the secret; else NULL */
    size_t size;
    EVP_PKEY *pkey; /* RS256, ES256; else NULL */
};

struct jwks {
    size_t count;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

/* The requirements on a key for an algorithm. */
static const struct kind {
    const char *kty, *crv, *alg;
    const char *other_alg; /* another name of the algorithm, or NULL */
    bool secret;           /* else the key must not have a private part */
} KINDS[] = {
    [JWKS_EDDSA] = {"OKP", "Ed25519", "EdDSA", "Ed25519", false},
    [JWKS_HS256] = {"oct", NULL, "HS256", NULL, true},
    [JWKS_RS256] = {"RSA", NULL, "RS256", NULL, false},
    [JWKS_ES256] = {"EC", "P-256", "ES256", NULL, false},
};

enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

/* ---- members of a key ---- */

/* Text of a member, or "" when it is missing or not a string. */
static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* A member escaped for quotes in a log line; long ones are cut. */
struct shown {
    char text[JWKS_KID_MAX + 1];
};

static struct shown show(const json_t *json, const char *name)
{
    struct shown shown = {0};
    const char *text = member(json, name);

    for (size_t i = 0; i < sizeof shown.text - 1 && text[i] != '\0'; i++)
        shown.text[i] = text[i] > ' ' && text[i] < 0x7f && text[i] != '"' ? text[i] : '?';
    return shown;
}

/* A member of unpadded base64url; the caller frees *bytes, which is NULL on failure. */
static struct err decode(const json_t *json, const char *name, size_t least, size_t most,
                         uint8_t **bytes, size_t *size)
{
    const char *base64 = member(json, name);
    size_t room = strlen(base64) + 1;

    *bytes = malloc(room);
    if (*bytes == NULL)
        return err_memory();
    if (base64_decode(base64, strlen(base64), sodium_base64_VARIANT_URLSAFE_NO_PADDING,
                      *bytes, room, size) &&
        *size >= least && *size <= most)
        return ERR_NONE;
    free(*bytes);
    *bytes = NULL;
    if (least == most)
        return invalid("its %s is not %zu bytes of unpadded base64url", name, most);
    return invalid("its %s is not %zu to %zu bytes of unpadded base64url", name, least,
                   most);
}

/* ---- RSA and P-256 keys, made by libcrypto ---- */

/* Frees the parameters; `defect` is the error when libcrypto rejects them. */
static struct err make_pkey(const char *type, OSSL_PARAM *params, const char *defect,
                            EVP_PKEY **out)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    *out = NULL;
    if (params != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1)
        (void)EVP_PKEY_fromdata(context, out, EVP_PKEY_PUBLIC_KEY, params);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    if (*out != NULL)
        return ERR_NONE;
    ERR_clear_error();
    return invalid("%s", defect);
}

/* How many bits a number has whose first byte is not 0. */
static size_t count_bits(const uint8_t *number, size_t size)
{
    size_t bits = 8 * (size - 1);

    for (uint8_t first = number[0]; first != 0; first >>= 1)
        bits++;
    return bits;
}

static struct err check_rsa(const uint8_t *n, size_t n_size, const uint8_t *e,
                            size_t e_size)
{
    if (n_size == 0 || n[0] == 0) /* RFC 7518, 6.3.1.1 */
        return invalid("its n begins with a zero byte");
    size_t bits = count_bits(n, n_size);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return invalid("its n is of %zu bits, and %d to %d are allowed", bits,
                       RSA_BITS_MIN, RSA_BITS_MAX);
    if (n[n_size - 1] % 2 == 0)
        return invalid("its n is even");
    if (e_size < 1 || e_size > 4 || e[0] == 0 || e[e_size - 1] % 2 == 0 ||
        (e_size == 1 && e[0] < 3))
        return invalid("its e is not an odd number from 3 to 2^32");
    return ERR_NONE;
}

/* Both numbers are big-endian. */
static struct err make_rsa(const uint8_t *n, size_t n_size, const uint8_t *e,
                           size_t e_size, EVP_PKEY **out)
{
    struct err bad = check_rsa(n, n_size, e, e_size);

    if (failed(bad))
        return bad;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM *params = NULL;
    if (builder != NULL && modulus != NULL && exponent != NULL &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    OSSL_PARAM_BLD_free(builder);
    BN_free(modulus);
    BN_free(exponent);
    return make_pkey("RSA", params, "its n and e are no public key", out);
}

static struct err make_p256(const uint8_t x[P256_SIZE], const uint8_t y[P256_SIZE],
                            EVP_PKEY **out)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    uint8_t point[1 + 2 * P256_SIZE] = {4}; /* uncompressed */

    memcpy(point + 1, x, P256_SIZE);
    memcpy(point + 1 + P256_SIZE, y, P256_SIZE);
    if (builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256",
                                        0) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point,
                                         sizeof point) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    struct err e = make_pkey("EC", params, "its x and y are no point of P-256", out);
    OSSL_PARAM_BLD_free(builder);
    return e;
}

/* ---- one key ---- */

static struct err read_numbers(const json_t *json, struct jwks_key *key)
{
    const bool rsa = key->alg == JWKS_RS256;
    uint8_t *one = NULL, *two = NULL;
    size_t one_size, two_size;
    struct err e = rsa ? decode(json, "n", 1, MODULUS_READ_MAX, &one, &one_size)
                       : decode(json, "x", P256_SIZE, P256_SIZE, &one, &one_size);

    if (!failed(e))
        e = rsa ? decode(json, "e", 1, 4, &two, &two_size)
                : decode(json, "y", P256_SIZE, P256_SIZE, &two, &two_size);
    if (!failed(e))
        e = rsa ? make_rsa(one, one_size, two, two_size, &key->pkey)
                : make_p256(one, two, &key->pkey);
    free(one);
    free(two);
    return e;
}

static struct err read_ed25519(const json_t *json, struct jwks_key *key)
{
    struct err e = decode(json, "x", crypto_sign_PUBLICKEYBYTES,
                          crypto_sign_PUBLICKEYBYTES, &key->bytes, &key->size);

    if (!failed(e) && crypto_core_ed25519_is_valid_point(key->bytes) != 1)
        e = invalid("its x is no key of Ed25519");
    return e;
}

static struct err read_material(const json_t *json, struct jwks_key *key)
{
    switch (key->alg) {
    case JWKS_EDDSA:
        return read_ed25519(json, key);
    case JWKS_HS256:
        return decode(json, "k", SECRET_MIN, SECRET_MAX, &key->bytes, &key->size);
    case JWKS_RS256:
    case JWKS_ES256:
        break;
    }
    return read_numbers(json, key);
}

static bool names_alg(const char *text, enum jwks_alg alg)
{
    const struct kind *kind = &KINDS[alg];

    return strcmp(text, kind->alg) == 0 ||
           (kind->other_alg != NULL && strcmp(text, kind->other_alg) == 0);
}

static struct err find_alg(const json_t *json, enum jwks_alg *alg)
{
    const struct kind *kind;
    size_t i = 0;

    while (i < KIND_COUNT && strcmp(member(json, "kty"), KINDS[i].kty) != 0)
        i++;
    if (i == KIND_COUNT)
        return invalid("its kty '%s' is not OKP, oct, RSA or EC", show(json, "kty").text);
    kind = &KINDS[i];
    *alg = (enum jwks_alg)i;
    if (kind->crv != NULL && strcmp(member(json, "crv"), kind->crv) != 0)
        return invalid("its crv '%s' is not %s", show(json, "crv").text, kind->crv);
    if (json_object_get(json, "alg") != NULL && !names_alg(member(json, "alg"), *alg))
        return invalid("its alg '%s' is not %s", show(json, "alg").text, kind->alg);
    return ERR_NONE;
}

/* RFC 7517, 4.2 and 4.3: whether the key's owner allows this use. */
static struct err check_use(const json_t *json)
{
    const json_t *operations = json_object_get(json, "key_ops");
    bool verifies = operations == NULL;

    if (json_object_get(json, "use") != NULL && strcmp(member(json, "use"), "sig") != 0)
        return invalid("its use '%s' is not sig", show(json, "use").text);
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *one = json_string_value(json_array_get(operations, i));
        verifies = verifies || (one != NULL && strcmp(one, "verify") == 0);
    }
    return verifies ? ERR_NONE : invalid("its key_ops has no verify");
}

/* A private key that was published is no longer secret. */
static struct err check_public(const json_t *json, enum jwks_alg alg)
{
    static const char *const PRIVATE[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};

    for (size_t i = 0; !KINDS[alg].secret && i < sizeof PRIVATE / sizeof PRIVATE[0]; i++)
        if (json_object_get(json, PRIVATE[i]) != NULL)
            return invalid("it holds a private part (%s); publish the public part "
                           "only, of a new key",
                           PRIVATE[i]);
    return ERR_NONE;
}

static struct err read_kid(const json_t *json, char kid[JWKS_KID_MAX + 1])
{
    const json_t *value = json_object_get(json, "kid");
    const char *text = member(json, "kid");

    if (value == NULL || json_is_null(value))
        return invalid("it has no kid");
    if (!visible_ascii(text, 1, JWKS_KID_MAX))
        return invalid("its kid is not 1 to %d visible ASCII characters", JWKS_KID_MAX);
    memcpy(kid, text, strlen(text) + 1);
    return ERR_NONE;
}

/* INVALID_ARGUMENT: the key is unusable.  Call key_clear in any case. */
static struct err read_key(const json_t *json, struct jwks_key *key)
{
    if (!json_is_object(json))
        return invalid("it is not a JSON object");
    struct err e = find_alg(json, &key->alg);
    if (!failed(e))
        e = check_use(json);
    if (!failed(e))
        e = check_public(json, key->alg);
    if (!failed(e))
        e = read_kid(json, key->kid);
    return failed(e) ? e : read_material(json, key);
}

static void key_clear(struct jwks_key *key)
{
    if (key->bytes != NULL)
        sodium_memzero(key->bytes, key->size);
    free(key->bytes);
    EVP_PKEY_free(key->pkey);
    *key = (struct jwks_key){0};
}

/* ---- the set ---- */

/* The ignored keys, as far as one log line has room. */
struct ignored {
    size_t count, left_off; /* left_off: of count, those not in the text */
    char text[1400];
};

static void add_ignored(struct ignored *ignored, size_t index, const json_t *json,
                        const char *reason)
{
    char one[JWKS_KID_MAX + sizeof((struct err *)NULL)->message + 64];
    struct shown kid = show(json, "kid");
    size_t used = strlen(ignored->text);
    int size = snprintf(one, sizeof one, "%skey %zu%s%s: %s", used > 0 ? "; " : "",
                        index + 1, kid.text[0] != '\0' ? " kid=" : "", kid.text, reason);

    ignored->count++;
    if ((size_t)size < sizeof ignored->text - used)
        memcpy(ignored->text + used, one, (size_t)size + 1);
    else
        ignored->left_off++;
}

static void log_ignored(const struct ignored *ignored, const char *name)
{
    char more[40] = "";

    if (ignored->left_off > 0)
        snprintf(more, sizeof more, "; and %zu more", ignored->left_off);
    if (ignored->count > 0)
        log_line(LOG_WARN, "key_ignored", "from=%.200s ignored=%zu keys=\"%s%s\"", name,
                 ignored->count, ignored->text, more);
}

/* Whether the set has room for a usable key. */
static struct err check_place(const struct jwks *jwks, const struct jwks_key *key)
{
    for (size_t i = 0; i < jwks->count; i++)
        if (jwks->keys[i].alg == key->alg && strcmp(jwks->keys[i].kid, key->kid) == 0)
            return invalid("an earlier key has its kid and alg");
    if (jwks->count == JWKS_KEYS_MAX)
        return invalid("only the first %d usable keys are kept", JWKS_KEYS_MAX);
    return ERR_NONE;
}

/* RESOURCE_EXHAUSTED ends the reading, because it says nothing about the key. */
static struct err add_keys(struct jwks *jwks, const json_t *keys, struct ignored *ignored)
{
    for (size_t i = 0; i < json_array_size(keys); i++) {
        const json_t *json = json_array_get(keys, i);
        struct jwks_key key = {0};
        struct err e = read_key(json, &key);
        if (!failed(e))
            e = check_place(jwks, &key);
        if (!failed(e)) {
            jwks->keys[jwks->count++] = key;
            continue;
        }
        key_clear(&key);
        if (e.code == ERR_RESOURCE_EXHAUSTED)
            return e;
        add_ignored(ignored, i, json, e.message);
    }
    return ERR_NONE;
}

static struct err fill(struct jwks *jwks, const json_t *json, const char *name)
{
    const json_t *keys = json_object_get(json, "keys");
    struct ignored ignored = {0};

    if (!json_is_array(keys))
        return invalid("%s has no array \"keys\"", name);
    struct err e = add_keys(jwks, keys, &ignored);
    log_ignored(&ignored, name);
    if (!failed(e) && jwks->count == 0)
        e = invalid("%s has no key that tokens can be verified with; %zu were ignored",
                    name, ignored.count);
    return e;
}

struct err jwks_parse(const char *bytes, size_t size, const char *name, struct jwks **out)
{
    json_t *json;
    struct err e = json_parse(bytes, size, &json);

    *out = NULL;
    if (e.code == ERR_INVALID_ARGUMENT)
        e = err_make(e.code, "the keys of %s are %s", name, e.message);
    if (failed(e))
        return e;
    struct jwks *jwks = calloc(1, sizeof *jwks);
    e = jwks == NULL ? err_memory() : fill(jwks, json, name);
    json_decref(json);
    if (failed(e))
        jwks_free(jwks);
    else
        *out = jwks;
    return e;
}

struct err jwks_read(const char *path, struct jwks **out)
{
    char *bytes;
    size_t size;
    struct err e = file_load(path, JWKS_BYTES_MAX, &bytes, &size);

    *out = NULL;
    if (failed(e))
        return e;
    e = jwks_parse(bytes, size, path, out);
    sodium_memzero(bytes, size); /* it may hold secrets of HS256 */
    free(bytes);
    return e;
}

void jwks_free(struct jwks *jwks)
{
    if (jwks == NULL)
        return;
    for (size_t i = 0; i < jwks->count; i++)
        key_clear(&jwks->keys[i]);
    free(jwks);
}

size_t jwks_count(const struct jwks *jwks)
{
    return jwks->count;
}

/* ---- choosing and verifying ---- */

struct err jwks_choose(const struct jwks *jwks, const char *kid, const char *alg,
                       const struct jwks_key **out)
{
    const struct jwks_key *found = NULL;
    size_t named = 0, fitting = 0;

    *out = NULL;
    for (size_t i = 0; jwks != NULL && i < jwks->count; i++) {
        const struct jwks_key *key = &jwks->keys[i];
        if (kid != NULL && strcmp(key->kid, kid) != 0)
            continue;
        named++;
        if (alg == NULL || !names_alg(alg, key->alg))
            continue;
        fitting++;
        found = key;
    }
    if (kid != NULL && named == 0)
        return err_make(ERR_UNAUTHENTICATED, "the kid names no key of ours");
    if (fitting == 0)
        return err_make(ERR_UNAUTHENTICATED, "the alg is not that of %s",
                        kid != NULL ? "the key that the kid names" : "any key of ours");
    if (fitting > 1) /* then there is no kid: kid and alg together are unique */
        return err_make(ERR_UNAUTHENTICATED, "no kid, and %zu keys of ours fit the alg",
                        fitting);
    *out = found;
    return ERR_NONE;
}

static bool verify_hmac(const struct jwks_key *key, const char *bytes, size_t size,
                        const uint8_t *signature, size_t signature_size)
{
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, key->bytes, key->size);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)bytes, size);
    crypto_auth_hmacsha256_final(&state, mac);
    return signature_size == sizeof mac && sodium_memcmp(mac, signature, sizeof mac) == 0;
}

static bool verify_sha256(EVP_PKEY *pkey, const char *bytes, size_t size,
                          const uint8_t *signature, size_t signature_size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, pkey) == 1 &&
                EVP_DigestVerify(context, signature, signature_size,
                                 (const unsigned char *)bytes, size) == 1;

    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

/* JWS writes r and s one after the other (RFC 7518, 3.4); libcrypto needs them in DER.
 * Returns the length, or 0; the caller frees *der with OPENSSL_free. */
static size_t to_der(const uint8_t *signature, unsigned char **der)
{
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(signature, P256_SIZE, NULL);
    BIGNUM *s = BN_bin2bn(signature + P256_SIZE, P256_SIZE, NULL);
    int size = 0;

    *der = NULL;
    if (pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        size = i2d_ECDSA_SIG(pair, der);
    }
    ECDSA_SIG_free(pair);
    return size > 0 ? (size_t)size : 0;
}

static bool verify_p256(EVP_PKEY *pkey, const char *bytes, size_t size,
                        const uint8_t *signature, size_t signature_size)
{
    unsigned char *der;

    if (signature_size != 2 * P256_SIZE)
        return false;
    size_t der_size = to_der(signature, &der);
    bool good = der_size > 0 && verify_sha256(pkey, bytes, size, der, der_size);
    OPENSSL_free(der);
    return good;
}

bool jwks_verify(const struct jwks_key *key, const char *bytes, size_t size,
                 const uint8_t *signature, size_t signature_size)
{
    switch (key->alg) {
    case JWKS_EDDSA:
        return signature_size == crypto_sign_BYTES &&
               crypto_sign_verify_detached(signature, (const unsigned char *)bytes, size,
                                           key->bytes) == 0;
    case JWKS_HS256:
        return verify_hmac(key, bytes, size, signature, signature_size);
    case JWKS_RS256:
        return signature_size == (size_t)EVP_PKEY_get_size(key->pkey) &&
               verify_sha256(key->pkey, bytes, size, signature, signature_size);
    case JWKS_ES256:
        break;
    }
    return verify_p256(key->pkey, bytes, size, signature, signature_size);
}
