/*
 * token.h - tokens for tests, and the keys they are signed with.
 *
 * kid "ed" is Ed25519, kid "hs" an HMAC secret; both are derived from fixed seeds.
 */
#pragma once

#include <sodium.h>
#include <stdio.h>
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

static void token_write_jwks(const char *path)
{
    uint8_t public_key[32], secret_key[64];
    char x[64], k[64];
    FILE *file = fopen(path, "we");

    token_key(public_key, secret_key);
    token_base64(public_key, 32, x, sizeof x);
    token_base64(TOKEN_SECRET, strlen(TOKEN_SECRET), k, sizeof k);
    fprintf(
        file,
        "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"x\":\"%s\"},"
        "{\"kty\":\"RSA\",\"kid\":\"rsa\",\"n\":\"AQ\",\"e\":\"AQAB\"},"
        "{\"kty\":\"oct\",\"kid\":\"hs\",\"alg\":\"HS256\",\"k\":\"%s\"}]}",
        x, k);
    fclose(file);
}

/* Signs header and claims, both JSON text, by the named key; adds nothing of its own. */
static void token_sign(const char *kid, const char *header, const char *claims,
                       char out[4200])
{
    uint8_t public_key[32], secret_key[64], signature[64];
    size_t size = 64;

    token_base64(header, strlen(header), out, 2000);
    strcat(out, ".");
    token_base64(claims, strlen(claims), out + strlen(out), 2000);
    if (strcmp(kid, "ed") == 0) {
        token_key(public_key, secret_key);
        crypto_sign_detached(signature, NULL, (unsigned char *)out, strlen(out),
                             secret_key);
    } else {
        crypto_auth_hmacsha256_state state;
        crypto_auth_hmacsha256_init(&state, (const unsigned char *)TOKEN_SECRET,
                                    strlen(TOKEN_SECRET));
        crypto_auth_hmacsha256_update(&state, (unsigned char *)out, strlen(out));
        crypto_auth_hmacsha256_final(&state, signature);
        size = 32;
    }
    strcat(out, ".");
    token_base64(signature, size, out + strlen(out), 100);
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
static void token_make(const char *claim, const char *value, char out[1024])
{
    char claims[1000], token[4200];

    token_claims(claim, value, claims, sizeof claims);
    token_sign("ed", "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"ed\"}", claims, token);
    snprintf(out, 1024, "%.1023s", token);
}
