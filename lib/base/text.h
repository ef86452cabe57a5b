/*
 * text.h - text out: JSON piece by piece into an arena, and the encodings that it and
 * others need: UTF-8, decimal, hexadecimal, base64.
 *
 * JSON fields come out in the order they are written, so equal data gives equal bytes and
 * a replayed response is identical.  A failure is remembered in `broken`, to be checked
 * once at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

/* ---- JSON ---- */

struct text {
    struct arena *arena;
    char *bytes;
    size_t size; /* bytes written */
    size_t room;
    bool broken; /* the arena was full: bytes are missing */
};

/* Starts an empty text expected to hold about `room` bytes; it grows as needed. */
struct text text_start(struct arena *arena, size_t room);

/* Appends the bytes unchanged. */
void text_raw(struct text *text, const char *raw);
void text_raw_of(struct text *text, const char *raw, size_t size);

/* Appends a quoted, escaped JSON string.  Bytes that are not UTF-8 become U+FFFD; NULL
 * becomes "". */
void text_string(struct text *text, const char *value);
void text_string_of(struct text *text, const char *value, size_t size);

void text_number(struct text *text, int64_t value);

/* Appends a quoted RFC 3339 time with milliseconds, UTC. */
void text_time(struct text *text, int64_t unix_ms);

/* ---- encodings ---- */

/* Length in bytes of the UTF-8 character at `at`, of which `left` bytes (at least 1) may
 * be read; 0 when it is malformed, overlong or a surrogate.  RFC 3629 */
size_t utf8_length(const unsigned char *at, size_t left);

enum { DECIMAL_SIZE = 20 }; /* of an int64_t, with its sign */

/* Writes the number at the end of `out`, without a NUL; returns where it begins.  Cheaper
 * than printf, for text that is written very often. */
static inline size_t decimal_write(int64_t number, char out[DECIMAL_SIZE])
{
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t first = DECIMAL_SIZE;

    do {
        out[--first] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        out[--first] = '-';
    return first;
}

/* Value of a hexadecimal digit of either case; -1 for any other character. */
static inline int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Decodes `size` bytes of base64, strictly: each value has one accepted text.  variant: a
 * sodium_base64_VARIANT_....  False when the text is not that variant to its last byte,
 * or holds more than `room` bytes; `out` is then undefined.  Not constant-time: not for
 * secrets.
 */
bool base64_decode(const char *text, size_t size, int variant, void *out, size_t room,
                   size_t *out_size);
