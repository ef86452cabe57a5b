/* idempotency.c - see idempotency.h. */
#include "gateway/idempotency.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"

/* Removes the quotes and escapes of a structured-field string (RFC 8941, 3.3.3). */
static bool unquote(const char *quoted, char *out)
{
    const char *at = quoted + 1;

    while (*at != '"') {
        if (*at == '\\') {
            at++;
            if (*at != '"' && *at != '\\')
                return false;
        }
        if (*at == '\0')
            return false;
        *out++ = *at++;
    }
    *out = '\0';
    return at[1] == '\0';
}

static struct err key_of_header(struct arena *arena, const char *header, const char **out)
{
    *out = header;
    if (header[0] != '"')
        return ERR_NONE;
    char *key = arena_alloc(arena, strlen(header) + 1);
    if (key == NULL)
        return err_memory();
    *out = key;
    if (unquote(header, key))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "Idempotency-Key opens with a quote but is not a quoted string.");
}

struct err idempotency_key(struct arena *arena, const char *header,
                           const char *body_field, const char **out)
{
    const char *key = NULL;

    if (header != NULL) {
        struct err e = key_of_header(arena, header, &key);
        if (failed(e))
            return e;
    }
    if (key != NULL && body_field != NULL && strcmp(key, body_field) != 0)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "The Idempotency-Key header and idempotency_key in the body differ; send "
            "one of them.");
    key = key != NULL ? key : body_field;
    if (key == NULL)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "The Idempotency-Key header is missing; send a fresh UUID a click.");
    if (!visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "The idempotency key must be %d to %d visible ASCII characters.",
                        IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX);
    *out = arena_strdup(arena, key);
    return *out == NULL ? err_memory() : ERR_NONE;
}

static void add(crypto_generichash_state *state, const char *field)
{
    size_t length = strlen(field);
    uint8_t prefix[8];

    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)length >> (56 - 8 * i));
    crypto_generichash_update(state, prefix, sizeof prefix);
    crypto_generichash_update(state, (const unsigned char *)field, length);
}

void idempotency_fingerprint(const char *user, const char *method, const char *route,
                             const struct order_request *request,
                             uint8_t out[FINGERPRINT_SIZE])
{
    crypto_generichash_state state;
    char total[24] = "";

    if (request->has_expected_total)
        snprintf(total, sizeof total, "%" PRId64, request->expected_total_cents);
    crypto_generichash_init(&state, NULL, 0, FINGERPRINT_SIZE);
    add(&state, user);
    add(&state, method);
    add(&state, route);
    add(&state, request->cart_id);
    add(&state, request->payment_method_id);
    add(&state, total);
    crypto_generichash_final(&state, out, FINGERPRINT_SIZE);
}
