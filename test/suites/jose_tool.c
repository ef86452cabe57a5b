/*
 * jose_tool.c - verifies signed texts as the gateway does, for jose.py.
 *
 *      jose_tool KEY_SET_FILE < TEXTS
 *
 * TEXTS has one JWS a line, in hexadecimal.  For each, a line says "good" and the payload
 * in hexadecimal, or "bad" and why.  A set without a usable key is bad for all of them.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "gateway/auth/jwks.h"
#include "gateway/auth/jwt.h"

/* A JWS of the suites is at most some ten thousand bytes. */
enum { TEXT_MAX = 1 << 16 };

static void verify(const char *text, size_t size, const struct jwks *keys,
                   const char *no_keys)
{
    struct jws jws;

    if (keys == NULL) {
        printf("bad %s\n", no_keys);
        return;
    }
    struct err e = jws_verify(text, size, keys, &jws);
    if (failed(e)) {
        printf("bad %s\n", e.message);
        return;
    }
    printf("good ");
    for (size_t i = 0; i < jws.payload_size; i++)
        printf("%02x", (unsigned char)jws.payload[i]);
    printf("\n");
    jws_clear(&jws);
}

int main(int argc, char **argv)
{
    static char line[2 * TEXT_MAX + 2], text[TEXT_MAX];
    struct jwks *keys;
    size_t size;

    log_start("jose_tool", LOG_ERROR);
    if (argc != 2 || sodium_init() < 0) {
        fprintf(stderr, "usage: jose_tool KEY_SET_FILE < TEXTS\n");
        return 2;
    }
    struct err no_keys = jwks_read(argv[1], &keys);
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (sodium_hex2bin((unsigned char *)text, sizeof text, line, strlen(line), NULL,
                           &size, NULL) != 0) {
            fprintf(stderr, "jose_tool: a line is not hexadecimal\n");
            return 2;
        }
        verify(text, size, keys, no_keys.message);
    }
    jwks_free(keys);
    return 0;
}
