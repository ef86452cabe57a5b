/*
 * schema_parts.h - what schema*.c and comments.c share; for them alone.
 *
 * Reading takes two passes: the first makes a symbol for every name, with room for its
 * descriptor; the second fills the descriptors, so that types may refer to each other
 * whatever their order.
 */
#pragma once

#include "cli/descriptor.pb-c.h"
#include "cli/schema.h"

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

/* ---- the first pass (schema_names.c) ---- */

/* Makes a symbol for every name in the file: "OWNER.NAME" or, for a method, "OWNER/NAME". */
struct err schema_add_file(struct schema_reader *r,
                           const Descriptor__FileDescriptorProto *file)
    __attribute__((warn_unused_result));

/* ---- the second (schema_types.c; messages in schema_message.c) ---- */

/* Fills the descriptor of a service, message or enum, which is empty until then. */
struct err schema_build(struct schema_reader *r, const struct entry *entry)
    __attribute__((warn_unused_result));
struct err schema_build_message(struct schema_reader *r, const struct entry *entry)
    __attribute__((warn_unused_result));

/* The message or enum that a field or method names ".a.b.C"; NULL when there is none. */
const struct symbol *schema_named_type(const struct schema_reader *r, const char *name,
                                       enum symbol_kind kind);

/* Runs of consecutive numbers, by which protobuf-c looks them up; `number` gives the i-th
 * of `items`, which are sorted.  NULL when memory is short. */
const ProtobufCIntRange *schema_ranges(struct arena *arena, unsigned count,
                                       int (*number)(const void *items, unsigned i),
                                       const void *items, unsigned *n_ranges);

/* INVALID_ARGUMENT: "NAME is an enum without values". */
struct err schema_broken(const char *name, const char *how)
    __attribute__((warn_unused_result));

/* ---- comments (comments.c) ---- */

/* The comments of one file, to be looked up by path. */
struct comments {
    struct arena *arena;
    const Descriptor__SourceCodeInfo__Location **sorted;
    size_t count;
};

struct err comments_read(const Descriptor__SourceCodeInfo *info, struct arena *arena,
                         struct comments *out) __attribute__((warn_unused_result));

/* The text of the element at that path, "" for none; NULL when memory is short. */
const char *comments_find(const struct comments *comments, const int32_t *path,
                          size_t length);
