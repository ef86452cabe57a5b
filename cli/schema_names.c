/* schema_names.c - schema.h's first pass: a symbol for every name of a file. */
#include <string.h>

#include "cli/schema_parts.h"

enum { FIELD_NAME_MAX = 120, PATH_MAX_LENGTH = 2 * SCHEMA_DEPTH_MAX + 4 };

/* Field numbers of descriptor.proto, which paths of comments are made of. */
enum {
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2,
};

/* ---- one symbol ------------------------------------------------------------- */

/* Letters, digits and underscores, as protoc allows; dots only in packages. */
static bool is_name(const char *name, bool dots)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789_.";

    if (name == NULL || strlen(name) > FIELD_NAME_MAX)
        return false;
    return name[strspn(name, allowed)] == '\0' && (dots || strchr(name, '.') == NULL) &&
           (dots || *name != '\0');
}

static size_t descriptor_size(enum symbol_kind kind)
{
    static const size_t sizes[] = {
        [SYMBOL_SERVICE] = sizeof(ProtobufCServiceDescriptor),
        [SYMBOL_MESSAGE] = sizeof(ProtobufCMessageDescriptor),
        [SYMBOL_ENUM] = sizeof(ProtobufCEnumDescriptor),
        [SYMBOL_VALUE] = 0,
    };

    return sizes[kind];
}

static struct err add_symbol(struct schema_reader *r, enum symbol_kind kind,
                             const struct symbol *owner, const char *scope,
                             const char *name, const char *comment, struct entry **out)
{
    if (comment == NULL)
        return err_memory();
    if (!is_name(name, false))
        return err_make(ERR_INVALID_ARGUMENT, "%s in %.80s has a name that is none",
                        symbol_kind_name(kind), scope);
    struct entry *entry = arena_alloc(r->arena, sizeof *entry);
    const char *between = *scope == '\0' ? "" : kind == SYMBOL_METHOD ? "/" : ".";
    char *full = arena_printf(r->arena, "%s%s%s", scope, between, name);
    if (entry == NULL || full == NULL)
        return err_memory();
    if (strlen(full) > SCHEMA_NAME_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "the name %.80s... is too long", full);
    entry->symbol = (struct symbol){.kind = kind,
                                    .name = full,
                                    .short_name = full + strlen(full) - strlen(name),
                                    .comment = comment,
                                    .owner = owner};
    if (descriptor_size(kind) > 0) {
        entry->symbol.of.service = arena_alloc(r->arena, descriptor_size(kind));
        if (entry->symbol.of.service == NULL)
            return err_memory();
    }
    *r->last = entry;
    r->last = &entry->next;
    r->count++;
    *out = entry;
    return ERR_NONE;
}

/* ---- the walk through a file ------------------------------------- */

/* Where the walk is: the file, the names around, and the path to its comments. */
struct place_in_file {
    struct schema_reader *r;
    const struct comments *comments;
    const char *package;
    bool proto3;
    int32_t path[PATH_MAX_LENGTH];
    size_t depth; /* elements of path in use */
};

static const char *comment_at(struct place_in_file *p, int32_t kind, size_t index)
{
    p->path[p->depth] = kind;
    p->path[p->depth + 1] = (int32_t)index;
    return comments_find(p->comments, p->path, p->depth + 2);
}

static struct err add_enum(struct place_in_file *p, const char *scope, int32_t kind,
                           size_t index, const Descriptor__EnumDescriptorProto *source)
{
    struct entry *entry, *value;
    struct err e = add_symbol(p->r, SYMBOL_ENUM, NULL, scope, source->name,
                              comment_at(p, kind, index), &entry);

    if (failed(e))
        return e;
    entry->package = p->package;
    entry->source.enumeration = source;
    p->depth += 2;
    for (size_t i = 0; !failed(e) && i < source->n_value; i++)
        e = add_symbol(p->r, SYMBOL_VALUE, &entry->symbol, entry->symbol.name,
                       source->value[i]->name, comment_at(p, ENUM_VALUE, i), &value);
    p->depth -= 2;
    return e;
}

static struct err add_message(struct place_in_file *p, const char *scope, int32_t kind,
                              size_t index, const Descriptor__DescriptorProto *source);

static struct err add_nested(struct place_in_file *p, const char *scope, size_t index,
                             const ProtobufCBinaryData *packed)
{
    if (p->depth / 2 >= SCHEMA_DEPTH_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%.80s is nested deeper than %d types",
                        scope, SCHEMA_DEPTH_MAX);
    Descriptor__DescriptorProto *nested = descriptor__descriptor_proto__unpack(
        arena_protobuf(p->r->arena), packed->len, packed->data);
    if (nested == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "a type within %.80s does not unpack",
                        scope);
    return add_message(p, scope, MESSAGE_NESTED, index, nested);
}

static struct err add_message(struct place_in_file *p, const char *scope, int32_t kind,
                              size_t index, const Descriptor__DescriptorProto *source)
{
    struct entry *entry, *field;
    struct err e = add_symbol(p->r, SYMBOL_MESSAGE, NULL, scope, source->name,
                              comment_at(p, kind, index), &entry);

    if (failed(e))
        return e;
    entry->package = p->package;
    entry->proto3 = p->proto3;
    entry->source.message = source;
    p->depth += 2;
    for (size_t i = 0; !failed(e) && i < source->n_field; i++)
        e = add_symbol(p->r, SYMBOL_FIELD, &entry->symbol, entry->symbol.name,
                       source->field[i]->name, comment_at(p, MESSAGE_FIELD, i), &field);
    for (size_t i = 0; !failed(e) && i < source->n_enum_type; i++)
        e = add_enum(p, entry->symbol.name, MESSAGE_ENUM, i, source->enum_type[i]);
    for (size_t i = 0; !failed(e) && i < source->n_nested_type; i++)
        e = add_nested(p, entry->symbol.name, i, &source->nested_type[i]);
    p->depth -= 2;
    return e;
}

static struct err add_service(struct place_in_file *p, size_t index,
                              const Descriptor__ServiceDescriptorProto *source)
{
    struct entry *entry, *method;
    struct err e = add_symbol(p->r, SYMBOL_SERVICE, NULL, p->package, source->name,
                              comment_at(p, FILE_SERVICE, index), &entry);

    if (failed(e))
        return e;
    entry->package = p->package;
    entry->source.service = source;
    p->depth += 2;
    for (size_t i = 0; !failed(e) && i < source->n_method; i++)
        e = add_symbol(p->r, SYMBOL_METHOD, &entry->symbol, entry->symbol.name,
                       source->method[i]->name, comment_at(p, SERVICE_METHOD, i),
                       &method);
    p->depth -= 2;
    return e;
}

struct err schema_add_file(struct schema_reader *r,
                           const Descriptor__FileDescriptorProto *file)
{
    struct comments comments;
    struct place_in_file p = {.r = r,
                              .comments = &comments,
                              .package = file->package != NULL ? file->package : ""};
    struct err e = comments_read(file->source_code_info, r->arena, &comments);

    if (!failed(e) && !is_name(p.package, true))
        e = err_make(ERR_INVALID_ARGUMENT, "a file's package has a name that is none");
    p.proto3 = file->syntax != NULL && strcmp(file->syntax, "proto3") == 0;
    for (size_t i = 0; !failed(e) && i < file->n_message_type; i++)
        e = add_message(&p, p.package, FILE_MESSAGE, i, file->message_type[i]);
    for (size_t i = 0; !failed(e) && i < file->n_enum_type; i++)
        e = add_enum(&p, p.package, FILE_ENUM, i, file->enum_type[i]);
    for (size_t i = 0; !failed(e) && i < file->n_service; i++)
        e = add_service(&p, i, file->service[i]);
    return e;
}
