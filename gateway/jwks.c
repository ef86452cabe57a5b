/* jwks.c - see jwks.h. */
#include "gateway/jwks.h"

#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/ids.h"
#include "base/log.h"

enum { SECRET_MIN = 32, SECRET_MAX = 1024 };

struct jwks {
    size_t count;
    struct jwks_key keys[JWKS_KEYS_MAX];
};

const char *jwks_alg_name(enum jwks_alg alg)
{
    return alg == JWKS_EDDSA ? "EdDSA" : "HS256";
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
        sodium_memzero(jwks->keys[i].bytes, jwks->keys[i].size);
        free(jwks->keys[i].bytes);
    }
    free(jwks);
}

/* Text of a member, or "" when it is missing or not a string. */
static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "";
}

static struct err decode(const char *base64, size_t least, size_t most,
                         struct jwks_key *key)
{
    size_t room = strlen(base64) + 1;

    key->bytes = malloc(room);
    if (key->bytes == NULL)
        return err_memory();
    if (sodium_base642bin(key->bytes, room, base64, strlen(base64), NULL, &key->size,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
        key->size >= least && key->size <= most)
        return ERR_NONE;
    free(key->bytes);
    key->bytes = NULL;
    return err_make(ERR_INVALID_ARGUMENT,
                    "its material is not %zu to %zu bytes of unpadded base64url", least,
                    most);
}

/* Fills `key` from JSON; *known is false for a type we do not verify with. */
static struct err read_key(const json_t *json, struct jwks_key *key, bool *known)
{
    const char *type = member(json, "kty");
    bool okp = strcmp(type, "OKP") == 0 && strcmp(member(json, "crv"), "Ed25519") == 0;

    *known = okp || strcmp(type, "oct") == 0;
    if (!*known)
        return ERR_NONE;
    const char *kid = member(json, "kid");
    if (!visible_ascii(kid, 1, JWKS_KID_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "its kid is not 1 to %d visible ASCII characters", JWKS_KID_MAX);
    memcpy(key->kid, kid, strlen(kid) + 1);
    key->alg = okp ? JWKS_EDDSA : JWKS_HS256;
    if (json_object_get(json, "alg") != NULL &&
        strcmp(member(json, "alg"), jwks_alg_name(key->alg)) != 0)
        return err_make(ERR_INVALID_ARGUMENT, "its alg is not %s, which its kty asks for",
                        jwks_alg_name(key->alg));
    if (json_object_get(json, "use") != NULL && strcmp(member(json, "use"), "sig") != 0)
        return err_make(ERR_INVALID_ARGUMENT, "its use is not sig");
    if (okp && json_object_get(json, "d") != NULL)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "it holds a private part (d); give the gateway the public part only");
    return okp ? decode(member(json, "x"), crypto_sign_PUBLICKEYBYTES,
                        crypto_sign_PUBLICKEYBYTES, key)
               : decode(member(json, "k"), SECRET_MIN, SECRET_MAX, key);
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
        log_warn("key_passed_over", "file=%s key=%zu reason=\"unknown kty or crv\"", path,
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
                     "%s has no key we can verify with (Ed25519 or oct)", path);
    return e;
}

struct err jwks_read(const char *path, struct jwks **out)
{
    json_error_t error;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &error);

    *out = NULL;
    if (json == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "cannot read the keys of %s: line %d: %s",
                        path, error.line, error.text);
    struct jwks *jwks = calloc(1, sizeof *jwks);
    struct err e = jwks == NULL ? err_memory() : fill(jwks, json, path);
    json_decref(json);
    if (failed(e))
        jwks_free(jwks);
    else
        *out = jwks;
    return e;
}
