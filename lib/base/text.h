/*
 * text.h - writing JSON, piece by piece, into an arena.
 *
 * Fields come out in the order they are written, so an answer is a pure function of what
 * it tells and a replay gives the same bytes.  A failure is remembered and told at the
 * end, so that writers read downwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"

struct text {
    struct arena *arena;
    char *bytes;
    size_t size; /* bytes written */
    size_t room;
    bool broken; /* the arena was full: bytes are missing */
};

/* Starts an empty text expected to hold about `room` bytes; it grows as needed. */
struct text text_start(struct arena *arena, size_t room);

/* Appends as it is; the second, `size` bytes of it. */
void text_raw(struct text *text, const char *raw);
void text_raw_of(struct text *text, const char *raw, size_t size);

/* Appends a quoted, escaped JSON string.  Bytes that are not UTF-8 become U+FFFD, and
 * NULL becomes "". */
void text_string(struct text *text, const char *value);

/* Appends `size` bytes of a JSON string, as text_string. */
void text_string_of(struct text *text, const char *value, size_t size);

void text_number(struct text *text, int64_t value);

/* Appends a quoted RFC 3339 time with milliseconds, UTC. */
void text_time(struct text *text, int64_t unix_ms);
