/* verifier.h - a verifier of tokens with the keys of token.h, and tokens for it. */
#pragma once

#include <stdlib.h>
#include <unistd.h>

#include <openssl/pem.h>

#include "base/log.h"
#include "gateway/auth/jwks.h"
#include "gateway/auth/jwt.h"
#include "unit/gateway/token.h"

#define ED_HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"ed\"}"
#define HS_HEADER "{\"alg\":\"HS256\",\"kid\":\"hs\"}"
#define RS_HEADER "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"
#define ES_HEADER "{\"alg\":\"ES256\",\"kid\":\"ec\"}"

__attribute__((unused)) static char *temporary(void)
{
    static char path[64];

    strcpy(path, "/tmp/jwks-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

__attribute__((unused)) static int set_up(void **state)
{
    struct jwt *jwt;
    struct jwt_config config = {.jwks_file = temporary(),
                                .issuer = TOKEN_ISSUER,
                                .audience = TOKEN_AUDIENCE,
                                .remembered_max = 8};

    token_write_jwks(config.jwks_file);
    struct err e = jwt_open(&config, &jwt);
    unlink(config.jwks_file);
    if (failed(e))
        fail_msg("%s", e.message);
    *state = jwt;
    return 0;
}

__attribute__((unused)) static int tear_down(void **state)
{
    jwt_close(*state);
    return 0;
}

__attribute__((unused)) static bool accepted_at(struct jwt *jwt, const char *token,
                                                int64_t now_s)
{
    char user[UUID_LENGTH + 1] = "";
    struct err e = jwt_verify(jwt, token, strlen(token), now_s, user);

    if (failed(e))
        assert_int_equal(e.code, ERR_UNAUTHENTICATED);
    else
        assert_string_equal(user, TOKEN_USER);
    return !failed(e);
}

__attribute__((unused)) static bool accepted(struct jwt *jwt, const char *token)
{
    return accepted_at(jwt, token, time(NULL));
}

__attribute__((unused)) static const char *signed_by(const char *kid, const char *header,
                                                     const char *claims)
{
    static char token[4200];

    token_sign(kid, header, claims, token);
    return token;
}

__attribute__((unused)) static const char *good_claims(void)
{
    static char claims[1000];

    token_claims(NULL, NULL, claims, sizeof claims);
    return claims;
}
