/* Which tokens are accepted; all others are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/auth/verifier.h"

static void a_good_token_of_each_algorithm_is_accepted(void **state)
{
    assert_true(accepted(*state, signed_by("rsa", RS_HEADER, good_claims())));
    assert_true(accepted(*state, signed_by("ec", ES_HEADER, good_claims())));
    assert_true(accepted(*state, signed_by("ed", ED_HEADER, good_claims())));
    assert_true(accepted(*state, signed_by("hs", HS_HEADER, good_claims())));
    assert_true(accepted(
        *state, signed_by("ed", "{\"kid\":\"ed\",\"alg\":\"EdDSA\"}", good_claims())));
}

/* RFC 7515, 4.1.9: "application/" may stand before it; RFC 9864: Ed25519 is EdDSA. */
static void equivalent_headers_are_accepted(void **state)
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
        if (!accepted(*state, signed_by("ed", HEADERS[i], good_claims())))
            fail_msg("not let in with %s", HEADERS[i]);
    assert_true(accepted(*state, signed_by("rsa", "{\"alg\":\"RS256\"}", good_claims())));
}

static void attacks_by_the_header_are_refused(void **state)
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
        if (accepted(*state, signed_by(CASES[i].key, CASES[i].header, good_claims())))
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
    assert_false(accepted(*state, token));
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
    assert_false(accepted(*state, token));
}

static void other_claims_are_refused(void **state)
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
        if (accepted(*state, token))
            fail_msg("let in with %s %s", CASES[i].claim, CASES[i].value);
    }
}

static void matching_claims_are_accepted(void **state)
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
        if (!accepted(*state, token))
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
        bool good =
            accepted_at(*state, signed_by("ed", ED_HEADER, claims), CASES[i].now_s);
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
        bool good =
            accepted_at(*state, signed_by("ed", ED_HEADER, claims), CASES[i].now_s);
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
            if (accepted(*state, token))
                fail_msg("%s: let in with byte %zu changed", ALGORITHMS[a].kid, i);
            token[i] = kept;
        }
        assert_true(accepted(*state, token));
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
            assert_false(accepted(*state, cut_token));
        }
        memset(signature, 'A', strlen(signature));
        assert_false(accepted(*state, token));
    }
}

/* libsodium reads any byte past 0x7f as '_' (base/text.h). */
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
                assert_false(accepted(*state, token));
            }
            *letter = '_';
        }
        assert_true(accepted(*state, token));
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
        assert_false(accepted(*state, long_token));
        snprintf(long_token, sizeof long_token, "%s%s", ENDS[i], token);
        assert_false(accepted(*state, long_token));
    }
    static const char *const SHAPES[] = {"",    ".",     "..",       "...",
                                         "a.b", "a.b.c", "e30.e30.", "e30.e30.AA"};
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++)
        assert_false(accepted(*state, SHAPES[i]));
    char *dot = strrchr(token, '.');
    for (size_t cut = 1; cut <= strlen(dot); cut++) {
        snprintf(long_token, sizeof long_token, "%.*s", (int)(strlen(token) - cut),
                 token);
        assert_false(accepted(*state, long_token));
    }
    memset(dot + 1, 'A', strlen(dot + 1));
    assert_false(accepted(*state, token));
}

static void a_remembered_token_still_expires(void **state)
{
    char claims[400];

    snprintf(claims, sizeof claims,
             "{\"iss\":\"%s\",\"aud\":\"%s\",\"sub\":\"%s\",\"exp\":2000000000}",
             TOKEN_ISSUER, TOKEN_AUDIENCE, TOKEN_USER);
    const char *token = signed_by("ed", ED_HEADER, claims);
    assert_true(accepted_at(*state, token, 1999999999));
    assert_true(accepted_at(*state, token, 2000000059));
    assert_false(accepted_at(*state, token, 2000000060));
}

static void more_tokens_than_are_remembered_are_all_accepted(void **state)
{
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 40; i++) {
            char value[32], token[1024];
            snprintf(value, sizeof value, "%d", 2000000000 + i);
            token_make("exp", value, token);
            assert_true(accepted(*state, token));
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
    assert_true(accepted(*state, ed) && accepted(*state, hs));
    token_base64(TOKEN_SECRET, strlen(TOKEN_SECRET), k, sizeof k);
    snprintf(document, sizeof document, TEXT, k);
    assert_false(failed(jwks_parse(document, strlen(document), "text", &keys)));
    jwt_renew(*state, keys);
    assert_false(accepted(*state, ed));
    assert_true(accepted(*state, hs));
}

int main(void)
{
#define WITH_KEYS(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_KEYS(a_good_token_of_each_algorithm_is_accepted),
        WITH_KEYS(equivalent_headers_are_accepted),
        WITH_KEYS(attacks_by_the_header_are_refused),
        WITH_KEYS(hmac_with_the_public_key_as_secret_is_refused),
        WITH_KEYS(hmac_with_an_rsa_key_as_secret_is_refused),
        WITH_KEYS(other_claims_are_refused),
        WITH_KEYS(matching_claims_are_accepted),
        WITH_KEYS(times_have_sixty_seconds_of_skew),
        WITH_KEYS(fractions_of_times_round_against_the_token),
        WITH_KEYS(a_token_changed_in_any_byte_is_refused),
        WITH_KEYS(signatures_cut_short_or_of_zeros_are_refused),
        WITH_KEYS(no_other_byte_stands_for_a_letter),
        WITH_KEYS(shapes_that_are_no_token_are_refused),
        WITH_KEYS(new_keys_count_from_the_next_token_on),
        WITH_KEYS(a_remembered_token_still_expires),
        WITH_KEYS(more_tokens_than_are_remembered_are_all_accepted),
    };

    log_start("jwt_test", LOG_WARN);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
