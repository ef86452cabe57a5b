/*
 * jwks.c - a document of public keys, from an issuer and, the same bytes, from a file.
 */
#include <sodium.h>

#include "base/log.h"
#include "fuzz/fuzz.h"
#include "fuzz/memory_file.h"
#include "gateway/auth/jwks.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    return sodium_init() < 0;
}

/* A file of the bytes is read as they are. */
static void check_file(const char *bytes, size_t size, struct err parsed)
{
    struct memory_file file = memory_file_open((const uint8_t *)bytes, size);
    struct jwks *jwks;
    struct err e = jwks_read(file.path, &jwks);

    assert(e.code == parsed.code && failed(e) == (jwks == NULL));
    jwks_free(jwks);
    memory_file_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t length;
    char *bytes = (char *)input_rest(&in, &length);
    struct jwks *jwks;
    struct err e = jwks_parse(bytes, length, "input", &jwks);

    if (failed(e)) {
        assert_refusal(e);
        assert(jwks == NULL);
    } else {
        assert(jwks_count(jwks) >= 1 && jwks_count(jwks) <= JWKS_KEYS_MAX);
        const struct jwks_key *key;
        assert(failed(jwks_choose(jwks, "", "EdDSA", &key)) && key == NULL);
        assert(failed(jwks_choose(jwks, NULL, "none", &key)) && key == NULL);
        assert(failed(jwks_choose(jwks, NULL, "HS256", &key)) == (key == NULL));
    }
    jwks_free(jwks);
    check_file(bytes, length, e);
    free(bytes);
    return 0;
}
