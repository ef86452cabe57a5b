/*
 * schema_types.c - protobuf-c's descriptors, filled from descriptor.proto's messages.
 *
 * What protoc-c writes as C structs is laid out here: after the message's head one slot
 * of eight bytes (sixteen for bytes) for each value, and one for what belongs to it:
 *
 *   repeated      n, pointer            optional number    has, value
 *   oneof         case, one slot for all its members (the largest)
 *
 * message_init stays NULL: protobuf-c and json_read.c then set zeros and defaults.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cli/schema/schema_parts.h"

/* INVALID_ARGUMENT: "NAME is an enum without values". */
static struct err broken(const char *name, const char *how)
{
    return err_make(ERR_INVALID_ARGUMENT, "%.120s %s", name, how);
}

/* The message or enum that a field or method names ".a.b.C"; NULL when there is none. */
static const struct symbol *named_type(const struct schema_reader *r, const char *name,
                                       enum symbol_kind kind)
{
    const struct symbol *found =
        name != NULL && *name == '.' ? schema_get(&r->schema, name + 1) : NULL;

    return found != NULL && found->kind == kind ? found : NULL;
}

/* Runs of consecutive numbers, by which protobuf-c looks them up; `number` gives the i-th
 * of `items`, which are sorted.  NULL when memory is short. */
static const ProtobufCIntRange *ranges_of(struct arena *arena, unsigned count,
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

/* ---- enums ------------------------------------------------------------------------- */

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
        return broken(entry->symbol.name, "is an enum without values");
    struct err e = sort_values(r->arena, source, values);
    if (failed(e))
        return e;
    type->magic = PROTOBUF_C__ENUM_DESCRIPTOR_MAGIC;
    type->name = type->c_name = entry->symbol.name;
    type->short_name = entry->symbol.short_name;
    type->package_name = entry->package;
    index_values(type, values, names, count);
    type->value_ranges =
        ranges_of(r->arena, type->n_values, value_number, values, &type->n_value_ranges);
    return type->value_ranges == NULL ? err_memory() : ERR_NONE;
}

/* ---- services ---------------------------------------------------------------------- */

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
        const struct symbol *input = named_type(r, method->input_type, SYMBOL_MESSAGE);
        const struct symbol *output = named_type(r, method->output_type, SYMBOL_MESSAGE);
        if (input == NULL || output == NULL)
            return broken(entry->symbol.name,
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

enum { SLOT = 8, NUMBER_MAX = (1 << 29) - 1 };

/* ---- fields ------------------------------------------------------------------------ */

enum { LABEL_OPTIONAL = 1, LABEL_REQUIRED = 2, LABEL_REPEATED = 3 };
enum { TYPE_GROUP = 10, TYPE_COUNT = 19 };

static const ProtobufCType TYPES[TYPE_COUNT] = {
    [1] = PROTOBUF_C_TYPE_DOUBLE,    [2] = PROTOBUF_C_TYPE_FLOAT,
    [3] = PROTOBUF_C_TYPE_INT64,     [4] = PROTOBUF_C_TYPE_UINT64,
    [5] = PROTOBUF_C_TYPE_INT32,     [6] = PROTOBUF_C_TYPE_FIXED64,
    [7] = PROTOBUF_C_TYPE_FIXED32,   [8] = PROTOBUF_C_TYPE_BOOL,
    [9] = PROTOBUF_C_TYPE_STRING,    [11] = PROTOBUF_C_TYPE_MESSAGE,
    [12] = PROTOBUF_C_TYPE_BYTES,    [13] = PROTOBUF_C_TYPE_UINT32,
    [14] = PROTOBUF_C_TYPE_ENUM,     [15] = PROTOBUF_C_TYPE_SFIXED32,
    [16] = PROTOBUF_C_TYPE_SFIXED64, [17] = PROTOBUF_C_TYPE_SINT32,
    [18] = PROTOBUF_C_TYPE_SINT64,
};

/* A struct in the making. */
struct layout {
    const struct entry *entry;
    size_t size;
    unsigned *cases; /* a oneof's case, 0 until its first member; its value follows */
};

static unsigned take(struct layout *layout, size_t size)
{
    size_t offset = layout->size;

    layout->size += (size + SLOT - 1) / SLOT * SLOT;
    return (unsigned)offset;
}

static bool pointed_at(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_STRING || type == PROTOBUF_C_TYPE_MESSAGE;
}

static size_t value_size(ProtobufCType type)
{
    return type == PROTOBUF_C_TYPE_BYTES ? sizeof(ProtobufCBinaryData) : SLOT;
}

static bool packs(const struct layout *layout,
                  const Descriptor__FieldDescriptorProto *source, ProtobufCType type)
{
    if (pointed_at(type) || type == PROTOBUF_C_TYPE_BYTES)
        return false;
    return source->options != NULL && source->options->has_packed
               ? source->options->packed
               : layout->entry->proto3;
}

/* Label, flags and places of a field whose type is known. */
static void lay_out(struct layout *layout, const Descriptor__FieldDescriptorProto *source,
                    ProtobufCFieldDescriptor *field)
{
    bool presence = source->proto3_optional || !layout->entry->proto3;

    if (source->label == LABEL_REPEATED) {
        field->label = PROTOBUF_C_LABEL_REPEATED;
        field->quantifier_offset = take(layout, sizeof(size_t));
        field->offset = take(layout, sizeof(void *));
        if (packs(layout, source, field->type))
            field->flags |= PROTOBUF_C_FIELD_FLAG_PACKED;
    } else if (source->has_oneof_index && !source->proto3_optional) {
        unsigned *which = &layout->cases[source->oneof_index];
        if (*which == 0) {
            *which = take(layout, sizeof(uint32_t));
            (void)take(layout, sizeof(ProtobufCBinaryData));
        }
        field->label = PROTOBUF_C_LABEL_NONE;
        field->flags |= PROTOBUF_C_FIELD_FLAG_ONEOF;
        field->quantifier_offset = *which;
        field->offset = *which + SLOT;
    } else {
        field->label = source->label == LABEL_REQUIRED ? PROTOBUF_C_LABEL_REQUIRED
                       : presence                      ? PROTOBUF_C_LABEL_OPTIONAL
                                                       : PROTOBUF_C_LABEL_NONE;
        if (field->label == PROTOBUF_C_LABEL_OPTIONAL && !pointed_at(field->type))
            field->quantifier_offset = take(layout, sizeof(protobuf_c_boolean));
        field->offset = take(layout, value_size(field->type));
        if (field->label == PROTOBUF_C_LABEL_NONE &&
            field->type == PROTOBUF_C_TYPE_STRING)
            field->default_value = &protobuf_c_empty_string;
    }
}

static struct err build_field(struct schema_reader *r, struct layout *layout,
                              const Descriptor__FieldDescriptorProto *source,
                              ProtobufCFieldDescriptor *field)
{
    const char *owner = layout->entry->symbol.name;
    const struct symbol *type = NULL;

    if (source->number < 1 || source->number > NUMBER_MAX)
        return broken(owner, "has a field whose number is out of range");
    if (source->type < 1 || source->type >= TYPE_COUNT || source->type == TYPE_GROUP)
        return broken(owner, "has a field of a kind that is not supported");
    if (source->label < LABEL_OPTIONAL || source->label > LABEL_REPEATED)
        return broken(owner, "has a field without a label");
    if (source->has_oneof_index &&
        (source->oneof_index < 0 || source->label != LABEL_OPTIONAL ||
         (size_t)source->oneof_index >= layout->entry->source.message->n_oneof_decl))
        return broken(owner, "has a field of a oneof that is not there");
    *field = (ProtobufCFieldDescriptor){.name = source->name,
                                        .id = (uint32_t)source->number,
                                        .type = TYPES[source->type]};
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        type = named_type(r, source->type_name, SYMBOL_MESSAGE);
    else if (field->type == PROTOBUF_C_TYPE_ENUM)
        type = named_type(r, source->type_name, SYMBOL_ENUM);
    if (type == NULL &&
        (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_ENUM))
        return broken(owner, "has a field whose type is not in the set (made without "
                             "--include_imports?)");
    if (type != NULL)
        field->descriptor = type->of.message;
    lay_out(layout, source, field);
    return ERR_NONE;
}

/* ---- messages ---------------------------------------------------------------------- */

static int field_number(const void *items, unsigned i)
{
    return (int)((const ProtobufCFieldDescriptor *)items)[i].id;
}

static int compare_numbers(const void *a, const void *b)
{
    const ProtobufCFieldDescriptor *l = a, *r = b;

    return (l->id > r->id) - (l->id < r->id);
}

struct named_index {
    const char *name;
    unsigned index;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct named_index *)a)->name,
                  ((const struct named_index *)b)->name);
}

static struct err index_fields(struct schema_reader *r, ProtobufCMessageDescriptor *type)
{
    unsigned count = type->n_fields;
    struct named_index *names = arena_alloc(r->arena, (count + 1) * sizeof *names);
    unsigned *sorted = arena_alloc(r->arena, (count + 1) * sizeof *sorted);

    if (names == NULL || sorted == NULL)
        return err_memory();
    for (unsigned i = 0; i < count; i++)
        names[i] = (struct named_index){type->fields[i].name, i};
    qsort(names, count, sizeof *names, compare_names);
    for (unsigned i = 0; i < count; i++)
        sorted[i] = names[i].index;
    type->fields_sorted_by_name = sorted;
    type->field_ranges =
        ranges_of(r->arena, count, field_number, type->fields, &type->n_field_ranges);
    return type->field_ranges == NULL ? err_memory() : ERR_NONE;
}

static struct err build_message(struct schema_reader *r, const struct entry *entry)
{
    const Descriptor__DescriptorProto *source = entry->source.message;
    ProtobufCMessageDescriptor *type =
        (ProtobufCMessageDescriptor *)(uintptr_t)entry->symbol.of.message;
    unsigned count = (unsigned)source->n_field;
    ProtobufCFieldDescriptor *fields =
        arena_alloc(r->arena, (count + 1) * sizeof *fields);
    struct layout layout = {.entry = entry, .size = sizeof(ProtobufCMessage)};
    struct err e = ERR_NONE;

    layout.cases =
        arena_alloc(r->arena, (source->n_oneof_decl + 1) * sizeof *layout.cases);
    if (fields == NULL || layout.cases == NULL)
        return err_memory();
    for (unsigned i = 0; !failed(e) && i < count; i++)
        e = build_field(r, &layout, source->field[i], &fields[i]);
    if (failed(e))
        return e;
    qsort(fields, count, sizeof *fields, compare_numbers);
    for (unsigned i = 1; i < count; i++)
        if (fields[i].id == fields[i - 1].id)
            return broken(entry->symbol.name, "has a field number twice");
    type->magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC;
    type->name = type->c_name = entry->symbol.name;
    type->short_name = entry->symbol.short_name;
    type->package_name = entry->package;
    type->sizeof_message = layout.size;
    type->n_fields = count;
    type->fields = fields;
    return index_fields(r, type);
}

/* ---- all of them ------------------------------------------------------------------- */

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
        return build_message(r, entry);
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
