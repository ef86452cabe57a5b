/*
 * json_tool.c - our JSON mapping for another program: json_reference.py compares it with
 * protobuf's own.
 *
 *   json_tool SET          a line in:  E TYPE JSON     D TYPE HEX
 *                          a line out: HEX or JSON, or ! and why not
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/files.h"
#include "cli/schema/json.h"
#include "cli/schema/schema.h"

static void encode(const ProtobufCMessageDescriptor *type, const char *json,
                   struct arena *arena)
{
    ProtobufCMessage *message = NULL;
    struct err e = message_from_json(json, strlen(json), type, arena, &message);

    if (failed(e)) {
        printf("!%s\n", e.message);
        return;
    }
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = arena_alloc(arena, size + 1);
    char *hex = arena_alloc(arena, 2 * size + 1);
    protobuf_c_message_pack(message, packed);
    printf("%s\n", sodium_bin2hex(hex, 2 * size + 1, packed, size));
}

static void decode(const ProtobufCMessageDescriptor *type, const char *hex,
                   struct arena *arena)
{
    size_t size = 0, most = strlen(hex) / 2;
    uint8_t *packed = arena_alloc(arena, most + 1);
    json_t *json = NULL;

    sodium_hex2bin(packed, most + 1, hex, strlen(hex), NULL, &size, NULL);
    const ProtobufCMessage *message =
        protobuf_c_message_unpack(type, arena_protobuf(arena), size, packed);
    struct err e = message == NULL
                       ? err_make(ERR_DATA_LOSS, "does not unpack")
                       : message_to_json(message, (struct json_style){0}, &json);
    if (failed(e)) {
        printf("!%s\n", e.message);
        return;
    }
    json_dumpf(json, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(json);
}

int main(int argc, char **argv)
{
    struct arena *types = arena_new(16 << 20), *arena = arena_new(16 << 20);
    const struct schema *schema;
    char *set = NULL, *line = NULL, *rest;
    size_t size = 0, room = 0;

    if (argc != 2 || sodium_init() < 0 ||
        failed(file_read(argv[1], 1 << 20, types, &set, &size)) ||
        failed(schema_read(set, size, types, &schema)))
        return 2;
    for (ssize_t n; (n = getline(&line, &room, stdin)) > 0; fflush(stdout)) {
        line[n - 1] = '\0';
        strtok_r(line, " ", &rest);
        const struct symbol *type = schema_get(schema, strtok_r(NULL, " ", &rest));
        arena_reset(arena);
        if (type == NULL || type->kind != SYMBOL_MESSAGE)
            return 2;
        (*line == 'E' ? encode : decode)(type->of.message, rest, arena);
    }
    free(line);
    arena_free(arena);
    arena_free(types);
    return 0;
}
