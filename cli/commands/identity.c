/* identity.c - checkoutctl key and token: keys of services and callers, and the
 * issuer. */
#include "cli/commands/identity.h"

#include <inttypes.h>
#include <jansson.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/files.h"
#include "cli/output.h"
#include "rpc/auth/keys.h"
#include "rpc/auth/principals.h"

/* ---- the issuer -------------------------------------------------------------------- */

enum {
    VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING,
    HALF_SIZE = 32,             /* bytes of x and of d */
    HALF_TEXT = ISSUER_ID_SIZE, /* base64url of 32 bytes, NUL-terminated */
    JWK_FILE_MAX = 4096,
};

/* RFC 7638: SHA-256 of the required members, in order of their names, without blanks. */
static void name_key(struct issuer *issuer)
{
    char x[HALF_TEXT], text[128];
    unsigned char hash[crypto_hash_sha256_BYTES];

    sodium_bin2base64(x, sizeof x, issuer->public_key, HALF_SIZE, VARIANT);
    int length = snprintf(text, sizeof text,
                          "{\"crv\":\"Ed25519\",\"kty\":\"OKP\",\"x\":\"%s\"}", x);
    crypto_hash_sha256(hash, (const unsigned char *)text, (unsigned long long)length);
    sodium_bin2base64(issuer->id, sizeof issuer->id, hash, sizeof hash, VARIANT);
}

static struct err write_private(const struct issuer *issuer, const char *path)
{
    char x[HALF_TEXT], d[HALF_TEXT], text[512];

    sodium_bin2base64(x, sizeof x, issuer->public_key, HALF_SIZE, VARIANT);
    sodium_bin2base64(d, sizeof d, issuer->secret, HALF_SIZE, VARIANT);
    int length =
        snprintf(text, sizeof text,
                 "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\",\"use\":"
                 "\"sig\",\"kid\":\"%s\",\"x\":\"%s\",\"d\":\"%s\"}\n",
                 issuer->id, x, d);
    struct err e = file_write(path, text, (size_t)length, 0600, false);
    sodium_memzero(d, sizeof d);
    sodium_memzero(text, sizeof text);
    return e;
}

struct err issuer_create(const char *path, struct issuer *out)
{
    crypto_sign_keypair(out->public_key, out->secret);
    name_key(out);
    return write_private(out, path);
}

static bool half_of(const json_t *jwk, const char *member, uint8_t out[HALF_SIZE])
{
    const char *text = json_string_value(json_object_get(jwk, member));
    size_t size = 0;

    return text != NULL &&
           base64_decode(text, strlen(text), VARIANT, out, HALF_SIZE, &size) &&
           size == HALF_SIZE;
}

static bool is(const json_t *jwk, const char *member, const char *expected)
{
    const char *text = json_string_value(json_object_get(jwk, member));

    return text != NULL && strcmp(text, expected) == 0;
}

static bool key_of(const json_t *jwk, struct issuer *out)
{
    uint8_t seed[HALF_SIZE], x[HALF_SIZE];
    bool good = is(jwk, "kty", "OKP") && is(jwk, "crv", "Ed25519") &&
                half_of(jwk, "x", x) && half_of(jwk, "d", seed);

    if (good) {
        crypto_sign_seed_keypair(out->public_key, out->secret, seed);
        good = memcmp(out->public_key, x, HALF_SIZE) == 0;
        name_key(out);
    }
    sodium_memzero(seed, sizeof seed);
    return good;
}

static struct err check_private(const char *path)
{
    struct stat status;

    if (stat(path, &status) == 0 && (status.st_mode & 077) != 0)
        return invalid("%s holds a private key and others may read it; run: chmod 600 %s",
                       path, path);
    return ERR_NONE;
}

struct err issuer_read(const char *path, struct issuer *out)
{
    char *text = NULL;
    size_t size = 0;
    struct arena *arena = arena_new(2 * JWK_FILE_MAX);

    if (arena == NULL)
        return err_memory();
    struct err e = check_private(path);
    if (!failed(e))
        e = file_read(path, JWK_FILE_MAX, arena, &text, &size);
    if (!failed(e)) {
        json_t *jwk = json_loadb(text, size, JSON_REJECT_DUPLICATES, NULL);
        if (!key_of(jwk, out))
            e = invalid("%s is not the JWK of an Ed25519 key pair (kty OKP, crv, x, d)",
                        path);
        json_decref(jwk);
        sodium_memzero(text, size);
    }
    arena_free(arena);
    return e;
}

struct err issuer_publish(const struct issuer *issuer, const char *path)
{
    char x[HALF_TEXT], text[512];

    sodium_bin2base64(x, sizeof x, issuer->public_key, HALF_SIZE, VARIANT);
    int length =
        snprintf(text, sizeof text,
                 "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"alg\":\"EdDSA\","
                 "\"use\":\"sig\",\"kid\":\"%s\",\"x\":\"%s\"}]}\n",
                 issuer->id, x);
    return file_write(path, text, (size_t)length, 0644, true);
}

/* base64url of the object's compact JSON, in the arena; NULL when memory is short. */
static char *encode(json_t *object, struct arena *arena)
{
    char *text = json_dumps(object, JSON_COMPACT);
    char *encoded = NULL;

    if (text != NULL) {
        size_t length = strlen(text), size = sodium_base64_encoded_len(length, VARIANT);
        encoded = arena_alloc(arena, size);
        if (encoded != NULL)
            sodium_bin2base64(encoded, size, (unsigned char *)text, length, VARIANT);
    }
    free(text);
    json_decref(object);
    return encoded;
}

struct err issuer_token(const struct issuer *issuer, const struct claims *claims,
                        struct arena *arena, char **out)
{
    unsigned char signature[crypto_sign_BYTES];
    char signature_text[sodium_base64_ENCODED_LEN(sizeof signature, VARIANT)];

    char *header = encode(
        json_pack("{s:s, s:s, s:s}", "alg", "EdDSA", "kid", issuer->id, "typ", "JWT"),
        arena);
    char *body = encode(json_pack("{s:s, s:s, s:s, s:I, s:I}", "iss", claims->issuer,
                                  "aud", claims->audience, "sub", claims->subject, "iat",
                                  (json_int_t)claims->issued_at, "exp",
                                  (json_int_t)claims->expires_at),
                        arena);
    char *signed_part = header == NULL || body == NULL
                            ? NULL
                            : arena_printf(arena, "%s.%s", header, body);
    if (signed_part == NULL)
        return err_memory();
    crypto_sign_detached(signature, NULL, (unsigned char *)signed_part,
                         strlen(signed_part), issuer->secret);
    sodium_bin2base64(signature_text, sizeof signature_text, signature, sizeof signature,
                      VARIANT);
    *out = arena_printf(arena, "%s.%s", signed_part, signature_text);
    return *out == NULL ? err_memory() : ERR_NONE;
}

void issuer_wipe(struct issuer *issuer)
{
    sodium_memzero(issuer, sizeof *issuer);
}

/* ---- the commands ------------------------------------------------------------------ */

struct outcome command_key_new(struct cli *cli)
{
    char text[sodium_base64_ENCODED_LEN(KEY_PUBLIC_SIZE, sodium_base64_VARIANT_ORIGINAL)];
    const char *path = cli->options[OPT_OUT];
    struct key *key = NULL;

    struct err e = key_create(path, cli->words[0]);
    if (!failed(e))
        e = key_read(path, &key);
    if (failed(e))
        return local(e);
    sodium_bin2base64(text, sizeof text, key_public(key), KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
    if (cli->options[OPT_JSON] != NULL)
        e = output_json(cli,
                        json_pack("{s:s, s:s}", "name", key_name(key), "public", text));
    else
        fprintf(cli->out, "%s %s\n", key_name(key), text);
    key_free(key);
    return local(e);
}

struct outcome command_key_allow(struct cli *cli)
{
    uint8_t public_key[KEY_PUBLIC_SIZE];
    const char *text = cli->words[2];
    const char *methods = cli->word_count > 3 ? cli->words[3] : NULL;
    size_t size = 0;

    if (!base64_decode(text, strlen(text), sodium_base64_VARIANT_ORIGINAL, public_key,
                       sizeof public_key, &size) ||
        size != sizeof public_key)
        return misused(invalid("\"%s\" is not a public key; give the base64 that key new "
                               "printed",
                               text));
    return local(principals_allow(cli->words[0], cli->words[1], public_key, methods));
}

/* Makes the key unless it exists; always rewrites its public part, also a lost one. */
struct outcome command_key_issuer(struct cli *cli)
{
    const char *path = cli->options[OPT_OUT];
    struct issuer issuer;

    struct err e = issuer_create(path, &issuer);
    if (e.code == ERR_ALREADY_EXISTS)
        e = issuer_read(path, &issuer);
    if (!failed(e))
        e = issuer_publish(&issuer, cli->options[OPT_JWKS]);
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        e = output_json(cli, json_pack("{s:s}", "id", issuer.id));
    else if (!failed(e))
        fprintf(cli->out, "%s\n", issuer.id);
    issuer_wipe(&issuer);
    return local(e);
}

static struct err sign(const struct cli *cli, const struct claims *claims)
{
    char *token = NULL;
    struct issuer issuer;

    struct err e = issuer_read(cli->settings.jwt_key_file, &issuer);
    if (!failed(e))
        e = issuer_token(&issuer, claims, cli->arena, &token);
    issuer_wipe(&issuer);
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        return output_json(cli, json_pack("{s:s, s:I}", "token", token, "expires_at",
                                          (json_int_t)claims->expires_at));
    if (!failed(e))
        fprintf(cli->out, "%s\n", token);
    return e;
}

struct outcome command_token(struct cli *cli)
{
    int64_t ttl = 3600, now = clock_wall_ms() / 1000;
    const char *issuer = cli->options[OPT_ISSUER], *audience = cli->options[OPT_AUDIENCE];

    if (!uuid_valid(cli->options[OPT_USER]))
        return misused(
            invalid("--user is \"%s\"; it must be a UUID in small letters, such as "
                    "6f1f64a0-9d3b-4c56-8a34-1f0e6f6f2a11",
                    cli->options[OPT_USER]));
    struct err e = cli_option(cli, OPT_TTL, 1, TOKEN_TTL_MAX, &ttl);
    if (failed(e))
        return misused(e);
    e = cli_need(cli->settings.jwt_key_file, "jwt_key_file");
    if (failed(e))
        return local(e);
    return local(sign(
        cli, &(struct claims){
                 .issuer = issuer != NULL ? issuer : cli->settings.jwt_issuer,
                 .audience = audience != NULL ? audience : cli->settings.jwt_audience,
                 .subject = cli->options[OPT_USER],
                 .issued_at = now,
                 .expires_at = now + ttl,
             }));
}
