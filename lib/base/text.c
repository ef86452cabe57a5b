/* text.c - see text.h. */
#include "base/text.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static bool reserve(struct text *text, size_t more)
{
    if (text->broken)
        return false;
    if (text->room - text->size >= more)
        return true;
    size_t room = 2 * text->room + more;
    char *bytes = arena_alloc(text->arena, room);
    text->broken = bytes == NULL;
    if (text->broken)
        return false;
    if (text->size > 0)
        memcpy(bytes, text->bytes, text->size);
    text->bytes = bytes;
    text->room = room;
    return true;
}

struct text text_start(struct arena *arena, size_t room)
{
    struct text text = {.arena = arena, .room = room, .bytes = arena_alloc(arena, room)};

    text.broken = text.bytes == NULL;
    return text;
}

void text_raw_of(struct text *text, const char *raw, size_t size)
{
    if (!reserve(text, size))
        return;
    memcpy(text->bytes + text->size, raw, size);
    text->size += size;
}

void text_raw(struct text *text, const char *raw)
{
    text_raw_of(text, raw, strlen(raw));
}

static bool plain(unsigned char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void append_escaped(struct text *text, unsigned char c)
{
    char escape[8];

    if (c == '"' || c == '\\')
        snprintf(escape, sizeof escape, "\\%c", c);
    else
        snprintf(escape, sizeof escape, "\\u%04x", c);
    text_raw(text, escape);
}

void text_string_of(struct text *text, const char *value, size_t size)
{
    const unsigned char *at = (const unsigned char *)value;

    text_raw(text, "\"");
    for (size_t run; size > 0; at += run, size -= run) {
        for (run = 0; run < size && plain(at[run]);)
            run++;
        if (run > 0 || (run = utf8_length(at, size)) > 1)
            text_raw_of(text, (const char *)at, run);
        else if (run == 1)
            append_escaped(text, *at);
        else
            text_raw(text, "\xef\xbf\xbd");
        run = run > 0 ? run : 1;
    }
    text_raw(text, "\"");
}

void text_string(struct text *text, const char *value)
{
    text_string_of(text, value, value == NULL ? 0 : strlen(value));
}

void text_number(struct text *text, int64_t value)
{
    char digits[DECIMAL_SIZE];
    size_t first = decimal_write(value, digits);

    text_raw_of(text, digits + first, sizeof digits - first);
}

void text_time(struct text *text, int64_t unix_ms)
{
    char buffer[64];
    struct tm utc;
    int64_t ms = ((unix_ms % 1000) + 1000) % 1000;
    time_t seconds = (time_t)(unix_ms / 1000 - (unix_ms % 1000 < 0));

    if (gmtime_r(&seconds, &utc) == NULL) {
        text->broken = true; /* a year beyond int */
        return;
    }
    size_t used = strftime(buffer, sizeof buffer, "\"%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(buffer + used, sizeof buffer - used, ".%03dZ\"", (int)ms);
    text_raw(text, buffer);
}

/* ---- encodings ---- */

size_t utf8_length(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        size_t length;
    } FORMS[] = {
        {0x00, 0x7f, 0, 0, 1},       {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4}, {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };

    for (size_t f = 0; f < sizeof FORMS / sizeof FORMS[0]; f++) {
        if (at[0] < FORMS[f].first || at[0] > FORMS[f].last)
            continue;
        size_t length = FORMS[f].length;
        if (length > left ||
            (length > 1 && (at[1] < FORMS[f].low || at[1] > FORMS[f].high)))
            return 0;
        for (size_t i = 2; i < length; i++)
            if (at[i] < 0x80 || at[i] > 0xbf)
                return 0;
        return length;
    }
    return 0;
}

/* libsodium 1.0.18 reads any byte past 0x7f as the alphabet's last letter ('_' or '/'),
 * so a signature would have many spellings; the loop refuses those bytes.  libsodium
 * itself refuses padding, white space and stray bits. */
bool base64_decode(const char *text, size_t size, int variant, void *out, size_t room,
                   size_t *out_size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] > 0x7f)
            return false;
    return sodium_base642bin(out, room, text, size, NULL, out_size, NULL, variant) == 0;
}
