/* jwks.c - a document of public keys, from a file or an issuer. */
#include <sodium.h>

#include "base/log.h"
#include "fuzz/fuzz.h"
#include "gateway/jwks.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    log_start("fuzz", LOG_ERROR);
    return sodium_init() < 0;
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
        assert(jwks_find(jwks, "") == NULL);
    }
    jwks_free(jwks);
    free(bytes);
    return 0;
}
