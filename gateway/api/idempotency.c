/* idempotency.c - see idempotency.h. */
#include "gateway/api/idempotency.h"

#include <string.h>

#include "base/contract/ids.h"
#include "gateway/api/body.h"

bool idempotency_read_string(const char *field, char *out)
{
    const char *at = field;

    if (*at++ != '"')
        return false;
    for (; *at != '"'; at++) {
        if (*at == '\\' && *++at != '"' && *at != '\\')
            return false;
        if (*at < ' ' || *at > '~') /* also the end of the text */
            return false;
        *out++ = *at;
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
    if (idempotency_read_string(header, key))
        return ERR_NONE;
    return invalid("Idempotency-Key opens with a quote but is not one quoted string "
                   "of ASCII, with \\ only before \" and \\.");
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
        return invalid(
            "The Idempotency-Key header and idempotency_key in the body differ; send "
            "one of them.");
    key = key != NULL ? key : body_field;
    if (key == NULL)
        return invalid(
            "The Idempotency-Key header is missing; send a fresh UUID a click.");
    if (!visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX))
        return invalid("The idempotency key must be %d to %d visible ASCII characters.",
                       IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX);
    *out = arena_strdup(arena, key);
    return *out == NULL ? err_memory() : ERR_NONE;
}
