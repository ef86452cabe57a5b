/*
 * schema.c - see schema.h.  Reading takes two passes: the first makes a symbol for
 * every name, with its comment and room for its descriptor; the second
 * (schema_types.c) fills the descriptors, so that types may refer to each other in any
 * order.
 */
#include "cli/schema/schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/contract/ids.h"
#include "cli/schema/schema_parts.h"
#include "cli/schema/suggest.h"

const char *symbol_kind_name(enum symbol_kind kind)
{
    static const char *const names[] = {"service", "method", "message",
                                        "field",   "enum",   "value"};

    return names[kind];
}

/* ---- comments ---------------------------------------------------------------------- */

/*
 * protoc keeps comments apart from what they are about, under a path: {4, 2, 2, 0} is
 * the first field (2, 0) of the third message (4, 2) of a file.  These are one file's,
 * sorted.
 */
struct comments {
    struct arena *arena;
    const Descriptor__SourceCodeInfo__Location **sorted;
    size_t count;
};

static int compare_paths(const int32_t *a, size_t a_length, const int32_t *b,
                         size_t b_length)
{
    for (size_t i = 0; i < a_length && i < b_length; i++)
        if (a[i] != b[i])
            return a[i] < b[i] ? -1 : 1;
    return (a_length > b_length) - (a_length < b_length);
}

static int compare_locations(const void *a, const void *b)
{
    const Descriptor__SourceCodeInfo__Location *l =
        *(const Descriptor__SourceCodeInfo__Location *const *)a;
    const Descriptor__SourceCodeInfo__Location *r =
        *(const Descriptor__SourceCodeInfo__Location *const *)b;

    return compare_paths(l->path, l->n_path, r->path, r->n_path);
}

static struct err comments_read(const Descriptor__SourceCodeInfo *info,
                                struct arena *arena, struct comments *out)
{
    *out = (struct comments){.arena = arena};
    if (info == NULL || info->n_location == 0)
        return ERR_NONE;
    out->sorted =
        arena_copy(arena, info->location, info->n_location * sizeof *info->location);
    if (out->sorted == NULL)
        return err_memory();
    out->count = info->n_location;
    qsort(out->sorted, out->count, sizeof *out->sorted, compare_locations);
    return ERR_NONE;
}

/* Appends a comment's lines without the blank that follows their slashes. */
static size_t append(char *text, size_t used, const char *comment)
{
    while (comment != NULL && *comment != '\0') {
        comment += *comment == ' ';
        size_t line = strcspn(comment, "\n");
        memcpy(text + used, comment, line);
        used += line;
        text[used++] = '\n';
        comment += line;
        comment += *comment == '\n';
    }
    return used;
}

/* An untrusted comment must not harm a terminal or JSON: control characters become '?',
 * and so does every character of a line that is not UTF-8. */
static void make_harmless(char *text)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        char end = text[length];
        text[length] = '\0';
        for (size_t i = 0; i < length; i++)
            if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
                text[i] = '?';
        if (!utf8_valid(text, length))
            memset(text, '?', length);
        text[length] = end;
        text += length + (end == '\n');
    }
}

/* The text of the element at that path, "" for none; NULL when memory is short. */
static const char *comments_find(const struct comments *comments, const int32_t *path,
                                 size_t length)
{
    Descriptor__SourceCodeInfo__Location key =
        DESCRIPTOR__SOURCE_CODE_INFO__LOCATION__INIT;
    const Descriptor__SourceCodeInfo__Location *wanted = &key;

    key.path = (int32_t *)(uintptr_t)path;
    key.n_path = length;
    if (comments->count == 0)
        return "";
    Descriptor__SourceCodeInfo__Location *const *found =
        bsearch(&wanted, comments->sorted, comments->count, sizeof *comments->sorted,
                compare_locations);
    if (found == NULL)
        return "";
    const char *leading = (*found)->leading_comments;
    const char *trailing = (*found)->trailing_comments;
    size_t most = (leading != NULL ? strlen(leading) : 0) +
                  (trailing != NULL ? strlen(trailing) : 0) + 3;
    char *text = arena_alloc(comments->arena, most);
    if (text == NULL)
        return NULL;
    size_t used = append(text, append(text, 0, leading), trailing);
    while (used > 0 && text[used - 1] == '\n')
        used--;
    text[used] = '\0';
    make_harmless(text);
    return text;
}

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

/* ---- first pass: a symbol for every name ------------------------------------------- */

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
        return err_make(ERR_INVALID_ARGUMENT, "%s in %.80s has an invalid name",
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

/* Makes a symbol for every name in the file. */
static struct err add_file(struct schema_reader *r,
                           const Descriptor__FileDescriptorProto *file)
{
    struct comments comments;
    struct place_in_file p = {.r = r,
                              .comments = &comments,
                              .package = file->package != NULL ? file->package : ""};
    struct err e = comments_read(file->source_code_info, r->arena, &comments);

    if (!failed(e) && !is_name(p.package, true))
        e = err_make(ERR_INVALID_ARGUMENT, "a file's package has an invalid name");
    p.proto3 = file->syntax != NULL && strcmp(file->syntax, "proto3") == 0;
    for (size_t i = 0; !failed(e) && i < file->n_message_type; i++)
        e = add_message(&p, p.package, FILE_MESSAGE, i, file->message_type[i]);
    for (size_t i = 0; !failed(e) && i < file->n_enum_type; i++)
        e = add_enum(&p, p.package, FILE_ENUM, i, file->enum_type[i]);
    for (size_t i = 0; !failed(e) && i < file->n_service; i++)
        e = add_service(&p, i, file->service[i]);
    return e;
}

/* ---- names, sorted ----------------------------------------------------------------- */

static int compare_symbols(const void *a, const void *b)
{
    const struct symbol *l = *(const struct symbol *const *)a;
    const struct symbol *r = *(const struct symbol *const *)b;

    return strcmp(l->name, r->name);
}

static struct err sort_symbols(struct schema_reader *r)
{
    const struct symbol **sorted = arena_alloc(r->arena, r->count * sizeof *sorted);
    size_t count = 0;

    if (r->count == 0)
        return err_make(ERR_INVALID_ARGUMENT, "the descriptor set is empty");
    if (sorted == NULL)
        return err_memory();
    for (struct entry *entry = r->first; entry != NULL; entry = entry->next)
        sorted[count++] = &entry->symbol;
    qsort(sorted, count, sizeof *sorted, compare_symbols);
    for (size_t i = 1; i < count; i++)
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0)
            return err_make(ERR_INVALID_ARGUMENT, "%.120s is defined twice",
                            sorted[i]->name);
    r->schema = (struct schema){.symbols = sorted, .count = count};
    return ERR_NONE;
}

/* ---- how deep messages nest -------------------------------------------------------- */

/* One more level than the deepest member has so far; whether that changed it. */
static bool deepen(const struct schema *schema, struct symbol *message)
{
    const ProtobufCMessageDescriptor *type = message->of.message;
    int levels = 1;

    for (unsigned i = 0; i < type->n_fields; i++) {
        if (type->fields[i].type != PROTOBUF_C_TYPE_MESSAGE)
            continue;
        const ProtobufCMessageDescriptor *member = type->fields[i].descriptor;
        int below = schema_get(schema, member->name)->levels;
        levels = below + 1 > levels ? below + 1 : levels;
    }
    bool news = levels > message->levels && message->levels <= SCHEMA_LEVELS_MAX;
    message->levels = news ? levels : message->levels;
    return news;
}

/* Each round sees a level deeper; what is still growing in the end contains itself. */
static void measure_levels(struct schema_reader *r)
{
    bool news = true;

    for (int round = 0; news && round <= SCHEMA_LEVELS_MAX; round++) {
        news = false;
        for (struct entry *n = r->first; n != NULL; n = n->next)
            if (n->symbol.kind == SYMBOL_MESSAGE)
                news |= deepen(&r->schema, &n->symbol);
    }
}

bool schema_may_unpack(const struct schema *schema,
                       const ProtobufCMessageDescriptor *type)
{
    return schema_get(schema, type->name)->levels <= SCHEMA_LEVELS_MAX;
}

/* ---- reading ----------------------------------------------------------------------- */

struct err schema_read(const void *set, size_t size, struct arena *arena,
                       const struct schema **out)
{
    struct schema_reader r = {.arena = arena};
    Descriptor__FileDescriptorSet *files =
        descriptor__file_descriptor_set__unpack(arena_protobuf(arena), size, set);
    struct err e = ERR_NONE;

    r.last = &r.first;
    if (files == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "these %zu bytes are no FileDescriptorSet (protoc "
                        "--descriptor_set_out --include_imports makes one)",
                        size);
    for (size_t i = 0; !failed(e) && i < files->n_file; i++)
        e = add_file(&r, files->file[i]);
    if (!failed(e))
        e = sort_symbols(&r);
    for (struct entry *n = r.first; !failed(e) && n != NULL; n = n->next)
        e = schema_build(&r, n);
    if (!failed(e))
        measure_levels(&r);
    struct schema *schema =
        failed(e) ? NULL : arena_copy(arena, &r.schema, sizeof r.schema);
    if (!failed(e) && schema == NULL)
        e = err_memory();
    *out = schema;
    return e;
}

/* ---- finding ----------------------------------------------------------------------- */

const struct symbol *schema_get(const struct schema *schema, const char *name)
{
    struct symbol key = {.name = name};
    const struct symbol *wanted = &key;
    const struct symbol *const *found = bsearch(&wanted, schema->symbols, schema->count,
                                                sizeof *schema->symbols, compare_symbols);

    return found != NULL ? *found : NULL;
}

/* Whether `name` is all of a symbol's name, or its end after a '.' or '/'. */
static bool ends_with(const char *full, const char *name)
{
    size_t all = strlen(full), end = strlen(name);

    if (end == 0 || end > all || strcmp(full + all - end, name) != 0)
        return false;
    return end == all || full[all - end - 1] == '.' || full[all - end - 1] == '/';
}

static bool counts(const struct symbol *symbol, const char *name, unsigned kinds)
{
    bool part = symbol->kind == SYMBOL_FIELD || symbol->kind == SYMBOL_VALUE;

    return (kinds >> symbol->kind & 1) != 0 && ends_with(symbol->name, name) &&
           !(part && strpbrk(name, "./") == NULL);
}

/* The error for an unknown name, with a similar name of one of those kinds. */
static struct err not_found(const struct schema *schema, const char *name, unsigned kinds)
{
    struct suggestion near = suggest_start(name, strlen(name));
    char text[SUGGEST_TEXT_SIZE];

    for (size_t i = 0; i < schema->count; i++) {
        const struct symbol *symbol = schema->symbols[i];
        if (symbol->kind == SYMBOL_FIELD || symbol->kind == SYMBOL_VALUE ||
            (kinds >> symbol->kind & 1) == 0)
            continue;
        const char *method = strrchr(symbol->name, '/'),
                   *dot = strrchr(symbol->name, '.');
        suggest_offer(&near, symbol->name, symbol->name);
        if (dot != NULL)
            suggest_offer(&near, dot + 1, symbol->name);
        if (method != NULL)
            suggest_offer(&near, method + 1, symbol->name);
    }
    return err_make(ERR_INVALID_ARGUMENT, "there is no %s \"%.80s\"; %s",
                    kinds == 1U << SYMBOL_METHOD    ? "method"
                    : kinds == 1U << SYMBOL_SERVICE ? "service"
                                                    : "symbol",
                    name, suggest_text(&near, "see checkoutctl list", text));
}

struct err schema_find(const struct schema *schema, const char *name, unsigned kinds,
                       const struct symbol **out)
{
    const struct symbol *found = schema_get(schema, name), *other = NULL;
    int count = found != NULL && (kinds >> found->kind & 1) != 0;

    for (size_t i = 0; count == 0 && i < schema->count; i++) {
        if (!counts(schema->symbols[i], name, kinds))
            continue;
        /* The first and the last of several, for the sentence. */
        found = schema->symbols[i];
        for (i++; i < schema->count; i++)
            if (counts(schema->symbols[i], name, kinds))
                other = schema->symbols[i];
        count = other == NULL ? 1 : 2;
    }
    *out = found;
    if (count == 1)
        return ERR_NONE;
    if (count == 0)
        return not_found(schema, name, kinds);
    return err_make(ERR_INVALID_ARGUMENT,
                    "\"%.40s\" may be %.60s or %.60s; give more of it", name, found->name,
                    other->name);
}
