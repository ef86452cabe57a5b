/* template.h - an example of a message, to be edited and sent. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/*
 * Every field with a value of its kind, in protobuf's JSON: zero, "", the first named
 * enum value that is not zero, one element of what is repeated, one member of each oneof.
 * A message within itself is left out.  NULL when memory is short.
 */
json_t *template_of(const ProtobufCMessageDescriptor *type);
