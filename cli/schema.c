/* schema.c - see schema.h; what its two passes do is in schema_names.c and schema_types.c. */
#include "cli/schema.h"

#include <stdlib.h>
#include <string.h>

#include "cli/schema_parts.h"

const char *symbol_kind_name(enum symbol_kind kind)
{
    static const char *const names[] = {"service", "method", "message",
                                        "field",   "enum",   "value"};

    return names[kind];
}

/* ---- names, sorted ---------------------------------------------------------------- */

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
            return err_make(ERR_INVALID_ARGUMENT, "%.120s is there twice",
                            sorted[i]->name);
    r->schema = (struct schema){.symbols = sorted, .count = count};
    return ERR_NONE;
}

/* ---- how deep messages nest -------------------------------------------------------- */

/* One more level than the deepest member has so far; whether that is news. */
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

/* ---- reading ------------------------------------------------------------------ */

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
        e = schema_add_file(&r, files->file[i]);
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

/* ---- finding ---------------------------------------------------------------------- */

const struct symbol *schema_get(const struct schema *schema, const char *name)
{
    struct symbol key = {.name = name};
    const struct symbol *wanted = &key;
    const struct symbol *const *found = bsearch(&wanted, schema->symbols, schema->count,
                                                sizeof *schema->symbols, compare_symbols);

    return found != NULL ? *found : NULL;
}
