/* Key sets: which keys are used, which are ignored. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/gateway/auth/verifier.h"

/* Room for a document of more keys than are kept. */
enum { DOCUMENT_ROOM = 16384 };

static char said[8192]; /* what capture_parse read from standard error */

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
static void expect_ignored(struct jwt *jwt, const char *odd, const char *reason)
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
    assert_true(accepted(jwt, signed_by("ed", ED_HEADER, good_claims())));

    snprintf(document, sizeof document, "{\"keys\":[%s]}", odd);
    struct err e = capture_parse(document, &keys);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, "https://id.example/jwks"));
    assert_null(keys);
}

static void an_unusable_key_is_ignored_and_the_set_accepted(void **state)
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
        expect_ignored(*state, odd, CASES[i].reason);
    }
    expect_ignored(*state, "7", "not a JSON object");
    expect_ignored(*state, "null", "not a JSON object");
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
        expect_ignored(*state, odd, CASES[i].reason);
    }
}

static void all_ignored_keys_of_a_set_are_in_one_warning(void **state)
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
static void a_warning_of_many_ignored_keys_says_how_many_more(void **state)
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
    assert_true(accepted(*state, token));
    token_sign("hs", "{\"alg\":\"HS256\",\"kid\":\"k65\"}", good_claims(), token);
    assert_false(accepted(*state, token));
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
        if (accepted(*state, signed_by(CASES[i].by, CASES[i].header, good_claims())) !=
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
    assert_true(accepted(*state, signed_by("hs", HS_HEADER, good_claims())));
}

static void keys_for_verifying_are_used(void **state)
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
        assert_true(accepted(*state, signed_by("ed", ED_HEADER, good_claims())));
        assert_true(
            accepted(*state, signed_by("ed", "{\"alg\":\"Ed25519\",\"kid\":\"ed\"}",
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
    assert_true(accepted(*state, signed_by("hs", "{\"alg\":\"HS256\"}", good_claims())));
    assert_false(accepted(*state, signed_by("ed", "{\"alg\":\"EdDSA\"}", good_claims())));
    assert_false(
        accepted(*state, signed_by("rsa", "{\"alg\":\"RS256\"}", good_claims())));
    assert_false(accepted(*state, signed_by("hs", "{}", good_claims())));
    assert_false(accepted(*state, signed_by("ed", "{\"alg\":\"HS256\"}", good_claims())));
}

/* What it cannot use of a new set does not keep the old one's keys alive. */
static void a_withdrawn_key_is_not_trusted_whatever_else_is_in_the_set(void **state)
{
    char document[DOCUMENT_ROOM], ed[4200];

    token_sign("ed", ED_HEADER, good_claims(), ed);
    assert_true(accepted(*state, ed));
    snprintf(document, sizeof document,
             "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"odd\",\"n\":\"AQ\",\"e\":\"AQAB\"},"
             "{\"kty\":\"oct\",\"kid\":\"hs\",%s}]}",
             hs_k());
    use(*state, document);
    assert_false(accepted(*state, ed));
    assert_true(accepted(*state, signed_by("hs", HS_HEADER, good_claims())));
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
        WITH_KEYS(an_unusable_key_is_ignored_and_the_set_accepted),
        WITH_KEYS(an_rsa_key_is_of_2048_to_4096_bits),
        WITH_KEYS(all_ignored_keys_of_a_set_are_in_one_warning),
        WITH_KEYS(a_warning_of_many_ignored_keys_says_how_many_more),
        WITH_KEYS(of_more_than_64_keys_the_first_64_count),
        WITH_KEYS(of_equal_kids_the_one_whose_alg_fits_counts),
        WITH_KEYS(of_equal_kids_with_one_alg_the_first_counts),
        WITH_KEYS(keys_for_verifying_are_used),
        WITH_KEYS(without_a_kid_exactly_one_key_must_fit),
        WITH_KEYS(a_withdrawn_key_is_not_trusted_whatever_else_is_in_the_set),
        cmocka_unit_test(documents_that_are_no_key_set_are_refused_by_name),
    };

    log_start("jwks_test", LOG_WARN);
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
