/*
 * signature.h - RS256 and ES256 (RFC 7518, 3.3 and 3.4), by libcrypto.
 *
 * A public key is made once from its numbers, which come in big-endian bytes.  Threads
 * may share one.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
    RSA_BITS_MIN = 2048, /* RFC 7518, 3.3 */
    RSA_BITS_MAX = 4096,
    P256_SIZE = 32, /* bytes of a coordinate, and of half a signature */
    SIGNATURE_MAX = RSA_BITS_MAX / 8,
};

struct public_key;

/* INVALID_ARGUMENT says what is wrong: the modulus begins with a zero byte (RFC 7518,
 * 6.3.1.1), is even, or not of RSA_BITS_MIN to RSA_BITS_MAX bits, or the exponent is not
 * an odd number from 3 to 2^32. */
struct err public_key_rsa(const uint8_t *n, size_t n_size, const uint8_t *e,
                          size_t e_size, struct public_key **out)
    __attribute__((warn_unused_result));

/* INVALID_ARGUMENT: not a point of the curve P-256. */
struct err public_key_p256(const uint8_t x[P256_SIZE], const uint8_t y[P256_SIZE],
                           struct public_key **out) __attribute__((warn_unused_result));

/* NULL is allowed. */
void public_key_free(struct public_key *key);

/* Whether `signature`, in JWS's form, is the key's over the SHA-256 of the bytes. */
bool public_key_verify(const struct public_key *key, const void *bytes, size_t size,
                       const uint8_t *signature, size_t signature_size)
    __attribute__((warn_unused_result));
