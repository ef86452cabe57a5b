/*
 * jwt_keys.h - private keys of an issuer of tokens, one an algorithm, and their JWKS.
 *
 * They are the harness's own and good for nothing else.  They do not change, so that the
 * same input is the same token each time, but for ES256, whose signatures are random.
 */
#pragma once

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sodium.h>
#include <stdio.h>

#include "fuzz/fuzz.h"

#define JWT_SECRET "a secret of HMAC: thirty-two bytes"

enum { JWT_SIGNATURE_MAX = 512, JWT_P256_SIZE = 32, JWKS_TEXT_MAX = 2048 };

static const char JWT_RSA[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDA9RhvNqvCOmqv\n"
    "q4wYqqA3eiMUJCfm0ZAnD1I+vKhaA5wm9PlHbk3ZbF8N06bOakw3tCkHgIWVAvef\n"
    "NOao7hbKLnavOZQusApKg91v8MOn30CnbgeyTEcbtvZGFAcv6D1cLxBEyH3onBsE\n"
    "LS+smSLARzyur2mEq3Ric64SoOcKTRC2Bqv+EBTxilIthS4zEXAzkSX7BrhSIMzY\n"
    "b9KnnySjj4n9or4g6VzmNwXqHWt86vv5UgP1hewmIV1PUe1Y5fp/8EAYNr0ZUKQH\n"
    "QdjEInzw2Al2GJ75ZWVKnFHLiHz6WswQSDkwF++HLEOa7xHVE0H0i7MGAEFl/hvi\n"
    "6Fp8qYbpAgMBAAECggEAEV9fyk+NSkjxJwzWabgfAa+s7djNgOIYTPP7rytUKvqN\n"
    "OhKvSOec+bjgnAGU0JvQbel6EjNXk5F3Uu2z4LzC74Qcam1QMp3l50yVCMmQDBK1\n"
    "Iv3sknh8pHmmFawi84TA1YZlPBQjBejcI9Wfp7YH43DmfUHMycWYDm8k2oeDFbGv\n"
    "fbS9t1Uffk9PCBQkH9VbjfAv2ZmARsXNfX+DdsPNAedSJew5gTrjovRhqNELBFAk\n"
    "lD7PMs7E2XK581aZuALVNltu9GzsU8WJsL3MmnTrLOEk/jlmd0ogqERB5WorCwdi\n"
    "l22ssACvMyH0T2C94Gqsc/fM7FZaOfTkhauHGUgm8wKBgQDqjZxnJctUqIxaazRa\n"
    "8nZAlu3MohpUohx6y9GjixgB+Bm4bSxQq6vL2w6XvKLI85FL02Rzj6pLHSWDfEuQ\n"
    "vPWrOLPTrpbLc4NovyAeNKu0FRJV6bQ1/A0PRBr7+25BYzmG9AK++3N5cBdYmTjm\n"
    "EN6mwbK0fYhHBlMSZaMJGp8XywKBgQDSmdECvig16GxOQRUjhJJGZgEjKtUCeBEm\n"
    "wjBU+bh/PzgfCpmjecdpAUPd/zLswTmLKpM8jI9OVOgBkC+vQUJohVC29MT8GGPv\n"
    "XZYvFaJ9jIN6WXYllLyrN/2msuwolCOxweh+7VI2zDZT6/OCCG2T8m4NV+3mGVWA\n"
    "j1bE6Ch9mwKBgQCeEU0j3j6HEQd1L+YanGfA43XigCQKgS18O7tN4cEOIqsCtOA2\n"
    "hVrDiR7udzuk/TAfz5hUoK786+mKEMvEAPP2rcHSmEgbV/9pKdR1Rr2oIMM4jsTZ\n"
    "1MDgVt9wjWMiQcJVBkCLgF2zqyywkqHbueayrrrGFAsxAjwdm80hp4UrvQKBgCkA\n"
    "Jy/og32TRVqq0wm6KpwoCbqmARhc9cHc9nnksCWd0jhA4Q5xjAAGbgcPQwPSzngo\n"
    "jsev+cpfP1fmkVIGW35rzf4Ag0UtHm+ggbei96KHs6UjO5wva9fNq8VDejSgOp7F\n"
    "yJTFcUcX1M/b1OmQ6HxwKzrPzpIIhpvjzBnDtPZXAoGBAIf9EyG8EsDM4pXJjhfo\n"
    "s1qBGoOdAnWS2vcBgUriPdAxGjWQAt6qv3qVSfS5/NfbvQ7hqdJPMUEAXQq2wMQd\n"
    "N4PrfQLZTg8TdZHyTQBr9hZM1wsUpWl/mi7HdlfVy3W+DPXPEN8aGfRomTKc1gVL\n"
    "PgEkarxE2DQj31Ghs5T4O3JG\n"
    "-----END PRIVATE KEY-----\n";

static const char JWT_P256[] =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg3Yi2hyiOF4o/gyO3\n"
    "hln6oOkKHvlMuEeqEBKXDTZHpCGhRANCAAQcZQK8hAAWbrxhTJ1jNv2zVe8TWDdO\n"
    "LteI+iuzw14q9D/oUu8qvqxY1thfrWgtPgY0e6HYOQ/e5AguSvnbn/Jh\n"
    "-----END PRIVATE KEY-----\n";

static struct {
    uint8_t ed_public[crypto_sign_PUBLICKEYBYTES], ed_secret[crypto_sign_SECRETKEYBYTES];
    EVP_PKEY *rsa, *p256;
} jwt_keys;

static EVP_PKEY *jwt_read_pem(const char *text)
{
    BIO *bio = BIO_new_mem_buf(text, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);

    assert(key != NULL);
    BIO_free(bio);
    return key;
}

static void jwt_keys_open(void)
{
    static const uint8_t SEED[crypto_sign_SEEDBYTES] = "an Ed25519 seed";

    assert(sodium_init() >= 0);
    crypto_sign_seed_keypair(jwt_keys.ed_public, jwt_keys.ed_secret, SEED);
    jwt_keys.rsa = jwt_read_pem(JWT_RSA);
    jwt_keys.p256 = jwt_read_pem(JWT_P256);
}

/* Appends base64url to a text that has room for it. */
static void jwt_append(char *text, const void *bytes, size_t size)
{
    size_t used = strlen(text);

    sodium_bin2base64(
        text + used,
        sodium_base64_encoded_len(size, sodium_base64_VARIANT_URLSAFE_NO_PADDING), bytes,
        size, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/* A member of a JWK, from a number of a key. */
static void jwt_append_number(char *text, const char *name, const EVP_PKEY *key,
                              const char *parameter)
{
    BIGNUM *number = NULL;
    uint8_t bytes[JWT_SIGNATURE_MAX];

    assert(EVP_PKEY_get_bn_param(key, parameter, &number) == 1);
    int size = BN_bn2bin(number, bytes);
    sprintf(text + strlen(text), ",\"%s\":\"", name);
    jwt_append(text, bytes, (size_t)size);
    strcat(text, "\"");
    BN_free(number);
}

/* What the issuer publishes, and the secret it shares. */
static void jwt_keys_text(char text[JWKS_TEXT_MAX])
{
    strcpy(text,
           "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",\"x\":\"");
    jwt_append(text, jwt_keys.ed_public, sizeof jwt_keys.ed_public);
    strcat(text, "\"},{\"kty\":\"oct\",\"kid\":\"hs\",\"k\":\"");
    jwt_append(text, JWT_SECRET, strlen(JWT_SECRET));
    strcat(text, "\"},{\"kty\":\"RSA\",\"kid\":\"rs\"");
    jwt_append_number(text, "n", jwt_keys.rsa, OSSL_PKEY_PARAM_RSA_N);
    jwt_append_number(text, "e", jwt_keys.rsa, OSSL_PKEY_PARAM_RSA_E);
    strcat(text, "},{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"es\"");
    jwt_append_number(text, "x", jwt_keys.p256, OSSL_PKEY_PARAM_EC_PUB_X);
    jwt_append_number(text, "y", jwt_keys.p256, OSSL_PKEY_PARAM_EC_PUB_Y);
    strcat(text, "}]}");
}

static size_t jwt_sign_with(EVP_PKEY *key, const char *text, uint8_t *out, size_t room)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    assert(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1);
    assert(EVP_DigestSign(context, out, &room, (const uint8_t *)text, strlen(text)) == 1);
    EVP_MD_CTX_free(context);
    return room;
}

/* r and s one after the other, as JWS has them. */
static size_t jwt_sign_p256(const char *text, uint8_t *out)
{
    uint8_t der[JWT_SIGNATURE_MAX];
    const uint8_t *at = der;
    size_t size = jwt_sign_with(jwt_keys.p256, text, der, sizeof der);
    ECDSA_SIG *pair = d2i_ECDSA_SIG(NULL, &at, (long)size);

    assert(pair != NULL);
    BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, JWT_P256_SIZE);
    BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + JWT_P256_SIZE, JWT_P256_SIZE);
    ECDSA_SIG_free(pair);
    return (size_t)2 * JWT_P256_SIZE;
}

static size_t jwt_sign_hmac(const char *text, uint8_t *out)
{
    crypto_auth_hmacsha256_state state;

    crypto_auth_hmacsha256_init(&state, (const uint8_t *)JWT_SECRET, strlen(JWT_SECRET));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)text, strlen(text));
    crypto_auth_hmacsha256_final(&state, out);
    return crypto_auth_hmacsha256_BYTES;
}

/* By the harness's letter of an algorithm; the signature's size, 0 for no such letter. */
static size_t jwt_sign(char algorithm, const char *text, uint8_t out[JWT_SIGNATURE_MAX])
{
    switch (algorithm) {
    case 's':
        return jwt_sign_hmac(text, out);
    case 'e':
        crypto_sign_detached(out, NULL, (const uint8_t *)text, strlen(text),
                             jwt_keys.ed_secret);
        return crypto_sign_BYTES;
    case 'p':
        return jwt_sign_p256(text, out);
    case 'r':
        return jwt_sign_with(jwt_keys.rsa, text, out, JWT_SIGNATURE_MAX);
    default:
        return 0;
    }
}
