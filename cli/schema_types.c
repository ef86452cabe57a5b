/*
 * schema_types.c - protobuf-c's descriptors, filled from descriptor.proto's messages: enums
 * and services here, messages in schema_message.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cli/schema_parts.h"

/* ---- for every kind ------------------------------------------------------------ */

struct err schema_broken(const char *name, const char *how)
{
    return err_make(ERR_INVALID_ARGUMENT, "%.120s %s", name, how);
}

const struct symbol *schema_named_type(const struct schema_reader *r, const char *name,
                                       enum symbol_kind kind)
{
    const struct symbol *found =
        name != NULL && *name == '.' ? schema_get(&r->schema, name + 1) : NULL;

    return found != NULL && found->kind == kind ? found : NULL;
}

const ProtobufCIntRange *schema_ranges(struct arena *arena, unsigned count,
                                       int (*number)(const void *items, unsigned i),
                                       const void *items, unsigned *n_ranges)
{
    ProtobufCIntRange *ranges = arena_alloc(arena, (count + 1) * sizeof *ranges);
    unsigned n = 0;

    for (unsigned i = 0; ranges != NULL && i < count; i++)
        if (i == 0 || number(items, i) != number(items, i - 1) + 1)
            ranges[n++] =
                (ProtobufCIntRange){.start_value = number(items, i), .orig_index = i};
    if (ranges != NULL)
        ranges[n].orig_index = count; /* the end, which is not counted */
    *n_ranges = n;
    return ranges;
}

/* ---- enums -------------------------------------------------------------------- */

static int value_number(const void *items, unsigned i)
{
    return ((const ProtobufCEnumValue *)items)[i].value;
}

/* By number; names of one number stay as declared, for the first is the one written. */
static int compare_values(const void *a, const void *b)
{
    const Descriptor__EnumValueDescriptorProto *const *l = *(void *const *)a;
    const Descriptor__EnumValueDescriptorProto *const *r = *(void *const *)b;

    if ((*l)->number != (*r)->number)
        return (*l)->number > (*r)->number ? 1 : -1;
    return (l > r) - (l < r);
}

static struct err sort_values(struct arena *arena,
                              const Descriptor__EnumDescriptorProto *source,
                              ProtobufCEnumValue *values)
{
    size_t count = source->n_value;
    Descriptor__EnumValueDescriptorProto ***sorted =
        arena_alloc(arena, (count + 1) * sizeof *sorted);

    if (sorted == NULL)
        return err_memory();
    for (size_t i = 0; i < count; i++)
        sorted[i] = &source->value[i];
    qsort(sorted, count, sizeof *sorted, compare_values);
    for (size_t i = 0; i < count; i++)
        values[i] = (ProtobufCEnumValue){.name = (*sorted[i])->name,
                                         .c_name = (*sorted[i])->name,
                                         .value = (*sorted[i])->number};
    return ERR_NONE;
}

static int compare_value_names(const void *a, const void *b)
{
    return strcmp(((const ProtobufCEnumValueIndex *)a)->name,
                  ((const ProtobufCEnumValueIndex *)b)->name);
}

/* Keeps the first name of each number; every name points at its number. */
static void index_values(ProtobufCEnumDescriptor *type, ProtobufCEnumValue *values,
                         ProtobufCEnumValueIndex *names, unsigned count)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < count; i++) {
        names[i].name = values[i].name;
        if (kept == 0 || values[kept - 1].value != values[i].value)
            values[kept++] = values[i];
        names[i].index = kept - 1;
    }
    qsort(names, count, sizeof *names, compare_value_names);
    type->n_values = kept;
    type->values = values;
    type->n_value_names = count;
    type->values_by_name = names;
}

static struct err build_enum(struct schema_reader *r, const struct entry *entry)
{
    const Descriptor__EnumDescriptorProto *source = entry->source.enumeration;
    ProtobufCEnumDescriptor *type =
        (ProtobufCEnumDescriptor *)(uintptr_t)entry->symbol.of.enumeration;
    unsigned count = (unsigned)source->n_value;
    ProtobufCEnumValue *values = arena_alloc(r->arena, (count + 1) * sizeof *values);
    ProtobufCEnumValueIndex *names = arena_alloc(r->arena, (count + 1) * sizeof *names);

    if (values == NULL || names == NULL)
        return err_memory();
    if (count == 0)
        return schema_broken(entry->symbol.name, "is an enum without values");
    struct err e = sort_values(r->arena, source, values);
    if (failed(e))
        return e;
    type->magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC;
    type->name = type->c_name = entry->symbol.name;
    type->short_name = entry->symbol.short_name;
    type->package_name = entry->package;
    index_values(type, values, names, count);
    type->value_ranges = schema_ranges(r->arena, type->n_values, value_number, values,
                                       &type->n_value_ranges);
    return type->value_ranges == NULL ? err_memory() : ERR_NONE;
}

/* ---- services ----------------------------------------------------------------- */

static struct err build_service(struct schema_reader *r, const struct entry *entry)
{
    const Descriptor__ServiceDescriptorProto *source = entry->source.service;
    ProtobufCServiceDescriptor *service =
        (ProtobufCServiceDescriptor *)(uintptr_t)entry->symbol.of.service;
    ProtobufCMethodDescriptor *methods =
        arena_alloc(r->arena, (source->n_method + 1) * sizeof *methods);

    if (methods == NULL)
        return err_memory();
    for (size_t i = 0; i < source->n_method; i++) {
        const Descriptor__MethodDescriptorProto *method = source->method[i];
        const struct symbol *input =
            schema_named_type(r, method->input_type, SYMBOL_MESSAGE);
        const struct symbol *output =
            schema_named_type(r, method->output_type, SYMBOL_MESSAGE);
        if (input == NULL || output == NULL)
            return schema_broken(entry->symbol.name,
                                 "has a method whose type is not in the set");
        methods[i] = (ProtobufCMethodDescriptor){.name = method->name,
                                                 .input = input->of.message,
                                                 .output = output->of.message};
    }
    service->magic = PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC;
    service->name = service->c_name = entry->symbol.name;
    service->short_name = entry->symbol.short_name;
    service->package = entry->package;
    service->n_methods = (unsigned)source->n_method;
    service->methods = methods;
    return ERR_NONE;
}

/* ---- all of them -------------------------------------------------------------- */

/* Points a part's symbol at its place in its owner's descriptor. */
static void settle_part(struct symbol *part)
{
    const struct symbol *owner = part->owner;

    if (part->kind == SYMBOL_METHOD) {
        for (unsigned i = 0; i < owner->of.service->n_methods; i++)
            if (strcmp(owner->of.service->methods[i].name, part->short_name) == 0)
                part->of.method = &owner->of.service->methods[i];
    } else if (part->kind == SYMBOL_FIELD) {
        part->of.field = protobuf_c_message_descriptor_get_field_by_name(
            owner->of.message, part->short_name);
    } else {
        part->of.value = protobuf_c_enum_descriptor_get_value_by_name(
            owner->of.enumeration, part->short_name);
    }
    assert(part->of.method != NULL);
}

struct err schema_build(struct schema_reader *r, const struct entry *entry)
{
    switch (entry->symbol.kind) {
    case SYMBOL_SERVICE:
        return build_service(r, entry);
    case SYMBOL_MESSAGE:
        return schema_build_message(r, entry);
    case SYMBOL_ENUM:
        return build_enum(r, entry);
    case SYMBOL_METHOD:
    case SYMBOL_FIELD:
    case SYMBOL_VALUE:
        break;
    }
    /* Parts follow their owner, which is built by now. */
    settle_part((struct symbol *)(uintptr_t)&entry->symbol);
    return ERR_NONE;
}
