/*
 * identity.h - the development issuer: an Ed25519 key that signs storefront tokens.
 *
 * The key is a JWK (RFC 8037: OKP, Ed25519) of which the private half stays in a file of
 * mode 0600; the gateway reads only the public half, from a JWK set.  The key's id is its
 * RFC 7638 thumbprint.  For development: in production an identity provider signs.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum { ISSUER_ID_SIZE = 44, ISSUER_SECRET_SIZE = 64, TOKEN_TTL_MAX = 31536000 };

struct issuer {
    char id[ISSUER_ID_SIZE]; /* kid */
    uint8_t public_key[32];
    uint8_t secret[ISSUER_SECRET_SIZE]; /* libsodium's form; wipe with issuer_wipe */
};

struct claims {
    const char *issuer;
    const char *audience;
    const char *subject;
    int64_t issued_at;  /* Unix seconds */
    int64_t expires_at; /* Unix seconds */
};

/* Makes a key file; ALREADY_EXISTS when there is one. */
struct err issuer_create(const char *path, struct issuer *out)
    __attribute__((warn_unused_result));

/* INVALID_ARGUMENT when the file is no such JWK, or others may read it. */
struct err issuer_read(const char *path, struct issuer *out)
    __attribute__((warn_unused_result));

/* Writes the JWK set with the public half, in place of an earlier one. */
struct err issuer_publish(const struct issuer *issuer, const char *path)
    __attribute__((warn_unused_result));

/* A signed JWT in the arena. */
struct err issuer_token(const struct issuer *issuer, const struct claims *claims,
                        struct arena *arena, char **out)
    __attribute__((warn_unused_result));

void issuer_wipe(struct issuer *issuer);
