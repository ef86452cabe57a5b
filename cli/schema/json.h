/*
 * json.h - protobuf messages as JSON, through their descriptors.
 *
 * The mapping is protobuf's own, https://protobuf.dev/programming-guides/json/ :
 *
 *   field             written as                   read from
 *   names             price_cents or priceCents    either; unknown ones are refused
 *   int32, uint32     number                       number, string; 1e2 and 1.0 too, -0.0 not
 *   int64, uint64     string, or number            the same
 *   float, double     number, "NaN", "Infinity"    number, string
 *   bool              true, false                  true, false
 *   enum              its name; number if unknown  name or number (in a string, too)
 *   bytes             base64 with padding          base64 or base64url, padded or not; what
 *                                                  the last letter has too much is dropped
 *   repeated          array                        array, null
 *   default value     left out                     null or left out
 *
 * Integers are read digit by digit: what the field cannot hold exactly is refused.
 *
 * Refused with the path of the field ("lines[2].quantity"): unknown fields, values out of
 * range or of another kind, a key given twice, two members of a oneof, text with a zero
 * character, what is not UTF-8, messages nested deeper than JSON_DEPTH_MAX.
 *
 * Not done, because the contract uses none: maps (refused) and the well-known types.
 */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"

enum { JSON_DEPTH_MAX = 32 }; /* messages within messages */

struct json_style {
    bool original_names;  /* price_cents rather than priceCents */
    bool int64_as_number; /* exact up to 2^53 for most readers; the mapping says string */
    bool defaults;        /* write fields that have their default value, too */
};

/*
 * A message of `type` in the arena from `length` bytes of JSON text.  INVALID_ARGUMENT
 * names the field or the line; RESOURCE_EXHAUSTED past the arena's cap.
 */
struct err message_from_json(const char *text, size_t length,
                             const ProtobufCMessageDescriptor *type, struct arena *arena,
                             ProtobufCMessage **out) __attribute__((warn_unused_result));

/*
 * The JSON of a message, fields in order of their numbers; to be given to json_decref.
 * INVALID_ARGUMENT when a text is not UTF-8 or messages nest too deeply.
 */
struct err message_to_json(const ProtobufCMessage *message, struct json_style style,
                           json_t **out) __attribute__((warn_unused_result));
