/* Which tokens are let in, and that every other one is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/pem.h>

#include "base/log.h"
#include "gateway/auth/jwks.h"
#include "gateway/auth/jwt.h"
#include "unit/gateway/token.h"

#define ED_HEADER "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"ed\"}"
#define HS_HEADER "{\"alg\":\"HS256\",\"kid\":\"hs\"}"
#define RS_HEADER "{\"alg\":\"RS256\",\"kid\":\"rsa\"}"
#define ES_HEADER "{\"alg\":\"ES256\",\"kid\":\"ec\"}"

/* Room for a document of more keys than are kept. */
enum { DOCUMENT_ROOM = 16384 };

static char said[8192]; /* what capture_parse saw on standard error */

static char *temporary(void)
{
    static char path[64];

    strcpy(path, "/tmp/jwks-test-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

static int set_up(void **state)
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

static int tear_down(void **state)
{
    jwt_close(*state);
    return 0;
}

static bool let_in_at(struct jwt *jwt, const char *token, int64_t now_s)
{
    char user[UUID_LENGTH + 1] = "";
    struct err e = jwt_verify(jwt, token, strlen(token), now_s, user);

    if (failed(e))
        assert_int_equal(e.code, ERR_UNAUTHENTICATED);
    else
        assert_string_equal(user, TOKEN_USER);
    return !failed(e);
}

static bool let_in(struct jwt *jwt, const char *token)
{
    return let_in_at(jwt, token, time(NULL));
}

static const char *signed_by(const char *kid, const char *header, const char *claims)
{
    static char token[4200];

    token_sign(kid, header, claims, token);
    return token;
}

static const char *good_claims(void)
{
    static char claims[1000];

    token_claims(NULL, NULL, claims, sizeof claims);
    return claims;
}

static void a_good_token_is_let_in_by_each_algorithm(void **state)
{
    assert_true(let_in(*state, signed_by("rsa", RS_HEADER, good_claims())));
    assert_true(let_in(*state, signed_by("ec", ES_HEADER, good_claims())));
    assert_true(let_in(*state, signed_by("ed", ED_HEADER, good_claims())));
    assert_true(let_in(*state, signed_by("hs", HS_HEADER, good_claims())));
    assert_true(let_in(
        *state, signed_by("ed", "{\"kid\":\"ed\",\"alg\":\"EdDSA\"}", good_claims())));
}

/* RFC 7515, 4.1.9: "application/" may stand before it; RFC 9864: Ed25519 is EdDSA. */
static void headers_that_say_the_same_in_other_words_are_let_in(void **state)
{
    static const char *const HEADERS[] = {
        "{\"alg\":\"EdDSA\",\"typ\":\"at+jwt\",\"kid\":\"ed\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"jwt\",\"kid\":\"ed\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"application/at+jwt\",\"kid\":\"ed\"}",
        "{\"alg\":\"EdDSA\",\"typ\":\"Application/JWT\",\"kid\":\"ed\"}",
        "{\"alg\":\"Ed25519\",\"kid\":\"ed\"}",
        "{\"alg\":\"Ed25519\"}",
        "{\"alg\":\"EdDSA\"}",
    };

    for (size_t i = 0; i < sizeof HEADERS / sizeof HEADERS[0]; i++)
        if (!let_in(*state, signed_by("ed", HEADERS[i], good_claims())))
            fail_msg("not let in with %s", HEADERS[i]);
    assert_true(let_in(*state, signed_by("rsa", "{\"alg\":\"RS256\"}", good_claims())));
}

static void headers_that_try_something_are_refused(void **state)
{
    static const struct {
        const char *key, *header;
    } CASES[] = {
        {"ed", "{\"alg\":\"none\",\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"NoNe\",\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"eddsa\",\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"HS256\",\"kid\":\"ed\"}"},
        {"hs", "{\"alg\":\"EdDSA\",\"kid\":\"hs\"}"},
        {"hs", "{\"alg\":\"HS512\",\"kid\":\"hs\"}"},
        {"ed", "{\"alg\":[\"EdDSA\"],\"kid\":\"ed\"}"},
        {"ed", "{\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"other\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"../ed\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":1}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"none\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"NONE\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"RS512\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"PS256\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"PS256\",\"kid\":\"pss\"}"},
        {"rsa", "{\"alg\":\"RS256\",\"kid\":\"pss\"}"},
        {"rsa", "{\"alg\":\"RS256\",\"kid\":\"wraps\"}"},
        {"rsa", "{\"alg\":\"RS256\",\"kid\":\"ec\"}"},
        {"rsa", "{\"alg\":\"ES256\",\"kid\":\"rsa\"}"},
        {"ec", "{\"alg\":\"RS256\",\"kid\":\"ec\"}"},
        {"ec", "{\"alg\":\"ES256\",\"kid\":\"rsa\"}"},
        {"ec", "{\"alg\":\"ES256K\",\"kid\":\"ec\"}"},
        {"hs", "{\"alg\":\"RS256\",\"kid\":\"hs\"}"},
        {"hs", "{\"alg\":\"HS256\",\"kid\":\"rsa\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"JWE\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":1}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"application/JWE\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"application/\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"applicationJWT\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"typ\":\"text/jwt\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":null}"},
        {"ed", "{\"alg\":\"ed25519\",\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"Ed448\",\"kid\":\"ed\"}"},
        {"rsa", "{\"alg\":\"Ed25519\",\"kid\":\"rsa\"}"},
        {"rsa", "{\"alg\":\"PS256\"}"},
        {"rsa", "{\"alg\":\"none\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"crit\":[\"b64\"]}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"b64\":false}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"jwk\":{}}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"jku\":\"https://x\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"x5u\":\"https://x\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"kid\":\"ed\"}"},
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"ed\"} x"},
        {"ed", "[\"EdDSA\",\"ed\"]"},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        if (let_in(*state, signed_by(CASES[i].key, CASES[i].header, good_claims())))
            fail_msg("let in with %s", CASES[i].header);
}

static void hmac_with_the_public_key_as_secret_is_refused(void **state)
{
    uint8_t public_key[32], secret_key[64], mac[32];
    char token[4200];

    token_key(public_key, secret_key);
    token_sign("hs", "{\"alg\":\"HS256\",\"kid\":\"ed\"}", good_claims(), token);
    char *dot = strrchr(token, '.');
    crypto_auth_hmacsha256(mac, (unsigned char *)token, (size_t)(dot - token),
                           public_key);
    token_base64(mac, 32, dot + 1, 64);
    assert_false(let_in(*state, token));
}

/* The attack is HS256 with what everybody has as the secret: a key's PEM text. */
static void hmac_with_an_rsa_key_as_secret_is_refused(void **state)
{
    char token[4200], *pem;
    uint8_t mac[32];
    crypto_auth_hmacsha256_state hmac;
    BIO *bio = BIO_new(BIO_s_mem());

    PEM_write_bio_PUBKEY(bio, token_pkey("rsa"));
    size_t size = (size_t)BIO_get_mem_data(bio, &pem);
    token_sign("hs", "{\"alg\":\"HS256\",\"kid\":\"rsa\"}", good_claims(), token);
    char *dot = strrchr(token, '.');
    crypto_auth_hmacsha256_init(&hmac, (unsigned char *)pem, size);
    crypto_auth_hmacsha256_update(&hmac, (unsigned char *)token, (size_t)(dot - token));
    crypto_auth_hmacsha256_final(&hmac, mac);
    token_base64(mac, 32, dot + 1, 64);
    BIO_free(bio);
    assert_false(let_in(*state, token));
}

static void claims_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *claim, *value;
    } CASES[] = {
        {"iss", "-"},
        {"iss", "\"checkout\""},
        {"iss", "[\"" TOKEN_ISSUER "\"]"},
        {"aud", "-"},
        {"aud", "\"checkout-admin\""},
        {"aud", "\"check\""},
        {"aud", "[]"},
        {"aud", "[\"checkout2\"]"},
        {"aud", "[\"checkout\",1]"},
        {"aud", "{\"checkout\":1}"},
        {"sub", "-"},
        {"sub", "\"\""},
        {"sub", "\"alice\""},
        {"sub", "7"},
        {"sub", "\"00000000-0000-4000-8000-00000000000A\""},
        {"exp", "-"},
        {"exp", "1"},
        {"exp", "\"99999999999\""},
        {"exp", "1e-5"},
        {"exp", "1e308"},
        {"exp", "1e999"},
        {"exp", "253402300800"},
        {"exp", "253402300800.0"},
        {"exp", "-0.5"},
        {"exp", "[99999999999]"},
        {"exp", "-1"},
        {"exp", "1e12"},
        {"exp", "99999999999999999"},
        {"exp", "null"},
        {"exp", "999999999999999999999999"},
        {"nbf", "99999999999"},
        {"nbf", "\"1\""},
        {"nbf", "99999999999.5"},
        {"nbf", "9.9e10"},
        {"nbf", "1e999"},
        {"iat", "99999999999"},
        {"iat", "253402300799.9"},
        {"iat", "-1e300"},
        {"iat", "true"},
        {"iat", "-5"},
    };
    char token[1024];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        token_make(CASES[i].claim, CASES[i].value, token);
        if (let_in(*state, token))
            fail_msg("let in with %s %s", CASES[i].claim, CASES[i].value);
    }
}

static void claims_that_fit_are_let_in(void **state)
{
    static const struct {
        const char *claim, *value;
    } CASES[] = {
        {"aud", "[\"checkout\"]"},
        {"aud", "[\"other\",\"checkout\"]"},
        {"nbf", "-"},
        {"iat", "-"},
        {"nbf", "0"},
        {"nbf", "1.0"},
        {"nbf", "1e9"},
        {"iat", "15E+8"},
        {"iat", "0.25"},
        {"exp", "9.9e10"},
        {"exp", "99999999999.5"},
        {"exp", "253402300799.9"},
    };
    char token[1024];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        token_make(CASES[i].claim, CASES[i].value, token);
        if (!let_in(*state, token))
            fail_msg("not let in with %s %s", CASES[i].claim, CASES[i].value);
    }
}

static void times_have_sixty_seconds_of_skew(void **state)
{
    static const struct {
        const char *claim;
        int64_t now_s;
        bool good;
    } CASES[] = {
        {"exp", 2000000059, true}, {"exp", 2000000060, false},
        {"nbf", 1999999940, true}, {"nbf", 1999999939, false},
        {"iat", 1999999940, true}, {"iat", 1999999939, false},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char claims[400];
        snprintf(
            claims, sizeof claims,
            "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"exp\":%d,\"%s\":2000000000}",
            TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_USER, 2100000000, CASES[i].claim);
        if (strcmp(CASES[i].claim, "exp") == 0)
            snprintf(claims, sizeof claims,
                     "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"exp\":2000000000}",
                     TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_USER);
        bool good = let_in_at(*state, signed_by("ed", ED_HEADER, claims), CASES[i].now_s);
        if (good != CASES[i].good)
            fail_msg("%s at %lld", CASES[i].claim, (long long)CASES[i].now_s);
    }
}

/* A fraction never lengthens a token's life: exp rounds down, nbf and iat up. */
static void fractions_of_times_round_against_the_token(void **state)
{
    static const struct {
        const char *claims;
        int64_t now_s;
        bool good;
    } CASES[] = {
        {"\"exp\":2000000000.9", 2000000059, true},
        {"\"exp\":2000000000.9", 2000000060, false},
        {"\"exp\":2.0000000005e9", 2000000059, true},
        {"\"exp\":2.0000000005e9", 2000000060, false},
        {"\"exp\":2100000000,\"nbf\":2000000000.1", 1999999941, true},
        {"\"exp\":2100000000,\"nbf\":2000000000.1", 1999999940, false},
        {"\"exp\":2100000000,\"nbf\":2e9", 1999999940, true},
        {"\"exp\":2100000000,\"iat\":2000000000.1", 1999999941, true},
        {"\"exp\":2100000000,\"iat\":2000000000.1", 1999999940, false},
    };

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        char claims[400];
        snprintf(claims, sizeof claims,
                 "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",%s}", TOKEN_ISSUER,
                 TOKEN_AUDIENCE, TOKEN_USER, CASES[i].claims);
        bool good = let_in_at(*state, signed_by("ed", ED_HEADER, claims), CASES[i].now_s);
        if (good != CASES[i].good)
            fail_msg("%s at %lld", CASES[i].claims, (long long)CASES[i].now_s);
    }
}

static const struct {
    const char *kid, *header;
} ALGORITHMS[] = {
    {"ed", ED_HEADER}, {"hs", HS_HEADER}, {"rsa", RS_HEADER}, {"ec", ES_HEADER}};

enum { ALGORITHM_COUNT = sizeof ALGORITHMS / sizeof ALGORITHMS[0] };

static void a_token_changed_in_any_byte_is_refused(void **state)
{
    char token[4200];

    for (size_t a = 0; a < ALGORITHM_COUNT; a++) {
        token_sign(ALGORITHMS[a].kid, ALGORITHMS[a].header, good_claims(), token);
        size_t length = strlen(token);
        for (size_t i = 0; i < length; i++) {
            char kept = token[i];
            token[i] = kept == 'A' ? 'B' : 'A';
            if (let_in(*state, token))
                fail_msg("%s: let in with byte %zu changed", ALGORITHMS[a].kid, i);
            token[i] = kept;
        }
        assert_true(let_in(*state, token));
    }
}

static void signatures_cut_short_or_of_zeros_are_refused(void **state)
{
    char token[4200], cut_token[4200];

    for (size_t a = 0; a < ALGORITHM_COUNT; a++) {
        token_sign(ALGORITHMS[a].kid, ALGORITHMS[a].header, good_claims(), token);
        char *signature = strrchr(token, '.') + 1;
        for (size_t cut = 1; cut <= strlen(signature); cut++) {
            snprintf(cut_token, sizeof cut_token, "%.*s", (int)(strlen(token) - cut),
                     token);
            assert_false(let_in(*state, cut_token));
        }
        memset(signature, 'A', strlen(signature));
        assert_false(let_in(*state, token));
    }
}

/* libsodium reads any byte past 0x7f as '_' (base/base64.h). */
static void no_other_byte_stands_for_a_letter(void **state)
{
    char token[4200];
    int tried = 0;

    for (size_t a = 0; a < ALGORITHM_COUNT; a++) {
        token_sign(ALGORITHMS[a].kid, ALGORITHMS[a].header, good_claims(), token);
        for (char *letter = token; *letter != '\0'; letter++) {
            if (*letter != '_')
                continue;
            for (int byte = 0x80; byte <= 0xff; byte++, tried++) {
                *letter = (char)byte;
                assert_false(let_in(*state, token));
            }
            *letter = '_';
        }
        assert_true(let_in(*state, token));
    }
    assert_true(tried > 0);
}

static void shapes_that_are_no_token_are_refused(void **state)
{
    char token[4200], long_token[5000];
    static const char *const ENDS[] = {"=", "==", " ", "\n", ".", ".AAAA", "A", "AAAA"};

    token_sign("ed", ED_HEADER, good_claims(), token);
    for (size_t i = 0; i < sizeof ENDS / sizeof ENDS[0]; i++) {
        snprintf(long_token, sizeof long_token, "%s%s", token, ENDS[i]);
        assert_false(let_in(*state, long_token));
        snprintf(long_token, sizeof long_token, "%s%s", ENDS[i], token);
        assert_false(let_in(*state, long_token));
    }
    static const char *const SHAPES[] = {"",    ".",     "..",       "...",
                                         "a.b", "a.b.c", "e30.e30.", "e30.e30.AA"};
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        assert_false(let_in(*state, SHAPES[i]));
    char *dot = strrchr(token, '.');
    for (size_t cut = 1; cut <= strlen(dot); cut++) {
        snprintf(long_token, sizeof long_token, "%.*s", (int)(strlen(token) - cut),
                 token);
        assert_false(let_in(*state, long_token));
    }
    memset(dot + 1, 'A', strlen(dot + 1));
    assert_false(let_in(*state, token));
}

static void a_remembered_token_still_expires(void **state)
{
    char claims[400];

    snprintf(claims, sizeof claims,
             "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"exp\":2000000000}",
             TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_USER);
    const char *token = signed_by("ed", ED_HEADER, claims);
    assert_true(let_in_at(*state, token, 1999999999));
    assert_true(let_in_at(*state, token, 2000000059));
    assert_false(let_in_at(*state, token, 2000000060));
}

static void more_tokens_than_are_remembered_are_all_let_in(void **state)
{
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 40; i++) {
            char value[32], token[1024];
            snprintf(value, sizeof value, "%d", 2000000000 + i);
            token_make("exp", value, token);
            assert_true(let_in(*state, token));
        }
}

/* A verdict found with the old keys must not outlive them. */
static void new_keys_count_from_the_next_token_on(void **state)
{
    static const char TEXT[] =
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"hs\",\"k\":\"%s\"}]}";
    char document[400], k[64], ed[4200], hs[4200];
    struct jwks *keys;

    token_sign("ed", ED_HEADER, good_claims(), ed);
    token_sign("hs", HS_HEADER, good_claims(), hs);
    assert_true(let_in(*state, ed) && let_in(*state, hs));
    token_base64(TOKEN_SECRET, strlen(TOKEN_SECRET), k, sizeof k);
    snprintf(document, sizeof document, TEXT, k);
    assert_false(failed(jwks_parse(document, strlen(document), "text", &keys)));
    jwt_renew(*state, keys);
    assert_false(let_in(*state, ed));
    assert_true(let_in(*state, hs));
}

/* ---- users ---- */

#define NAMESPACE_DNS "6ba7b810-9dad-11d1-80b4-00c04fd430c8" /* RFC 9562, 6.6 */

/* Opens a verifier with these settings, and the keys of the test; the caller closes it. */
static struct err open_with(struct jwt_config config, struct jwt **jwt)
{
    char document[2048];
    struct jwks *keys;

    config.issuer = TOKEN_ISSUER;
    config.audience = TOKEN_AUDIENCE;
    config.remembered_max = 8;
    struct err e = jwt_open(&config, jwt);
    if (failed(e))
        return e;
    token_jwks(document);
    assert_false(failed(jwks_parse(document, strlen(document), "text", &keys)));
    jwt_renew(*jwt, keys);
    return e;
}

/* Whom claims with these members are about; "" when the token is refused, and *why. */
static const char *user_of(struct jwt *jwt, const char *members, struct err *why)
{
    static char user[UUID_LENGTH + 1];
    char claims[1000], token[4200];

    snprintf(claims, sizeof claims,
             "{\"iss\":\"%s\",\"aud\":\"%s\",\"exp\":9999999999,%s}", TOKEN_ISSUER,
             TOKEN_AUDIENCE, members);
    token_sign("ed", ED_HEADER, claims, token);
    user[0] = '\0';
    *why = jwt_verify(jwt, token, strlen(token), time(NULL), user);
    return user;
}

/* UUIDs as other implementations make them; the first is RFC 9562's, A.4. */
static void a_name_becomes_a_uuid_under_the_namespace(void **state)
{
    static const struct {
        const char *members, *user;
    } CASES[] = {
        {"\"sub\":\"www.example.com\"", "2ed6657d-e927-568b-95e1-2665a8aea6a2"},
        {"\"sub\":\"auth0|507f1f77bcf86cd799439011\"",
         "8642c5fe-f41c-5e67-a680-d1861a5bfb7f"},
        {"\"sub\":\"ann@shop.example\"", "0abcc073-802c-5ace-9c4a-6f622974fa86"},
        {"\"sub\":\"Ann@shop.example\"", "571d6d5e-5f45-593f-8388-73cdefa562b3"},
        {"\"sub\":\"andr\\u00e9\"", "97456f62-e0e4-5b2c-b796-b36264afe7ca"},
        {"\"sub\":\"00000000-0000-4000-8000-00000000000A\"",
         "c7fa4a05-be84-5792-9301-7795bc1fd8ad"},
        {"\"sub\":\"" TOKEN_USER "\"", TOKEN_USER},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(
        failed(open_with((struct jwt_config){.user_namespace = NAMESPACE_DNS}, &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(user_of(jwt, CASES[i].members, &why), CASES[i].user);
    jwt_close(jwt);
}

static void without_a_namespace_only_a_uuid_names_a_user(void **state)
{
    struct err why;

    assert_string_equal(user_of(*state, "\"sub\":\"auth0|1\"", &why), "");
    assert_int_equal(why.code, ERR_UNAUTHENTICATED);
    assert_non_null(strstr(why.message, "sub is not a UUID"));
    assert_non_null(strstr(why.message, "user_namespace"));
    assert_string_equal(
        user_of(*state, "\"sub\":\"2ed6657d-e927-568b-95e1-2665a8aea6a2\"", &why),
        "2ed6657d-e927-568b-95e1-2665a8aea6a2");
}

/* Else whoever may choose a name chooses the UUID that another's name is mapped to. */
static void no_name_is_the_uuid_that_another_is_mapped_to(void **state)
{
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(
        failed(open_with((struct jwt_config){.user_namespace = NAMESPACE_DNS}, &jwt)));
    assert_string_equal(
        user_of(jwt, "\"sub\":\"2ed6657d-e927-568b-95e1-2665a8aea6a2\"", &why), "");
    assert_non_null(strstr(why.message, "version 5"));
    jwt_close(jwt);
}

static void another_claim_can_name_the_user(void **state)
{
    static const struct {
        const char *members;
        bool good;
    } CASES[] = {
        {"\"sub\":\"auth0|1\",\"https://shop.example/id\":\"" TOKEN_USER "\"", true},
        {"\"sub\":\"" TOKEN_USER "\"", false},
        {"\"https://shop.example/id\":7", false},
        {"\"https://shop.example/id\":\"\"", false},
        {"\"https://shop.example/id\":[\"" TOKEN_USER "\"]", false},
        {"\"https://shop.example/id\":null", false},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(failed(
        open_with((struct jwt_config){.user_claim = "https://shop.example/id"}, &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_string_equal(user_of(jwt, CASES[i].members, &why),
                            CASES[i].good ? TOKEN_USER : "");
    jwt_close(jwt);
}

static void an_email_counts_only_when_it_was_verified(void **state)
{
    static const struct {
        const char *members;
        bool good;
    } CASES[] = {
        {"\"email\":\"ann@shop.example\",\"email_verified\":true", true},
        {"\"email\":\"ann@shop.example\",\"email_verified\":false", false},
        {"\"email\":\"ann@shop.example\",\"email_verified\":\"true\"", false},
        {"\"email\":\"ann@shop.example\"", false},
    };
    struct jwt *jwt;
    struct err why;

    (void)state;
    assert_false(failed(open_with(
        (struct jwt_config){.user_claim = "email", .user_namespace = NAMESPACE_DNS},
        &jwt)));
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_int_equal(user_of(jwt, CASES[i].members, &why)[0] != '\0', CASES[i].good);
    jwt_close(jwt);
}

static void settings_that_name_no_user_are_refused(void **state)
{
    static const struct {
        const char *claim, *namespace, *setting;
    } CASES[] = {
        {"", "", "user_claim"},
        {"user id", "", "user_claim"},
        {"sub", "6BA7B810-9DAD-11D1-80B4-00C04FD430C8", "user_namespace"},
        {"sub", "shop.example", "user_namespace"},
    };
    struct jwt *jwt;

    (void)state;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct err e =
            open_with((struct jwt_config){.user_claim = CASES[i].claim,
                                          .user_namespace = CASES[i].namespace},
                      &jwt);
        assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
        assert_non_null(strstr(e.message, CASES[i].setting));
    }
}

static void a_token_has_at_most_as_many_bytes_as_is_set(void **state)
{
    struct jwt *jwt;
    char token[4200], user[UUID_LENGTH + 1];

    (void)state;
    token_sign("ed", ED_HEADER, good_claims(), token);
    for (size_t less = 0; less < 2; less++) {
        assert_false(failed(
            open_with((struct jwt_config){.token_max = strlen(token) - less}, &jwt)));
        assert_int_equal(let_in(jwt, token), less == 0);
        jwt_close(jwt);
    }
    assert_false(failed(open_with((struct jwt_config){0}, &jwt)));
    static char huge[8194];
    memset(huge, 'a', sizeof huge);
    struct err e = jwt_verify(jwt, huge, 8192, time(NULL), user);
    assert_string_equal(e.message, "the token has not three parts");
    e = jwt_verify(jwt, huge, 8193, time(NULL), user);
    assert_string_equal(e.message, "the token is longer than 8192 bytes");
    jwt_close(jwt);
}

/* ---- key sets ---- */

/* Members of JWKs, with the keys that tokens of this test are signed by. */
static const char *ed_x(void)
{
    static char text[64];
    uint8_t public_key[32], secret_key[64];

    token_key(public_key, secret_key);
    snprintf(text, sizeof text, "\"x\":\"");
    token_base64(public_key, 32, text + strlen(text), 50);
    strcat(text, "\"");
    return text;
}

static const char *hs_k(void)
{
    static char text[80];

    snprintf(text, sizeof text, "\"k\":\"");
    token_base64(TOKEN_SECRET, strlen(TOKEN_SECRET), text + strlen(text), 60);
    strcat(text, "\"");
    return text;
}

static const char *rsa_ne(void)
{
    static char text[400];

    snprintf(text, sizeof text, "\"e\":\"AQAB\",\"n\":\"");
    token_number("rsa", OSSL_PKEY_PARAM_RSA_N, 256, text + strlen(text), 360);
    strcat(text, "\"");
    return text;
}

/* `size` bytes, the first and the last as given, the others 0xff. */
static const char *number_of(size_t size, uint8_t first, uint8_t last)
{
    static char text[1000];
    uint8_t bytes[600];

    memset(bytes, 0xff, size);
    bytes[0] = first;
    bytes[size - 1] = last;
    token_base64(bytes, size, text, sizeof text);
    return text;
}

/* Parses, with what is logged meanwhile in `said`. */
static struct err capture_parse(const char *document, struct jwks **keys)
{
    int ends[2], kept = dup(STDERR_FILENO);

    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    struct err e =
        jwks_parse(document, strlen(document), "https://id.example/jwks", keys);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t got = read(ends[0], said, sizeof said - 1);
    said[got > 0 ? got : 0] = '\0';
    close(ends[0]);
    return e;
}

/* The verifier goes on with the keys of the document. */
static void use(struct jwt *jwt, const char *document)
{
    struct jwks *keys;
    struct err e = capture_parse(document, &keys);

    if (failed(e))
        fail_msg("%s of %s", e.message, document);
    jwt_renew(jwt, keys);
}

/* The one warning there is; its line. */
static const char *the_warning(void)
{
    const char *first = strstr(said, "level=warn"), *end = strchr(said, '\n');

    assert_non_null(first);
    assert_non_null(strstr(said, "event=key_ignored"));
    assert_true(end != NULL && end[1] == '\0');
    return said;
}

/* An odd key beside a good one. */
static void expect_passed_over(struct jwt *jwt, const char *odd, const char *reason)
{
    char document[DOCUMENT_ROOM];
    struct jwks *keys;

    snprintf(document, sizeof document,
             "{\"keys\":[%s,{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",%s}]}",
             odd, ed_x());
    use(jwt, document);
    if (strstr(the_warning(), reason) == NULL)
        fail_msg("%s: said without \"%s\": %s", odd, reason, said);
    assert_non_null(strstr(said, "key 1"));
    if (strstr(odd, "\"kid\":\"odd\"") != NULL)
        assert_non_null(strstr(said, "kid=odd"));
    assert_true(let_in(jwt, signed_by("ed", ED_HEADER, good_claims())));

    snprintf(document, sizeof document, "{\"keys\":[%s]}", odd);
    struct err e = capture_parse(document, &keys);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, "https://id.example/jwks"));
    assert_null(keys);
}

static void an_odd_key_is_passed_over_and_the_set_stands(void **state)
{
#define ED  "\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"odd\""
#define OCT "\"kty\":\"oct\",\"kid\":\"odd\""
#define RSA "\"kty\":\"RSA\",\"kid\":\"odd\""
#define EC  "\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"odd\""
    static const struct {
        const char *members, *reason;
        const char *(*key)(void);
    } CASES[] = {
        {"\"kid\":\"odd\"", "kty ''", NULL},
        {"\"kty\":\"AKP\",\"kid\":\"odd\"", "kty 'AKP'", NULL},
        {"\"kty\":[\"OKP\"],\"kid\":\"odd\"", "kty", NULL},
        {"\"kty\":\"a\\\"b\\u0007\",\"kid\":\"odd\"", "kty 'a?b?'", NULL},
        {"\"kty\":\"OKP\",\"crv\":\"X25519\",\"kid\":\"odd\"", "crv 'X25519'", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed448\",\"kid\":\"odd\"", "crv 'Ed448'", ed_x},
        {"\"kty\":\"OKP\",\"kid\":\"odd\"", "crv ''", ed_x},
        {"\"kty\":\"EC\",\"crv\":\"P-384\",\"kid\":\"odd\"", "crv 'P-384'", NULL},
        {"\"kty\":\"EC\",\"crv\":\"secp256k1\",\"kid\":\"odd\"", "crv 'secp256k1'", NULL},
        {RSA ",\"alg\":\"PS256\"", "alg 'PS256'", rsa_ne},
        {RSA ",\"alg\":\"RSA-OAEP\"", "alg 'RSA-OAEP'", rsa_ne},
        {RSA ",\"alg\":\"HS256\"", "alg 'HS256'", rsa_ne},
        {RSA ",\"alg\":\"Ed25519\"", "alg 'Ed25519'", rsa_ne},
        {RSA ",\"alg\":1", "alg", rsa_ne},
        {OCT ",\"alg\":\"HS512\"", "alg 'HS512'", hs_k},
        {OCT ",\"alg\":\"RS256\"", "alg 'RS256'", hs_k},
        {ED ",\"alg\":\"ES256\"", "alg 'ES256'", ed_x},
        {ED ",\"alg\":\"Ed448\"", "alg 'Ed448'", ed_x},
        {ED ",\"use\":\"enc\"", "use 'enc'", ed_x},
        {ED ",\"use\":7", "use", ed_x},
        {ED ",\"key_ops\":[\"sign\"]", "key_ops", ed_x},
        {ED ",\"key_ops\":[]", "key_ops", ed_x},
        {ED ",\"key_ops\":\"verify\"", "key_ops", ed_x},
        {ED ",\"key_ops\":[\"wrapKey\",1]", "key_ops", ed_x},
        {ED ",\"use\":\"sig\",\"key_ops\":[\"encrypt\"]", "key_ops", ed_x},
        {ED ",\"d\":\"AA\"", "private part (d)", ed_x},
        {RSA ",\"p\":\"AA\"", "private part (p)", rsa_ne},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\"", "no kid", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":null", "no kid", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":7", "kid is not", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"\"", "kid is not", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a b\"", "kid is not", ed_x},
        {"\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"schl\\u00fcssel\"", "kid is not",
         ed_x},
        {ED ",\"x\":\"AAAA\"", "x is not 32", NULL},
        {ED ",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"", "x is no key",
         NULL},
        {ED, "x is not 32", NULL},
        {OCT ",\"k\":\"c2hvcnQ\"", "k is not 32 to 1024 bytes", NULL},
        {RSA, "n is not", NULL},
        {RSA ",\"e\":\"AQAB\",\"n\":\"AQ\"", "n is of 1 bits", NULL},
        {EC ",\"x\":\"AQ\",\"y\":\"AQ\"", "x is not 32", NULL},
        {EC ",\"x\":\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\",\"y\":"
            "\"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE\"",
         "no point of P-256", NULL},
    };
    char odd[1000];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        snprintf(odd, sizeof odd, "{%s%s%s}", CASES[i].members,
                 CASES[i].key != NULL ? "," : "",
                 CASES[i].key != NULL ? CASES[i].key() : "");
        expect_passed_over(*state, odd, CASES[i].reason);
    }
    expect_passed_over(*state, "7", "not a JSON object");
    expect_passed_over(*state, "null", "not a JSON object");
}

static void an_rsa_key_is_of_2048_to_4096_bits(void **state)
{
    static const struct {
        size_t size;
        uint8_t first, last;
        const char *e, *reason;
    } CASES[] = {
        {128, 0xff, 0xff, "AQAB", "n is of 1024 bits"},
        {256, 0x7f, 0xff, "AQAB", "n is of 2047 bits"},
        {256, 0x01, 0xff, "AQAB", "n is of 2041 bits"},
        {513, 0x01, 0xff, "AQAB", "n is of 4097 bits"},
        {600, 0xff, 0xff, "AQAB", "n is of 4800 bits"},
        {257, 0x00, 0xff, "AQAB", "n begins with a zero byte"},
        {256, 0xff, 0xfe, "AQAB", "n is even"},
        {256, 0xff, 0xff, "AQ", "e is not an odd number"},
        {256, 0xff, 0xff, "Ag", "e is not an odd number"},
        {256, 0xff, 0xff, "AQAAAAE", "e is not 1 to 4 bytes"},
    };
    char odd[2000];

    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        snprintf(odd, sizeof odd,
                 "{\"kty\":\"RSA\",\"kid\":\"odd\",\"n\":\"%s\",\"e\":\"%s\"}",
                 number_of(CASES[i].size, CASES[i].first, CASES[i].last), CASES[i].e);
        expect_passed_over(*state, odd, CASES[i].reason);
    }
}

static void all_odd_keys_of_a_set_are_named_in_one_warning(void **state)
{
    char document[DOCUMENT_ROOM];

    snprintf(document, sizeof document,
             "{\"keys\":[{\"kty\":\"RSA\",\"use\":\"enc\",\"kid\":\"wraps\"},"
             "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",%s},"
             "{\"kty\":\"EC\",\"crv\":\"P-521\",\"kid\":\"large\"},"
             "{\"kty\":\"AKP\",\"kid\":\"later\"}]}",
             ed_x());
    use(*state, document);
    assert_non_null(strstr(the_warning(), "from=https://id.example/jwks ignored=3"));
    assert_non_null(strstr(said, "key 1 kid=wraps: its use"));
    assert_non_null(strstr(said, "; key 3 kid=large: its crv"));
    assert_non_null(strstr(said, "; key 4 kid=later: its kty"));
}

/* A warning has a line's room, whatever the set is made of. */
static void a_warning_of_many_odd_keys_says_how_many_more(void **state)
{
    char document[DOCUMENT_ROOM] = "{\"keys\":[";

    for (int i = 0; i < 200; i++)
        snprintf(document + strlen(document), 60,
                 "{\"kty\":\"AKP\",\"kid\":\"odd%03d\"},", i);
    snprintf(document + strlen(document), 200,
             "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",%s}]}", ed_x());
    use(*state, document);
    assert_non_null(strstr(the_warning(), "ignored=200"));
    assert_non_null(strstr(said, "kid=odd000"));
    assert_non_null(strstr(said, " more\""));
    assert_true(strlen(said) < 2000);
}

static void of_more_than_64_keys_the_first_64_count(void **state)
{
    char document[DOCUMENT_ROOM] = "{\"keys\":[{\"kty\":\"AKP\",\"kid\":\"odd\"}",
         token[4200];
    struct jwks *keys;

    for (int i = 1; i <= 66; i++)
        snprintf(document + strlen(document), 200,
                 ",{\"kty\":\"oct\",\"kid\":\"k%d\",%s}", i, hs_k());
    strcat(document, "]}");
    assert_false(failed(capture_parse(document, &keys)));
    assert_int_equal(jwks_count(keys), 64);
    assert_non_null(strstr(the_warning(), "key 66 kid=k65: only the first 64"));
    assert_non_null(strstr(said, "key 67 kid=k66: only the first 64"));
    jwt_renew(*state, keys);
    token_sign("hs", "{\"alg\":\"HS256\",\"kid\":\"k64\"}", good_claims(), token);
    assert_true(let_in(*state, token));
    token_sign("hs", "{\"alg\":\"HS256\",\"kid\":\"k65\"}", good_claims(), token);
    assert_false(let_in(*state, token));
}

static void of_equal_kids_the_one_whose_alg_fits_counts(void **state)
{
    char document[DOCUMENT_ROOM];

    snprintf(document, sizeof document,
             "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",%s},"
             "{\"kty\":\"oct\",\"kid\":\"a\",%s},{\"kty\":\"RSA\",\"kid\":\"a\",%s}]}",
             ed_x(), hs_k(), rsa_ne());
    use(*state, document);
    assert_string_equal(said, "");
    static const struct {
        const char *by, *header;
        bool good;
    } CASES[] = {
        {"ed", "{\"alg\":\"EdDSA\",\"kid\":\"a\"}", true},
        {"hs", "{\"alg\":\"HS256\",\"kid\":\"a\"}", true},
        {"rsa", "{\"alg\":\"RS256\",\"kid\":\"a\"}", true},
        {"ec", "{\"alg\":\"ES256\",\"kid\":\"a\"}", false},
        {"ed", "{\"alg\":\"HS256\",\"kid\":\"a\"}", false},
        {"hs", "{\"alg\":\"RS256\",\"kid\":\"a\"}", false},
        {"rsa", "{\"alg\":\"EdDSA\",\"kid\":\"a\"}", false},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        if (let_in(*state, signed_by(CASES[i].by, CASES[i].header, good_claims())) !=
            CASES[i].good)
            fail_msg("%s by %s", CASES[i].header, CASES[i].by);
}

static void of_equal_kids_with_one_alg_the_first_counts(void **state)
{
    char document[DOCUMENT_ROOM];

    snprintf(
        document, sizeof document,
        "{\"keys\":[{\"kty\":\"oct\",\"kid\":\"hs\",%s},{\"kty\":\"oct\",\"kid\":\"hs\",\"k\":"
        "\"YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE\"}]}",
        hs_k());
    use(*state, document);
    assert_non_null(
        strstr(the_warning(), "key 2 kid=hs: an earlier key has its kid and alg"));
    assert_true(let_in(*state, signed_by("hs", HS_HEADER, good_claims())));
}

static void keys_that_say_they_verify_are_taken(void **state)
{
    static const char *const MEMBERS[] = {
        "\"key_ops\":[\"verify\"]",
        "\"key_ops\":[\"sign\",\"verify\"]",
        "\"use\":\"sig\",\"key_ops\":[\"verify\"]",
        "\"alg\":\"EdDSA\"",
        "\"alg\":\"Ed25519\"",
        "\"x5t\":\"AA\",\"x5c\":[\"AA\"],\"unknown\":{}",
    };
    char document[DOCUMENT_ROOM];

    for (size_t i = 0; i < sizeof MEMBERS / sizeof MEMBERS[0]; i++) {
        snprintf(
            document, sizeof document,
            "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"ed\",%s,%s}]}",
            MEMBERS[i], ed_x());
        use(*state, document);
        assert_string_equal(said, "");
        assert_true(let_in(*state, signed_by("ed", ED_HEADER, good_claims())));
        assert_true(let_in(*state, signed_by("ed", "{\"alg\":\"Ed25519\",\"kid\":\"ed\"}",
                                             good_claims())));
    }
}

static void without_a_kid_exactly_one_key_must_fit(void **state)
{
    char document[DOCUMENT_ROOM];

    snprintf(document, sizeof document,
             "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",%s},"
             "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"b\",%s},"
             "{\"kty\":\"oct\",\"kid\":\"c\",%s}]}",
             ed_x(), ed_x(), hs_k());
    use(*state, document);
    assert_true(let_in(*state, signed_by("hs", "{\"alg\":\"HS256\"}", good_claims())));
    assert_false(let_in(*state, signed_by("ed", "{\"alg\":\"EdDSA\"}", good_claims())));
    assert_false(let_in(*state, signed_by("rsa", "{\"alg\":\"RS256\"}", good_claims())));
    assert_false(let_in(*state, signed_by("hs", "{}", good_claims())));
    assert_false(let_in(*state, signed_by("ed", "{\"alg\":\"HS256\"}", good_claims())));
}

/* What it cannot use of a new set does not keep the old one's keys alive. */
static void a_withdrawn_key_is_not_trusted_whatever_else_is_in_the_set(void **state)
{
    char document[DOCUMENT_ROOM], ed[4200];

    token_sign("ed", ED_HEADER, good_claims(), ed);
    assert_true(let_in(*state, ed));
    snprintf(document, sizeof document,
             "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"odd\",\"n\":\"AQ\",\"e\":\"AQAB\"},"
             "{\"kty\":\"oct\",\"kid\":\"hs\",%s}]}",
             hs_k());
    use(*state, document);
    assert_false(let_in(*state, ed));
    assert_true(let_in(*state, signed_by("hs", HS_HEADER, good_claims())));
}

static void documents_that_are_no_key_set_are_refused_by_name(void **state)
{
    static const char *const FILES[] = {"",
                                        "[]",
                                        "{}",
                                        "{\"keys\":{}}",
                                        "{\"keys\":[]}",
                                        "7",
                                        "{",
                                        "{\"keys\":[],\"keys\":[]}"};

    (void)state;
    for (size_t i = 0; i < sizeof FILES / sizeof FILES[0]; i++) {
        struct jwks *jwks = NULL;
        const char *path = temporary();
        FILE *file = fopen(path, "we");
        fputs(FILES[i], file);
        fclose(file);
        struct err e = jwks_read(path, &jwks);
        unlink(path);
        if (!failed(e))
            fail_msg("taken: %s", FILES[i]);
        assert_non_null(strstr(e.message, path));
        assert_null(jwks);
    }
}

int main(void)
{
#define WITH_KEYS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_KEYS(a_good_token_is_let_in_by_each_algorithm),
        WITH_KEYS(headers_that_say_the_same_in_other_words_are_let_in),
        WITH_KEYS(headers_that_try_something_are_refused),
        WITH_KEYS(hmac_with_the_public_key_as_secret_is_refused),
        WITH_KEYS(hmac_with_an_rsa_key_as_secret_is_refused),
        WITH_KEYS(claims_that_do_not_fit_are_refused),
        WITH_KEYS(claims_that_fit_are_let_in),
        WITH_KEYS(times_have_sixty_seconds_of_skew),
        WITH_KEYS(fractions_of_times_round_against_the_token),
        WITH_KEYS(a_token_changed_in_any_byte_is_refused),
        WITH_KEYS(signatures_cut_short_or_of_zeros_are_refused),
        WITH_KEYS(no_other_byte_stands_for_a_letter),
        WITH_KEYS(shapes_that_are_no_token_are_refused),
        WITH_KEYS(new_keys_count_from_the_next_token_on),
        WITH_KEYS(a_remembered_token_still_expires),
        WITH_KEYS(more_tokens_than_are_remembered_are_all_let_in),
        cmocka_unit_test(a_name_becomes_a_uuid_under_the_namespace),
        WITH_KEYS(without_a_namespace_only_a_uuid_names_a_user),
        cmocka_unit_test(no_name_is_the_uuid_that_another_is_mapped_to),
        cmocka_unit_test(another_claim_can_name_the_user),
        cmocka_unit_test(an_email_counts_only_when_it_was_verified),
        cmocka_unit_test(settings_that_name_no_user_are_refused),
        cmocka_unit_test(a_token_has_at_most_as_many_bytes_as_is_set),
        WITH_KEYS(an_odd_key_is_passed_over_and_the_set_stands),
        WITH_KEYS(an_rsa_key_is_of_2048_to_4096_bits),
        WITH_KEYS(all_odd_keys_of_a_set_are_named_in_one_warning),
        WITH_KEYS(a_warning_of_many_odd_keys_says_how_many_more),
        WITH_KEYS(of_more_than_64_keys_the_first_64_count),
        WITH_KEYS(of_equal_kids_the_one_whose_alg_fits_counts),
        WITH_KEYS(of_equal_kids_with_one_alg_the_first_counts),
        WITH_KEYS(keys_that_say_they_verify_are_taken),
        WITH_KEYS(without_a_kid_exactly_one_key_must_fit),
        WITH_KEYS(a_withdrawn_key_is_not_trusted_whatever_else_is_in_the_set),
        cmocka_unit_test(documents_that_are_no_key_set_are_refused_by_name),
    };

    log_start("jwt_test", LOG_WARN);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
