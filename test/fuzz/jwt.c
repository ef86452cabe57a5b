/*
 * jwt.c - tokens, let in only with a good signature, subject, issuer, audience and time.
 *
 *   first byte   then
 *   s e p r      header, newline, claims: encoded, and signed for HS256, EdDSA, ES256 or
 *                RS256 with a key that is known as "hs", "ed", "es" or "rs"
 *   g            header, newline, claims, newline, signature: encoded, not signed
 *   t            a token as it is
 *
 * A token as it is, or with a signature as it is, can be good only if it is one that was
 * signed, so none may be: a user is let in by what is signed alone.  What is remembered
 * counts as what was verified.
 */
#include "gateway/auth/jwt.h"
#include "base/log.h"
#include "fuzz/jwt_keys.h"
#include "gateway/auth/jwks.h"

enum { NOW_S = 1800000000 };

static struct jwt *make_jwt(void)
{
    const struct jwt_config config = {.issuer = "issuer",
                                      .audience = "checkout",
                                      .user_namespace =
                                          "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                                      .remembered_max = 4};
    char text[JWKS_TEXT_MAX];
    struct jwks *keys;
    struct jwt *jwt;

    jwt_keys_text(text);
    struct err e = jwks_parse(text, strlen(text), "keys", &keys);
    if (!failed(e))
        e = jwt_open(&config, &jwt);
    assert(!failed(e));
    jwt_renew(jwt, keys);
    return jwt;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    jwt_keys_open();
    return 0;
}

/* Header and claims, each encoded; free it.  There is room for a signature. */
static char *encode_parts(const char *header, const void *claims, size_t size)
{
    char *token = calloc(1, 2 * (strlen(header) + size + JWT_SIGNATURE_MAX) + 128);

    assert(token != NULL);
    jwt_append(token, header, strlen(header));
    strcat(token, ".");
    jwt_append(token, claims, size);
    return token;
}

/* A token of a header and claims, signed; free it. */
static char *make_signed(char algorithm, struct input *in)
{
    uint8_t signature[JWT_SIGNATURE_MAX];
    char *header = input_text(in, '\n');
    char *token = encode_parts(header, in->at, in->left);
    size_t size = jwt_sign(algorithm, token, signature);

    strcat(token, ".");
    jwt_append(token, signature, size);
    free(header);
    return token;
}

/* A token of all three, encoded; free it. */
static char *make_unsigned(struct input *in)
{
    char *header = input_text(in, '\n'), *claims = input_text(in, '\n');
    char *token = encode_parts(header, claims, strlen(claims));

    strcat(token, ".");
    jwt_append(token, in->at,
               in->left < JWT_SIGNATURE_MAX ? in->left : JWT_SIGNATURE_MAX);
    free(claims);
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
    char kind = (char)input_byte(&in), *token;

    if (kind != '\0' && strchr("sepr", kind) != NULL) {
        token = make_signed(kind, &in);
        size = strlen(token);
    } else if (kind == 'g') {
        token = make_unsigned(&in);
        size = strlen(token);
    } else {
        token = (char *)input_rest(&in, &size);
    }
    verify(token, size, kind != '\0' && strchr("sepr", kind) != NULL);
    free(token);
    return 0;
}
