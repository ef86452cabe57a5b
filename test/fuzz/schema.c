/*
 * schema.c - a server's set of descriptors, which nothing is believed of.
 *
 *   input:  sizes of the set, two bytes | set | message
 *
 * Of a set that is accepted every message type works: an example of it can be made and is
 * JSON it reads, and foreign bytes are unpacked or refused.
 */
#include "cli/schema/schema.h"
#include "cli/schema/json.h"
#include "fuzz/fuzz.h"

enum { ARENA_MAX = 16 << 20 };

static void try_template(struct arena *arena, const ProtobufCMessageDescriptor *type)
{
    json_t *json = template_of(type);
    ProtobufCMessage *message;
    char *text;

    assert(json != NULL);
    text = json_dumps(json, JSON_COMPACT);
    assert(text != NULL);
    struct err e = message_from_json(text, strlen(text), type, arena, &message);
    if (failed(e))
        assert_refusal(e);
    free(text);
    json_decref(json);
}

static void try_bytes(struct arena *arena, const ProtobufCMessageDescriptor *type,
                      const uint8_t *bytes, size_t size)
{
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, arena_protobuf(arena), size, bytes);
    json_t *json = NULL;

    if (message == NULL)
        return;
    struct err e = message_to_json(message, (struct json_style){.defaults = true}, &json);
    if (failed(e))
        assert_refusal(e);
    json_decref(json);
}

static void try_symbol(struct arena *arena, const struct schema *schema,
                       const struct symbol *symbol, const uint8_t *bytes, size_t size)
{
    const struct symbol *found;
    struct err e = schema_find(schema, symbol->short_name, ~0U, &found);

    if (failed(e))
        assert_refusal(e);
    assert(schema_get(schema, symbol->name) == symbol);
    e = schema_find(schema, "no.such/Name", ~0U, &found);
    assert_refusal(e);
    assert(symbol->comment != NULL && symbol_kind_name(symbol->kind) != NULL);
    if (symbol->kind != SYMBOL_MESSAGE)
        return;
    try_template(arena, symbol->of.message);
    if (schema_may_unpack(schema, symbol->of.message))
        try_bytes(arena, symbol->of.message, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    size_t set_size = input_byte(&in);
    uint8_t *set, *bytes;

    set_size = set_size << 8 | input_byte(&in);
    set = input_bytes(&in, set_size, &set_size);
    bytes = input_rest(&in, &size);
    struct arena *arena = arena_new(ARENA_MAX);
    const struct schema *schema;
    struct err e = schema_read(set, set_size, arena, &schema);
    if (failed(e))
        assert_refusal(e);
    for (size_t i = 0; !failed(e) && i < schema->count; i++)
        try_symbol(arena, schema, schema->symbols[i], bytes, size);
    arena_free(arena);
    free(set);
    free(bytes);
    return 0;
}
