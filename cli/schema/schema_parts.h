/* schema_parts.h - what schema.c and schema_types.c share; for them alone. */
#pragma once

#include "cli/schema/descriptor.pb-c.h"
#include "cli/schema/schema.h"

struct entry {
    struct symbol symbol;
    struct entry *next;
    const char *package;
    bool proto3;
    union {
        const Descriptor__DescriptorProto *message;
        const Descriptor__EnumDescriptorProto *enumeration;
        const Descriptor__ServiceDescriptorProto *service;
    } source;
};

struct schema_reader {
    struct arena *arena;
    struct schema schema; /* sorted once the first pass is over */
    struct entry *first, **last;
    size_t count;
};

/* Fills the descriptor of an entry, which is empty until then; for a method, field or
 * value, points its symbol into its owner's, which was built before.
 * INVALID_ARGUMENT. */
struct err schema_build(struct schema_reader *r, const struct entry *entry)
    __attribute__((warn_unused_result));
