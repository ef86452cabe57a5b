/* jwks.c - see jwks.h. */
#include "gateway/jwks.h"

#include <jansson.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/json.h"
#include "base/log.h"
#include "base/program/file.h"
#include "base/text.h"
#include "gateway/signature.h"

/* A modulus is read beyond its limit, so that its size can be told. */
enum { SECRET_MIN = 32, SECRET_MAX = 1024, MODULUS_READ_MAX = 2048 };

struct jwks {
    size_t count;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

/* What a key must be to serve an algorithm. */
static const struct kind {
    const char *kty, *crv, *alg;
    const char *other_alg; /* another name of the same, or NULL */
    bool secret;           /* else a private part must not be in it */
} KINDS[] = {
    [JWKS_EDDSA] = {"OKP", "Ed25519", "EdDSA", "Ed25519", false},
    [JWKS_HS256] = {"oct", NULL, "HS256", NULL, true},
    [JWKS_RS256] = {"RSA", NULL, "RS256", NULL, false},
    [JWKS_ES256] = {"EC", "P-256", "ES256", NULL, false},
};

enum { KIND_COUNT = sizeof KINDS / sizeof KINDS[0] };

/* The keys that were passed over, as one log line has room for them. */
struct passed_over {
    size_t count, left_off; /* left_off: of count, those not in the text */
    char text[1400];
};

size_t jwks_count(const struct jwks *jwks)
{
    return jwks->count;
}

static bool names_alg(const char *text, enum jwks_alg alg)
{
    const struct kind *kind = &KINDS[alg];

    return strcmp(text, kind->alg) == 0 ||
           (kind->other_alg != NULL && strcmp(text, kind->other_alg) == 0);
}

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

static void key_clear(struct jwks_key *key)
{
    if (key->bytes != NULL)
        sodium_memzero(key->bytes, key->size);
    free(key->bytes);
    public_key_free(key->public_key);
    *key = (struct jwks_key){0};
}

void jwks_free(struct jwks *jwks)
{
    if (jwks == NULL)
        return;
    for (size_t i = 0; i < jwks->count; i++)
        key_clear(&jwks->keys[i]);
    free(jwks);
}

/* Text of a member, or "" when it is missing or not a string. */
static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

/* A member as it may stand between quotes in a log line; cut, if long. */
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
    if (least == most)
        return err_make(ERR_INVALID_ARGUMENT,
                        "its %s is not %zu bytes of unpadded base64url", name, most);
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
    struct err e = rsa ? decode(json, "n", 1, MODULUS_READ_MAX, &one, &one_size)
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

static struct err read_ed25519(const json_t *json, struct jwks_key *key)
{
    struct err e = decode(json, "x", crypto_sign_PUBLICKEYBYTES,
                          crypto_sign_PUBLICKEYBYTES, &key->bytes, &key->size);

    if (!failed(e) && crypto_core_ed25519_is_valid_point(key->bytes) != 1)
        e = err_make(ERR_INVALID_ARGUMENT, "its x is no key of Ed25519");
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

/* RFC 7517, 4.2 and 4.3: what its owner lets a key be used for. */
static struct err check_use(const json_t *json)
{
    const json_t *operations = json_object_get(json, "key_ops");
    bool verifies = operations == NULL;

    if (json_object_get(json, "use") != NULL && strcmp(member(json, "use"), "sig") != 0)
        return err_make(ERR_INVALID_ARGUMENT, "its use '%s' is not sig",
                        show(json, "use").text);
    for (size_t i = 0; i < json_array_size(operations); i++) {
        const char *one = json_string_value(json_array_get(operations, i));
        verifies = verifies || (one != NULL && strcmp(one, "verify") == 0);
    }
    return verifies ? ERR_NONE
                    : err_make(ERR_INVALID_ARGUMENT, "its key_ops has no verify");
}

static struct err find_alg(const json_t *json, enum jwks_alg *alg)
{
    const struct kind *kind;
    size_t i = 0;

    while (i < KIND_COUNT && strcmp(member(json, "kty"), KINDS[i].kty) != 0)
        i++;
    if (i == KIND_COUNT)
        return err_make(ERR_INVALID_ARGUMENT, "its kty '%s' is not OKP, oct, RSA or EC",
                        show(json, "kty").text);
    kind = &KINDS[i];
    *alg = (enum jwks_alg)i;
    if (kind->crv != NULL && strcmp(member(json, "crv"), kind->crv) != 0)
        return err_make(ERR_INVALID_ARGUMENT, "its crv '%s' is not %s",
                        show(json, "crv").text, kind->crv);
    if (json_object_get(json, "alg") != NULL && !names_alg(member(json, "alg"), *alg))
        return err_make(ERR_INVALID_ARGUMENT, "its alg '%s' is not %s",
                        show(json, "alg").text, kind->alg);
    return ERR_NONE;
}

/* What was published is no secret any more. */
static struct err check_public(const json_t *json, enum jwks_alg alg)
{
    static const char *const PRIVATE[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};

    for (size_t i = 0; !KINDS[alg].secret && i < sizeof PRIVATE / sizeof PRIVATE[0]; i++)
        if (json_object_get(json, PRIVATE[i]) != NULL)
            return err_make(ERR_INVALID_ARGUMENT,
                            "it holds a private part (%s); publish the public part only, "
                            "of a new key",
                            PRIVATE[i]);
    return ERR_NONE;
}

static struct err read_kid(const json_t *json, char kid[JWKS_KID_MAX + 1])
{
    const json_t *value = json_object_get(json, "kid");
    const char *text = member(json, "kid");

    if (value == NULL || json_is_null(value))
        return err_make(ERR_INVALID_ARGUMENT, "it has no kid");
    if (!visible_ascii(text, 1, JWKS_KID_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "its kid is not 1 to %d visible ASCII characters", JWKS_KID_MAX);
    memcpy(kid, text, strlen(text) + 1);
    return ERR_NONE;
}

/* INVALID_ARGUMENT: the key is odd.  What was allocated is the key's in any case. */
static struct err read_key(const json_t *json, struct jwks_key *key)
{
    if (!json_is_object(json))
        return err_make(ERR_INVALID_ARGUMENT, "it is not a JSON object");
    struct err e = find_alg(json, &key->alg);
    if (!failed(e))
        e = check_use(json);
    if (!failed(e))
        e = check_public(json, key->alg);
    if (!failed(e))
        e = read_kid(json, key->kid);
    return failed(e) ? e : read_material(json, key);
}

/* Whether a readable key has a place in the set. */
static struct err check_place(const struct jwks *jwks, const struct jwks_key *key)
{
    for (size_t i = 0; i < jwks->count; i++)
        if (jwks->keys[i].alg == key->alg && strcmp(jwks->keys[i].kid, key->kid) == 0)
            return err_make(ERR_INVALID_ARGUMENT, "an earlier key has its kid and alg");
    if (jwks->count == JWKS_KEYS_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "only the first %d usable keys are kept",
                        JWKS_KEYS_MAX);
    return ERR_NONE;
}

static void pass_over(struct passed_over *passed, size_t index, const json_t *json,
                      const char *reason)
{
    char one[JWKS_KID_MAX + sizeof((struct err *)NULL)->message + 64];
    struct shown kid = show(json, "kid");
    size_t used = strlen(passed->text);
    int size = snprintf(one, sizeof one, "%skey %zu%s%s: %s", used > 0 ? "; " : "",
                        index + 1, kid.text[0] != '\0' ? " kid=" : "", kid.text, reason);

    passed->count++;
    if ((size_t)size < sizeof passed->text - used)
        memcpy(passed->text + used, one, (size_t)size + 1);
    else
        passed->left_off++;
}

static void warn_of(const struct passed_over *passed, const char *name)
{
    char more[40] = "";

    if (passed->left_off > 0)
        snprintf(more, sizeof more, "; and %zu more", passed->left_off);
    if (passed->count > 0)
        log_line(LOG_WARN, "keys_passed_over",
                 "from=%.200s passed_over=%zu keys=\"%s%s\"", name, passed->count,
                 passed->text, more);
}

/* RESOURCE_EXHAUSTED ends the reading: it says nothing of the key. */
static struct err add_keys(struct jwks *jwks, const json_t *keys,
                           struct passed_over *passed)
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
        pass_over(passed, i, json, e.message);
    }
    return ERR_NONE;
}

static struct err fill(struct jwks *jwks, const json_t *json, const char *name)
{
    const json_t *keys = json_object_get(json, "keys");
    struct passed_over passed = {0};

    if (!json_is_array(keys))
        return err_make(ERR_INVALID_ARGUMENT, "%s has no array \"keys\"", name);
    struct err e = add_keys(jwks, keys, &passed);
    warn_of(&passed, name);
    if (!failed(e) && jwks->count == 0)
        e = err_make(
            ERR_INVALID_ARGUMENT,
            "%s has no key that tokens can be verified with; %zu were passed over", name,
            passed.count);
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
