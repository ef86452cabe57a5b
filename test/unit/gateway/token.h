/*
 * token.h - tokens for tests, and the keys they are signed with.
 *
 * kid "ed" is Ed25519, kid "hs" an HMAC secret, both derived from fixed seeds; kid "rsa"
 * and kid "ec" (P-256) are made once a process.
 */
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TOKEN_ISSUER   "checkout-development"
#define TOKEN_AUDIENCE "checkout"
#define TOKEN_USER     "00000000-0000-4000-8000-00000000000a"

#define TOKEN_SEED   "an Ed25519 seed has 32 bytes ..."
#define TOKEN_SECRET "a secret of HMAC: thirty-two bytes"

static void token_base64(const void *bytes, size_t size, char *out, size_t room)
{
    sodium_bin2base64(out, room, bytes, size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

static void token_key(uint8_t public_key[32], uint8_t secret_key[64])
{
    crypto_sign_seed_keypair(public_key, secret_key, (const unsigned char *)TOKEN_SEED);
}

/* Made once a process and never freed: the pointer stays reachable. */
static EVP_PKEY *token_pkey(const char *kid)
{
    static EVP_PKEY *rsa, *ec;

    if (strcmp(kid, "rsa") == 0)
        return rsa != NULL ? rsa : (rsa = EVP_RSA_gen(2048));
    return ec != NULL ? ec : (ec = EVP_EC_gen("P-256"));
}

/* A number of a key, in base64url of `size` big-endian bytes. */
static void token_number(const char *kid, const char *name, size_t size, char *out,
                         size_t room)
{
    BIGNUM *number = NULL;
    uint8_t bytes[512];

    EVP_PKEY_get_bn_param(token_pkey(kid), name, &number);
    BN_bn2binpad(number, bytes, (int)size);
    BN_free(number);
    token_base64(bytes, size, out, room);
}

/* The private half stays here: the document has what an issuer would publish. */
static void token_jwks(char out[2048])
{
    uint8_t public_key[32], secret_key[64];
    char x[64], k[64], n[360], ec_x[64], ec_y[64];

    token_key(public_key, secret_key);
    token_base64(public_key, 32, x, sizeof x);
    token_base64(TOKEN_SECRET, strlen(TOKEN_SECRET), k, sizeof k);
    token_number("rsa", OSSL_PKEY_PARAM_RSA_N, 256, n, sizeof n);
    token_number("ec", OSSL_PKEY_PARAM_EC_PUB_X, 32, ec_x, sizeof ec_x);
    token_number("ec", OSSL_PKEY_PARAM_EC_PUB_Y, 32, ec_y, sizeof ec_y);
    snprintf(
        out, 2048,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"x\":\"%s\"},"
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"other\",\"x\":\"AQ\"},"
        "{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"wraps\",\"n\":\"AQ\",\"e\":\"AQAB\"},"
        "{\"kty\":\"RSA\",\"alg\":\"PS256\",\"kid\":\"pss\",\"n\":\"%s\",\"e\":\"AQAB\"},"
        "{\"kty\":\"RSA\",\"use\":\"sig\",\"kid\":\"rsa\",\"n\":\"%s\",\"e\":\"AQAB\"},"
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"ec\",\"x\":\"%s\",\"y\":\"%s\"},"
        "{\"kty\":\"oct\",\"kid\":\"hs\",\"alg\":\"HS256\",\"k\":\"%s\"}]}",
        x, n, n, ec_x, ec_y, k);
}

static void token_write(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    fputs(text, file);
    fclose(file);
}

static void token_write_jwks(const char *path)
{
    char text[2048];

    token_jwks(text);
    token_write(path, text);
}

/* RSA's as it is; ECDSA's pair of numbers, each of 32 bytes, as JWS writes it. */
static size_t token_sign_by_pkey(const char *kid, const char *bytes, uint8_t out[512])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t size = 512;
    uint8_t der[512];
    const uint8_t *at = der;
    const bool rsa = strcmp(kid, "rsa") == 0;

    EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, token_pkey(kid));
    EVP_DigestSign(context, rsa ? out : der, &size, (const uint8_t *)bytes,
                   strlen(bytes));
    EVP_MD_CTX_free(context);
    if (rsa)
        return size;
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)size);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, 32);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + 32, 32);
    ECDSA_SIG_free(pair);
    return 64;
}

static size_t token_sign_by_secret(const char *bytes, uint8_t out[512])
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, (const unsigned char *)TOKEN_SECRET,
                                strlen(TOKEN_SECRET));
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)bytes, strlen(bytes));
    crypto_auth_hmacsha256_final(&state, out);
    return 32;
}

/* Signs header and claims, both JSON text, by the named key; adds nothing of its own. */
static void token_sign(const char *kid, const char *header, const char *claims,
                       char out[4200])
{
    uint8_t public_key[32], secret_key[64], signature[512];
    size_t size = 64;

    token_base64(header, strlen(header), out, 2000);
    strcat(out, ".");
    token_base64(claims, strlen(claims), out + strlen(out), 2000);
    if (strcmp(kid, "ed") == 0) {
        token_key(public_key, secret_key);
        crypto_sign_detached(signature, NULL, (unsigned char *)out, strlen(out),
                             secret_key);
    } else if (strcmp(kid, "hs") == 0) {
        size = token_sign_by_secret(out, signature);
    } else {
        size = token_sign_by_pkey(kid, out, signature);
    }
    strcat(out, ".");
    token_base64(signature, size, out + strlen(out), 700);
}

/* The claims of a good token, with one claim replaced by JSON text, or left out ("-"). */
static void token_claims(const char *claim, const char *value, char *out, size_t room)
{
    const char *names[] = {"iss", "aud", "sub", "exp", "iat", "nbf"};
    char expires[32], issued[32];
    const char *values[] = {"\"" TOKEN_ISSUER "\"",
                            "\"" TOKEN_AUDIENCE "\"",
                            "\"" TOKEN_USER "\"",
                            expires,
                            issued,
                            issued};
    size_t used = 0;

    snprintf(expires, sizeof expires, "%lld", (long long)time(NULL) + 600);
    snprintf(issued, sizeof issued, "%lld", (long long)time(NULL) - 10);
    for (size_t i = 0; i < 6; i++) {
        const char *v = claim != NULL && strcmp(claim, names[i]) == 0 ? value : values[i];
        if (strcmp(v, "-") != 0)
            used += (size_t)snprintf(out + used, room - used, "%s\"%s\":%s",
                                     used > 0 ? "," : "{", names[i], v);
    }
    snprintf(out + used, room - used, "}");
}

/* A good EdDSA token, but for one claim replaced by JSON text; NULL: none. */
__attribute__((unused)) static void token_make(const char *claim, const char *value,
                                               char out[1024])
{
    char claims[1000], token[4200];

    token_claims(claim, value, claims, sizeof claims);
    token_sign("ed", "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"ed\"}", claims, token);
    snprintf(out, 1024, "%.1023s", token);
}
