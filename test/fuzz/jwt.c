/*
 * jwt.c - tokens, let in only with a good signature, subject, issuer, audience and time.
 *
 *   first byte   then
 *   s            header, newline, claims: encoded, and signed with the key "hs"
 *   t            a token as it is
 *
 * A token as it is can be good only if it is one that was signed, so none may be: a user
 * is let in by an input of `s` alone.  What is remembered counts as what was verified.
 */
#include <sodium.h>

#include "base/log.h"
#include "fuzz/fuzz.h"
#include "gateway/jwks.h"
#include "gateway/jwt.h"

#define SECRET "a secret of HMAC: thirty-two bytes"

enum { NOW_S = 1800000000 };

static struct jwks *make_keys(void)
{
    static const uint8_t SEED[crypto_sign_SEEDBYTES] = "an Ed25519 seed";
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES], secret[crypto_sign_SECRETKEYBYTES];
    char x[64], k[64], text[512];
    struct jwks *keys;

    crypto_sign_seed_keypair(public_key, secret, SEED);
    sodium_bin2base64(x, sizeof x, public_key, sizeof public_key,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_bin2base64(k, sizeof k, (const uint8_t *)SECRET, strlen(SECRET),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    int size = snprintf(
        text, sizeof text,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"x\":\"%s\"},"
        "{\"kty\":\"oct\",\"kid\":\"hs\",\"k\":\"%s\"}]}",
        x, k);
    struct err e = jwks_parse(text, (size_t)size, "keys", &keys);
    assert(!failed(e));
    return keys;
}

static struct jwt *make_jwt(void)
{
    const struct jwt_config config = {
        .issuer = "issuer", .audience = "checkout", .remembered_max = 4};
    struct jwt *jwt;
    struct err e = jwt_open(&config, &jwt);

    assert(!failed(e));
    jwt_renew(jwt, make_keys());
    return jwt;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    return sodium_init() < 0;
}

/* Appends base64url to a text that has room for it. */
static void append(char *text, const void *bytes, size_t size)
{
    size_t used = strlen(text);

    sodium_bin2base64(
        text + used,
        sodium_base64_encoded_len(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING), bytes,
        size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* A token of a header and claims; free it. */
static char *sign(struct input *in)
{
    char *header = input_text(in, '\n'),
         *token = calloc(1, 2 * (strlen(header) + in->left) + 128);
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;

    assert(token != NULL);
    append(token, header, strlen(header));
    strcat(token, ".");
    append(token, in->at, in->left);
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)SECRET, strlen(SECRET));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)token, strlen(token));
    crypto_auth_hmacsha256_final(&state, mac);
    strcat(token, ".");
    append(token, mac, sizeof mac);
    free(header);
    return token;
}

static void verify(const char *token, size_t size, bool may_be_good)
{
    struct jwt *jwt = make_jwt();
    char user[UUID_LENGTH + 1] = "", again[UUID_LENGTH + 1] = "";
    struct err e = jwt_verify(jwt, token, size, NOW_S, user);
    struct err e2 = jwt_verify(jwt, token, size, NOW_S, again);

    assert(e.code == e2.code && strcmp(user, again) == 0);
    if (failed(e)) {
        assert_refusal(e);
        assert(user[0] == '\0');
    } else {
        assert(may_be_good && uuid_valid(user) && size <= JWT_TOKEN_MAX);
        e = jwt_verify(jwt, token, size, INT64_C(253402300800) + JWT_SKEW_S, user);
        assert(failed(e));
    }
    jwt_close(jwt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t length;

    if (input_byte(&in) == 's') {
        char *token = sign(&in);
        verify(token, strlen(token), true);
        free(token);
    } else {
        char *token = (char *)input_rest(&in, &length);
        verify(token, length, false);
        free(token);
    }
    return 0;
}
