/* json_scalar.h - single values of json.h's mapping, from JSON: all but messages. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "base/err.h"
#include "cli/schema/json_names.h"

/*
 * One value of the field's type, which is no message, stored at `out` as protobuf-c has it
 * in a struct or array.  Texts and bytes are copied into the arena.  INVALID_ARGUMENT
 * names `place` and what is expected there; RESOURCE_EXHAUSTED past the arena's cap.
 */
struct err json_read_scalar(const json_t *json, const ProtobufCFieldDescriptor *field,
                            const struct json_place *place, struct arena *arena,
                            void *out) __attribute__((warn_unused_result));

/* INVALID_ARGUMENT: "lines[2].quantity must be EXPECTED". */
struct err json_unfit(const struct json_place *place, const char *expected)
    __attribute__((warn_unused_result));
