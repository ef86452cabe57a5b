/* identity_test.c - the development issuer's files and tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <sodium.h>
#include <sys/stat.h>

#include "cli/commands/identity.h"
#include "cli/files.h"
#include "unit/cli/folder.h"

static char folder[FOLDER_SIZE];

static int set_up(void **state)
{
    (void)state;
    folder_make(folder);
    return sodium_init() < 0;
}

static int tear_down(void **state)
{
    (void)state;
    folder_remove(folder);
    return 0;
}

static json_t *decode(const char *text, size_t length)
{
    unsigned char json[2048];
    size_t size = 0;

    assert_int_equal(sodium_base642bin(json, sizeof json, text, length, NULL, &size, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    return json_loadb((char *)json, size, JSON_REJECT_DUPLICATES, NULL);
}

static void a_token_is_signed_by_the_key_that_is_published(void **state)
{
    static const struct claims claims = {"the issuer", "shop", "some user", 1000, 4600};
    char key[FOLDER_PATH_SIZE], jwks[FOLDER_PATH_SIZE], *token = NULL;
    unsigned char public_key[32], signature[64];
    struct issuer made, read;
    size_t size = 0;
    struct arena *arena = arena_new(16384);

    (void)state;
    assert_false(failed(issuer_create(folder_path(folder, "jwt.key", key), &made)));
    assert_false(failed(issuer_publish(&made, folder_path(folder, "jwks.json", jwks))));
    assert_false(failed(issuer_read(key, &read)));
    assert_memory_equal(&made, &read, sizeof made);
    assert_false(failed(issuer_token(&read, &claims, arena, &token)));

    json_t *set = json_load_file(jwks, JSON_REJECT_DUPLICATES, NULL);
    json_t *jwk = json_array_get(json_object_get(set, "keys"), 0);
    assert_null(json_object_get(jwk, "d"));
    assert_string_equal(json_string_value(json_object_get(jwk, "kid")), made.id);
    json_t *x = json_object_get(jwk, "x");
    assert_int_equal(sodium_base642bin(public_key, 32, json_string_value(x),
                                       json_string_length(x), NULL, &size, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);

    char *dot = strchr(token, '.'), *end = strrchr(token, '.');
    json_t *header = decode(token, (size_t)(dot - token));
    json_t *body = decode(dot + 1, (size_t)(end - dot - 1));
    json_t *expected = json_pack("{s:s, s:s, s:s, s:i, s:i}", "iss", "the issuer", "aud",
                                 "shop", "sub", "some user", "iat", 1000, "exp", 4600);
    assert_true(json_equal(body, expected));
    assert_string_equal(json_string_value(json_object_get(header, "alg")), "EdDSA");
    assert_string_equal(json_string_value(json_object_get(header, "typ")), "JWT");
    assert_string_equal(json_string_value(json_object_get(header, "kid")), made.id);
    assert_int_equal(sodium_base642bin(signature, 64, end + 1, strlen(end + 1), NULL,
                                       &size, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    assert_int_equal(crypto_sign_verify_detached(signature, (unsigned char *)token,
                                                 (unsigned long long)(end - token),
                                                 public_key),
                     0);
    json_decref(set);
    json_decref(header);
    json_decref(body);
    json_decref(expected);
    arena_free(arena);
}

static void the_private_key_is_for_its_owner_and_never_replaced(void **state)
{
    char key[FOLDER_PATH_SIZE];
    struct issuer made, other;
    struct stat status;

    (void)state;
    assert_false(failed(issuer_create(folder_path(folder, "jwt.key", key), &made)));
    assert_int_equal(stat(key, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(issuer_create(key, &other).code, ERR_ALREADY_EXISTS);
    assert_false(failed(issuer_read(key, &other)));
    assert_string_equal(made.id, other.id);
    assert_int_equal(chmod(key, 0644), 0);
    struct err e = issuer_read(key, &other);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
    assert_non_null(strstr(e.message, "chmod 600"));
}

static void what_is_no_key_pair_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "{}",
        "[]",
        /* RFC 8037's example, then with another x, another curve, and d cut short */
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_"
        "9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\""
        ",\"x\":\"AAqYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"X25519\",\"d\":\"nWGxne_"
        "9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\""
        ",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
        "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_"
        "9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyu\""
        ",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}",
    };
    char key[FOLDER_PATH_SIZE];
    struct issuer issuer;

    (void)state;
    folder_path(folder, "jwt.key", key);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(failed(file_write(key, texts[i], strlen(texts[i]), 0600, true)));
        assert_int_equal(issuer_read(key, &issuer).code, ERR_INVALID_ARGUMENT);
    }
}

static void a_keys_id_is_its_rfc7638_thumbprint(void **state)
{
    /* RFC 8037, appendix A.3 */
    static const char text[] = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"d\":\"nWGxne_"
                               "9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\""
                               ",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
    char key[FOLDER_PATH_SIZE];
    struct issuer issuer;

    (void)state;
    folder_path(folder, "jwt.key", key);
    assert_false(failed(file_write(key, text, strlen(text), 0600, true)));
    assert_false(failed(issuer_read(key, &issuer)));
    assert_string_equal(issuer.id, "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

static void writing_leaves_no_half_file_and_no_litter(void **state)
{
    char path[FOLDER_PATH_SIZE], missing[FOLDER_PATH_SIZE + 8];
    int files = 0;

    (void)state;
    folder_path(folder, "x", path);
    assert_false(failed(file_write(path, "one", 3, 0600, false)));
    assert_int_equal(file_write(path, "two", 3, 0600, false).code, ERR_ALREADY_EXISTS);
    assert_false(failed(file_write(path, "three", 5, 0600, true)));
    snprintf(missing, sizeof missing, "%s/none/x", folder);
    assert_int_equal(file_write(missing, "x", 1, 0600, true).code, ERR_INVALID_ARGUMENT);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir)) != NULL;)
        files += entry->d_name[0] != '.';
    closedir(dir);
    assert_int_equal(files, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_token_is_signed_by_the_key_that_is_published),
        TEST(the_private_key_is_for_its_owner_and_never_replaced),
        TEST(what_is_no_key_pair_is_refused),
        TEST(a_keys_id_is_its_rfc7638_thumbprint),
        TEST(writing_leaves_no_half_file_and_no_litter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
