/* keys_text.c - see keys_text.h. */
#include "rpc/auth/keys_text.h"

#include <sodium.h>
#include <string.h>

#include "base/text.h"

static const char NAME_CHARACTERS[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
static const char METHOD_CHARACTERS[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./";

bool keys_name_valid(const char *name)
{
    size_t length = strlen(name);

    return length >= 1 && length <= KEY_NAME_MAX &&
           strspn(name, NAME_CHARACTERS) == length;
}

bool keys_pattern_valid(const char *pattern)
{
    size_t length = strlen(pattern), plain = strspn(pattern, METHOD_CHARACTERS);

    if (length == 0 || length > KEYS_PATTERN_MAX)
        return false;
    return plain == length || (plain == length - 1 && pattern[plain] == '*');
}

bool keys_decode(const char *base64, uint8_t out[KEY_PUBLIC_SIZE])
{
    size_t size;

    return base64_decode(base64, strlen(base64), sodium_base64_VARIANT_ORIGINAL, out,
                         KEY_PUBLIC_SIZE, &size) &&
           size == KEY_PUBLIC_SIZE;
}

void keys_encode(const uint8_t *key, char out[KEYS_BASE64_SIZE])
{
    sodium_bin2base64(out, KEYS_BASE64_SIZE, key, KEY_PUBLIC_SIZE,
                      sodium_base64_VARIANT_ORIGINAL);
}

bool keys_next_line(char **rest, char **line)
{
    char *start = *rest;

    if (start == NULL || *start == '\0')
        return false;
    char *end = strchr(start, '\n');
    *rest = end == NULL ? NULL : end + 1;
    if (end != NULL)
        *end = '\0';
    start[strcspn(start, "#")] = '\0';
    start += strspn(start, KEYS_BLANKS);
    size_t length = strlen(start);
    while (length > 0 && strchr(KEYS_BLANKS, start[length - 1]) != NULL)
        start[--length] = '\0';
    *line = start;
    return true;
}
