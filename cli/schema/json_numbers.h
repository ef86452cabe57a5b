/*
 * json_numbers.h - JSON whose numbers keep their digits.
 *
 * Jansson makes an int64 or a double of a number, and a double cannot tell
 * 9007199254740993.0 from ...992.0.  Here a number stays the text it was; in the tree it is a
 * string that begins with a zero character, which no text of a caller's can hold.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

/* The tree of `size` bytes of JSON; give it to json_decref.  INVALID_ARGUMENT says where it is
 * malformed, names a key twice, or holds a zero character; RESOURCE_EXHAUSTED past the arena's
 * cap, out of which the work is done. */
struct err json_read_numbers(const char *text, size_t size, struct arena *arena,
                             json_t **out) __attribute__((warn_unused_result));

/* A number's text as it was written, by JSON's grammar; NULL when it is none. */
const char *json_number_text(const json_t *json);

/* Whether it is a string in what was read, and no number. */
bool json_is_text(const json_t *json);

/* Whether all of the text is a number by JSON's grammar: no blanks, no plus sign, no leading
 * zeros, no hex.  The second: `size` bytes of it. */
bool json_number_valid(const char *text);
bool json_number_valid_of(const char *text, size_t size);
