/*
 * message.h - any message of a type, made from an input.
 *
 *   first byte   then
 *   w            bytes as on the wire, to be unpacked
 *   j            JSON, to be read
 *   else         choices, from which a message is built that is well-formed: structure and
 *                values that matter, which mutated bytes seldom have
 */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "cli/schema/json.h"
#include "fuzz/fuzz.h"

enum { MESSAGE_DEPTH_MAX = 6, MESSAGE_LIST_MAX = 4, MESSAGE_ARENA_MAX = 16 << 20 };

static void *message_memory(struct arena *arena, size_t size)
{
    void *memory = arena_alloc(arena, size);

    assert(memory != NULL);
    return memory;
}

/* A string: one that services take, or what stands in the input. */
static char *message_text(struct input *in, struct arena *arena)
{
    static const char *const WORDS[] = {
        "",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "00000000-0000-4000-8000-00000000000a",
        "pm_card_visa",
        "SKU-1",
        "SKU-2",
        "EUR",
        "key-12345678",
        "\xc3\xbc",
        "MTc2OTg2MDgwMDEyMzQ1Ni4wMUFSWjNOREVLVFNWNFJSRkZRNjlHNUZBVg",
    };
    uint8_t choice = input_byte(in);

    if (choice < sizeof WORDS / sizeof WORDS[0])
        return arena_strdup(arena, WORDS[choice]);
    char *raw = input_text(in, '\n');
    char *text = arena_strdup(arena, raw);
    free(raw);
    return text;
}

static int64_t message_number(struct input *in)
{
    static const int64_t NUMBERS[] = {0,     1,          -1,        100,
                                      10000, 10001,      INT32_MAX, INT32_MIN,
                                      1000,  1000000000, INT64_MAX, INT64_MIN};
    uint8_t choice = input_byte(in);
    uint64_t number = 0;

    if (choice < sizeof NUMBERS / sizeof NUMBERS[0])
        return NUMBERS[choice];
    for (int i = 0; i < choice % 9; i++)
        number = number << 8 | input_byte(in);
    return (int64_t)number;
}

static ProtobufCMessage *message_build(struct input *in, struct arena *arena,
                                       const ProtobufCMessageDescriptor *type, int depth);

/* One value of a field, at `out`. */
static void message_value(struct input *in, struct arena *arena,
                          const ProtobufCFieldDescriptor *field, int depth, void *out)
{
    int64_t number;
    double real;

    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        *(char **)out = message_text(in, arena);
        return;
    case PROTOBUF_C_TYPE_BYTES:
        ((ProtobufCBinaryData *)out)->len = input_byte(in) % 64;
        ((ProtobufCBinaryData *)out)->data =
            message_memory(arena, ((ProtobufCBinaryData *)out)->len + 1);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
        *(ProtobufCMessage **)out =
            message_build(in, arena, field->descriptor, depth + 1);
        return;
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)out = input_byte(in) & 1;
        return;
    case PROTOBUF_C_TYPE_DOUBLE:
        number = message_number(in);
        memcpy(out, &number, sizeof number);
        return;
    case PROTOBUF_C_TYPE_FLOAT:
        real = (double)message_number(in) / 3;
        *(float *)out = (float)real;
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        *(int64_t *)out = message_number(in);
        return;
    default: /* 32 bits, and enums */
        *(uint32_t *)out = (uint32_t)message_number(in);
    }
}

/* Bytes of one value. */
static size_t message_value_size(const ProtobufCFieldDescriptor *field)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_DOUBLE:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return 8;
    default:
        return 4;
    }
}

static void message_list(struct input *in, struct arena *arena,
                         const ProtobufCFieldDescriptor *field, int depth,
                         ProtobufCMessage *message)
{
    size_t count = input_byte(in) % (MESSAGE_LIST_MAX + 1);
    size_t size = message_value_size(field);
    char *list = message_memory(arena, count * size + 1);

    for (size_t i = 0; i < count; i++)
        message_value(in, arena, field, depth, list + i * size);
    *(size_t *)((char *)message + field->quantifier_offset) = count;
    *(char **)((char *)message + field->offset) = list;
}

/* Sets what tells that a field is there: its flag, or which member of a oneof it is. */
static void message_mark(const ProtobufCFieldDescriptor *field, ProtobufCMessage *message)
{
    void *mark = (char *)message + field->quantifier_offset;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        *(uint32_t *)mark = field->id;
    else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0)
        *(protobuf_c_boolean *)mark = 1;
}

static ProtobufCMessage *message_build(struct input *in, struct arena *arena,
                                       const ProtobufCMessageDescriptor *type, int depth)
{
    /* One without fields; a type made at run time has no other way to begin. */
    ProtobufCMessage *message =
        protobuf_c_message_unpack(type, arena_protobuf(arena), 0, NULL);

    assert(message != NULL);
    for (unsigned i = 0; i < type->n_fields && depth < MESSAGE_DEPTH_MAX; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool oneof = (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
        bool taken =
            oneof && *(uint32_t *)((char *)message + field->quantifier_offset) != 0;
        if (in->left == 0 || taken || (oneof && (input_byte(in) & 1) == 0))
            continue;
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            message_list(in, arena, field, depth, message);
            continue;
        }
        message_value(in, arena, field, depth, (char *)message + field->offset);
        message_mark(field, message);
    }
    return message;
}

/* The input's message, in the arena; NULL when it makes none. */
static ProtobufCMessage *message_of(struct input *in, struct arena *arena,
                                    const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = NULL;
    uint8_t form = input_byte(in), *bytes;
    size_t size;

    if (form != 'w' && form != 'j')
        return message_build(in, arena, type, 0);
    bytes = input_rest(in, &size);
    if (form == 'w') {
        message = protobuf_c_message_unpack(type, arena_protobuf(arena), size, bytes);
    } else {
        struct err e = message_from_json((char *)bytes, size, type, arena, &message);
        if (failed(e))
            assert_refusal(e);
        message = failed(e) ? NULL : message;
    }
    free(bytes);
    return message;
}
