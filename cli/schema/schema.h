/*
 * schema.h - the services and types of a FileDescriptorSet, made usable at run time.
 *
 *   FileDescriptorSet --> symbols: every service, method, message, field, enum and value,
 *                         by full name, with the .proto's comments
 *                     --> protobuf-c's own descriptors, built in memory, so that JSON,
 *                         packing and unpacking work as for compiled-in types
 *
 * The set may come from a server: nothing in it is trusted.  What protobuf-c cannot
 * handle safely is refused (INVALID_ARGUMENT names the symbol): names that are none,
 * field numbers out of range or twice, unknown types, groups, types nested deeper than
 * SCHEMA_DEPTH_MAX.  All memory is the arena's.
 *
 * Not done: extensions, proto2's default values, editions.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

enum {
    SCHEMA_DEPTH_MAX = 16,  /* types declared within types */
    SCHEMA_LEVELS_MAX = 32, /* messages within messages, as JSON_DEPTH_MAX */
    SCHEMA_NAME_MAX = 255,  /* bytes of a full name */
};

enum symbol_kind {
    SYMBOL_SERVICE,
    SYMBOL_METHOD,
    SYMBOL_MESSAGE,
    SYMBOL_FIELD,
    SYMBOL_ENUM,
    SYMBOL_VALUE,
};

struct symbol {
    enum symbol_kind kind;
    const char *name;           /* "orders.v1.Orders/Place", "orders.v1.Order.lines" */
    const char *short_name;     /* "Place", "lines" */
    const char *comment;        /* lines of text without slashes; "" when there is none */
    const struct symbol *owner; /* a method's service, a field's message, ...; or NULL */
    int levels; /* of a message: how deep messages nest, itself included; past
                   SCHEMA_LEVELS_MAX when it can contain itself */
    union {
        const ProtobufCServiceDescriptor *service;
        const ProtobufCMethodDescriptor *method;
        const ProtobufCMessageDescriptor *message;
        const ProtobufCFieldDescriptor *field;
        const ProtobufCEnumDescriptor *enumeration;
        const ProtobufCEnumValue *value;
    } of;
};

struct schema {
    const struct symbol *const *symbols; /* by full name */
    size_t count;
};

/* Reads a packed FileDescriptorSet, into the arena.  Types may come in any order. */
struct err schema_read(const void *set, size_t size, struct arena *arena,
                       const struct schema **out) __attribute__((warn_unused_result));

/* The symbol of exactly that full name; NULL when there is none. */
const struct symbol *schema_get(const struct schema *schema, const char *name);

/*
 * The symbol of a full name, or of its end where that is unambiguous: Orders/Place,
 * PlaceRequest.  Only kinds whose bit (1 << SYMBOL_x) is set count; a field or value
 * needs its type's name in front.  INVALID_ARGUMENT says what there is.
 */
struct err schema_find(const struct schema *schema, const char *name, unsigned kinds,
                       const struct symbol **out) __attribute__((warn_unused_result));

/* Whether messages of a type may be unpacked: protobuf-c goes as deep as the bytes do, so
 * not those of a type that can contain itself. */
bool schema_may_unpack(const struct schema *schema,
                       const ProtobufCMessageDescriptor *type);

/* "service", "method", ... */
const char *symbol_kind_name(enum symbol_kind kind);
