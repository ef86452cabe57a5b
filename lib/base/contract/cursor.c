/* cursor.c - see cursor.h. */
#include "base/contract/cursor.h"

#include <sodium.h>
#include <string.h>

#include "base/text.h"

enum { MAC_SIZE = 16, VARIANT = sodium_base64_VARIANT_URLSAFE_NO_PADDING };

/* Keyed BLAKE2b over the parts with their NULs, so different scopes and texts are
 * different bytes. */
static void make_mac(const struct cursor_scope *scope, const char *text,
                     uint8_t mac[MAC_SIZE])
{
    crypto_generichash_state state;
    const char *const parts[] = {"cursor", scope->list, scope->bounds, text};

    crypto_generichash_init(&state, scope->key, CURSOR_KEY_SIZE, MAC_SIZE);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        crypto_generichash_update(&state, (const unsigned char *)parts[i],
                                  strlen(parts[i]) + 1);
    crypto_generichash_final(&state, mac, MAC_SIZE);
}

char *cursor_seal(struct arena *arena, const struct cursor_scope *scope, const char *text)
{
    size_t length = strlen(text);
    uint8_t bytes[MAC_SIZE + CURSOR_TEXT_MAX];

    if (length > CURSOR_TEXT_MAX)
        return NULL;
    make_mac(scope, text, bytes);
    memcpy(bytes + MAC_SIZE, text, length);
    size_t room = sodium_base64_encoded_len(MAC_SIZE + length, VARIANT);
    char *cursor = arena_alloc(arena, room);
    if (cursor != NULL)
        sodium_bin2base64(cursor, room, bytes, MAC_SIZE + length, VARIANT);
    return cursor;
}

bool cursor_open(const struct cursor_scope *scope, const char *cursor, char *out,
                 size_t room)
{
    uint8_t bytes[MAC_SIZE + CURSOR_TEXT_MAX], mac[MAC_SIZE];
    size_t size;

    if (!base64_decode(cursor, strlen(cursor), VARIANT, bytes, sizeof bytes, &size) ||
        size < MAC_SIZE || size - MAC_SIZE >= room)
        return false;
    memcpy(out, bytes + MAC_SIZE, size - MAC_SIZE);
    out[size - MAC_SIZE] = '\0';
    if (strlen(out) != size - MAC_SIZE)
        return false;
    make_mac(scope, out, mac);
    return sodium_memcmp(mac, bytes, MAC_SIZE) == 0;
}
