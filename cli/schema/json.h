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
 *   bytes             base64 with padding          base64 or base64url, padded or not;
 *                                                  surplus bits of the last letter are dropped
 *   repeated          array                        array, null
 *   default value     left out                     null or left out
 *
 * Integers are read digit by digit; a number that the field cannot hold exactly is
 * refused.
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
#include <stdint.h>

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

/*
 * Every field with a value of its kind, in protobuf's JSON: zero, "", the first named
 * enum value that is not zero, one element of what is repeated, one member of each oneof.
 * A message within itself is left out.  NULL when memory is short.
 */
json_t *template_of(const ProtobufCMessageDescriptor *type);

/* ---- for json_read.c and json_write.c alone: names, paths, offsets ----------------- */

enum { JSON_NAME_SIZE = 128, JSON_PATH_SIZE = 96 };

/* Where in a document we are: frames on the stack, innermost last, read by errors. */
struct json_place {
    const struct json_place *up;
    const char *name; /* a field's; NULL for an element of an array */
    size_t index;
};

/* "lines[2].quantity", cut at the front when long; "the message" at the top. */
const char *json_path(const struct json_place *place, char out[JSON_PATH_SIZE]);

/* price_cents -> priceCents; cut at the size of `out`. */
const char *json_camel_name(const char *name, char out[JSON_NAME_SIZE]);

/* Bytes of one value of the type within a message's struct or array. */
size_t json_value_size(ProtobufCType type);

/* Whether a repeated field of `owner` is a map, which protobuf-c shows as its entries. */
bool json_is_map(const ProtobufCMessageDescriptor *owner,
                 const ProtobufCFieldDescriptor *field);
