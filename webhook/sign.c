/* sign.c - see sign.h. */
#include "webhook/sign.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

static void sign_with(const struct secret *secret, const char *head, const char *body,
                      char *out, size_t room)
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    char text[64];

    crypto_auth_hmacsha256_init(&state, secret->bytes, secret->size);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)head, strlen(head));
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)body, strlen(body));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_memzero(&state, sizeof state);
    sodium_bin2base64(text, sizeof text, mac, sizeof mac, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, room, "v1,%s", text);
}

void sign(const struct endpoint *endpoint, const char *id, long long seconds,
          const char *body, char out[SIGNATURE_SIZE])
{
    char head[128];
    size_t used = 0;

    snprintf(head, sizeof head, "%s.%lld.", id, seconds);
    out[0] = '\0';
    for (size_t i = 0; i < endpoint->secret_count; i++) {
        if (i > 0)
            out[used++] = ' ';
        sign_with(&endpoint->secrets[i], head, body, out + used, SIGNATURE_SIZE - used);
        used += strlen(out + used);
    }
}
