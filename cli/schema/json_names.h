/* json_names.h - what the two directions of json.h share: names, paths, offsets. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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
