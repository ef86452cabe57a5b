/* jwks.c - see jwks.h. */
#include "gateway/jwks.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/file.h"
#include "gateway/signature.h"

enum { SECRET_MIN = 32, SECRET_MAX = 1024 };

struct jwks {
    size_t count;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

/* What a key must be to serve an algorithm, and the member a private one would have. */
static const struct kind {
    const char *kty, *crv, *alg, *private_member;
    enum jwks_alg which;
} KINDS[] = {
    {"OKP", "Ed25519", "EdDSA", "d", JWKS_EDDSA},
    {"oct", NULL, "HS256", NULL, JWKS_HS256},
    {"RSA", NULL, "RS256", "d", JWKS_RS256},
    {"EC", "P-256", "ES256", "d", JWKS_ES256},
};

const char *jwks_alg_name(enum jwks_alg alg)
{
    return KINDS[alg].alg;
}

size_t jwks_count(const struct jwks *jwks)
{
    return jwks->count;
}

const struct jwks_key *jwks_find(const struct jwks *jwks, const char *kid)
{
    for (size_t i = 0; i < jwks->count; i++)
        if (strcmp(jwks->keys[i].kid, kid) == 0)
            return &jwks->keys[i];
    return NULL;
}

void jwks_free(struct jwks *jwks)
{
    if (jwks == NULL)
        return;
    for (size_t i = 0; i < jwks->count; i++) {
        if (jwks->keys[i].bytes != NULL)
            sodium_memzero(jwks->keys[i].bytes, jwks->keys[i].size);
        free(jwks->keys[i].bytes);
        public_key_free(jwks->keys[i].public_key);
    }
    free(jwks);
}

/* Text of a member, or "" when it is missing or not a string. */
static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* A member of unpadded base64url; *bytes is the caller's to free, NULL when failed. */
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
    return err_make(ERR_INVALID_ARGUMENT,
                    "its %s is not %zu to %zu bytes of unpadded base64url", name, least,
                    most);
}

/* RSA and EC: two numbers, of which libcrypto makes a key. */
static struct err read_numbers(const json_t *json, struct jwks_key *key)
{
    const bool rsa = key->alg == JWKS_RS256;
    uint8_t *one = NULL, *two = NULL;
    size_t one_size, two_size;
    struct err e =
        rsa ? decode(json, "n", RSA_MODULUS_MIN, RSA_MODULUS_MAX, &one, &one_size)
            : decode(json, "x", P256_SIZE, P256_SIZE, &one, &one_size);

    if (!failed(e))
        e = rsa ? decode(json, "e", 1, 4, &two, &two_size)
                : decode(json, "y", P256_SIZE, P256_SIZE, &two, &two_size);
    if (!failed(e))
        e = rsa ? public_key_rsa(one, one_size, two, two_size, &key->public_key)
                : public_key_p256(one, two, &key->public_key);
    free(one);
    free(two);
    return e;
}

static struct err read_material(const json_t *json, struct jwks_key *key)
{
    switch (key->alg) {
    case JWKS_EDDSA:
        return decode(json, "x", crypto_sign_PUBLICKEYBYTES, crypto_sign_PUBLICKEYBYTES,
                      &key->bytes, &key->size);
    case JWKS_HS256:
        return decode(json, "k", SECRET_MIN, SECRET_MAX, &key->bytes, &key->size);
    case JWKS_RS256:
    case JWKS_ES256:
        break;
    }
    return read_numbers(json, key);
}

/* NULL for a key we do not verify with. */
static const struct kind *kind_of(const json_t *json)
{
    const json_t *use = json_object_get(json, "use");

    if (use != NULL && strcmp(member(json, "use"), "sig") != 0)
        return NULL;
    for (size_t i = 0; i < sizeof KINDS / sizeof KINDS[0]; i++) {
        const struct kind *k = &KINDS[i];
        if (strcmp(member(json, "kty"), k->kty) != 0 ||
            (k->crv != NULL && strcmp(member(json, "crv"), k->crv) != 0))
            continue;
        /* RSA keys serve many algorithms, and issuers publish them all in one document.
         */
        bool other = k->which == JWKS_RS256 && json_object_get(json, "alg") != NULL &&
                     strcmp(member(json, "alg"), k->alg) != 0;
        return other ? NULL : k;
    }
    return NULL;
}

/* Fills `key` from JSON; *known is false for a key we do not verify with. */
static struct err read_key(const json_t *json, struct jwks_key *key, bool *known)
{
    const struct kind *kind = kind_of(json);
    const char *kid = member(json, "kid");

    *known = kind != NULL;
    if (kind == NULL)
        return ERR_NONE;
    if (!visible_ascii(kid, 1, JWKS_KID_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "its kid is not 1 to %d visible ASCII characters", JWKS_KID_MAX);
    memcpy(key->kid, kid, strlen(kid) + 1);
    key->alg = kind->which;
    if (json_object_get(json, "alg") != NULL &&
        strcmp(member(json, "alg"), kind->alg) != 0)
        return err_make(ERR_INVALID_ARGUMENT, "its alg is not %s, which its kty asks for",
                        kind->alg);
    if (kind->private_member != NULL &&
        json_object_get(json, kind->private_member) != NULL)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "it holds a private part (%s); give the gateway the public part only",
            kind->private_member);
    return read_material(json, key);
}

static struct err add_key(struct jwks *jwks, const json_t *json, const char *path,
                          size_t index)
{
    struct jwks_key *key = &jwks->keys[jwks->count];
    bool known;

    if (jwks->count == JWKS_KEYS_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s has more than %d keys", path,
                        JWKS_KEYS_MAX);
    struct err e = read_key(json, key, &known);
    if (failed(e))
        return err_make(ERR_INVALID_ARGUMENT, "%s: key %zu cannot be used: %s", path,
                        index + 1, e.message);
    if (!known) {
        log_info("key_passed_over", "from=%s key=%zu reason=\"not for us\"", path,
                 index + 1);
        return ERR_NONE;
    }
    bool twice = jwks_find(jwks, key->kid) != NULL;
    jwks->count++;
    return twice ? err_make(ERR_INVALID_ARGUMENT, "%s: two keys have the kid \"%s\"",
                            path, key->kid)
                 : ERR_NONE;
}

static struct err fill(struct jwks *jwks, const json_t *json, const char *path)
{
    const json_t *keys = json_object_get(json, "keys");
    struct err e = ERR_NONE;

    if (!json_is_array(keys))
        return err_make(ERR_INVALID_ARGUMENT, "%s has no array \"keys\"", path);
    for (size_t i = 0; !failed(e) && i < json_array_size(keys); i++)
        e = add_key(jwks, json_array_get(keys, i), path, i);
    if (!failed(e) && jwks->count == 0)
        e = err_make(ERR_INVALID_ARGUMENT,
                     "%s has no key we can verify with (Ed25519, oct, RSA, P-256)", path);
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
    struct err e = file_read(path, JWKS_BYTES_MAX, &bytes, &size);

    *out = NULL;
    if (failed(e))
        return e;
    e = jwks_parse(bytes, size, path, out);
    sodium_memzero(bytes, size); /* it may hold secrets of HS256 */
    free(bytes);
    return e;
}
