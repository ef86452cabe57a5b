/* text.c - see text.h. */
#include "base/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/decimal.h"
#include "base/utf8.h"

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

static void append(struct text *text, const char *bytes, size_t size)
{
    if (!reserve(text, size))
        return;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
}

struct text text_start(struct arena *arena, size_t room)
{
    struct text text = {.arena = arena, .room = room, .bytes = arena_alloc(arena, room)};

    text.broken = text.bytes == NULL;
    return text;
}

void text_raw(struct text *text, const char *raw)
{
    append(text, raw, strlen(raw));
}

void text_raw_of(struct text *text, const char *raw, size_t size)
{
    append(text, raw, size);
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
    while (size > 0) {
        size_t run = 0;
        while (run < size && plain(at[run]))
            run++;
        append(text, (const char *)at, run);
        at += run;
        size -= run;
        if (size == 0)
            break;
        size_t length = utf8_length(at, size);
        if (length > 1)
            append(text, (const char *)at, length);
        else if (length == 1)
            append_escaped(text, *at);
        else
            text_raw(text, "\xef\xbf\xbd");
        at += length > 0 ? length : 1;
        size -= length > 0 ? length : 1;
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

    append(text, digits + first, sizeof digits - first);
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
