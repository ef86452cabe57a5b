/* signature.c - see signature.h. */
#include "gateway/signature.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdlib.h>
#include <string.h>

struct public_key {
    EVP_PKEY *pkey;
    bool p256;
};

static struct err refused(const char *why)
{
    ERR_clear_error();
    return err_make(ERR_INVALID_ARGUMENT, "%s", why);
}

/* Takes the parameters over; `odd` is what is wrong when libcrypto does not take them. */
static struct err make_key(const char *type, OSSL_PARAM *params, const char *odd,
                           struct public_key **out)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    EVP_PKEY *pkey = NULL;
    struct public_key *key = NULL;

    *out = NULL;
    if (params != NULL && context != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1)
        key = calloc(1, sizeof *key);
    EVP_PKEY_CTX_free(context);
    OSSL_PARAM_free(params);
    if (key == NULL) {
        EVP_PKEY_free(pkey);
        return refused(odd);
    }
    key->pkey = pkey;
    *out = key;
    return ERR_NONE;
}

static OSSL_PARAM *rsa_params(const BIGNUM *n, const BIGNUM *e)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;

    if (builder != NULL && n != NULL && e != NULL &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1)
        params = OSSL_PARAM_BLD_to_param(builder);
    OSSL_PARAM_BLD_free(builder);
    return params;
}

/* How many bits a number has, its first byte not 0. */
static size_t count_bits(const uint8_t *number, size_t size)
{
    size_t bits = 8 * (size - 1);

    for (uint8_t first = number[0]; first != 0; first >>= 1)
        bits++;
    return bits;
}

static struct err check_modulus(const uint8_t *n, size_t size)
{
    if (size == 0 || n[0] == 0)
        return refused("its n begins with a zero byte");
    size_t bits = count_bits(n, size);
    if (bits < RSA_BITS_MIN || bits > RSA_BITS_MAX)
        return err_make(ERR_INVALID_ARGUMENT,
                        "its n is of %zu bits, and %d to %d are allowed", bits,
                        RSA_BITS_MIN, RSA_BITS_MAX);
    return n[size - 1] % 2 == 0 ? refused("its n is even") : ERR_NONE;
}

struct err public_key_rsa(const uint8_t *n, size_t n_size, const uint8_t *e,
                          size_t e_size, struct public_key **out)
{
    *out = NULL;
    struct err bad = check_modulus(n, n_size);
    if (failed(bad))
        return bad;
    if (e_size < 1 || e_size > 4 || e[0] == 0 || e[e_size - 1] % 2 == 0 ||
        (e_size == 1 && e[0] < 3))
        return refused("its e is not an odd number from 3 to 2^32");
    BIGNUM *modulus = BN_bin2bn(n, (int)n_size, NULL);
    BIGNUM *exponent = BN_bin2bn(e, (int)e_size, NULL);
    OSSL_PARAM *params = rsa_params(modulus, exponent);
    BN_free(modulus);
    BN_free(exponent);
    return make_key("RSA", params, "its n and e are no public key", out);
}

struct err public_key_p256(const uint8_t x[P256_SIZE], const uint8_t y[P256_SIZE],
                           struct public_key **out)
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
    struct err e = make_key("EC", params, "its x and y are no point of P-256", out);
    OSSL_PARAM_BLD_free(builder);
    if (!failed(e))
        (*out)->p256 = true;
    return e;
}

void public_key_free(struct public_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    free(key);
}

/* JWS writes r and s one after the other; libcrypto wants them in DER.  The length, or 0;
 * *der is the caller's to OPENSSL_free. */
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

static bool verify(const struct public_key *key, const void *bytes, size_t size,
                   const uint8_t *signature, size_t signature_size)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL &&
                EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
                EVP_DigestVerify(context, signature, signature_size, bytes, size) == 1;

    EVP_MD_CTX_free(context);
    ERR_clear_error();
    return good;
}

bool public_key_verify(const struct public_key *key, const void *bytes, size_t size,
                       const uint8_t *signature, size_t signature_size)
{
    unsigned char *der;

    if (!key->p256)
        return signature_size == (size_t)EVP_PKEY_get_size(key->pkey) &&
               verify(key, bytes, size, signature, signature_size);
    if (signature_size != 2 * P256_SIZE)
        return false;
    size_t der_size = to_der(signature, &der);
    bool good = der_size > 0 && verify(key, bytes, size, der, der_size);
    OPENSSL_free(der);
    return good;
}
