/* template.c - see template.h. */
#include "cli/template.h"

#include <string.h>

#include "cli/schema/json.h"

/* The messages around, innermost last. */
struct around {
    const struct around *up;
    const ProtobufCMessageDescriptor *type;
    int depth;
};

static json_t *message(const ProtobufCMessageDescriptor *type, const struct around *up);

static bool is_around(const struct around *around, const ProtobufCMessageDescriptor *type)
{
    for (; around != NULL; around = around->up)
        if (around->type == type)
            return true;
    return false;
}

static json_t *enumeration(const ProtobufCEnumDescriptor *type)
{
    for (unsigned i = 0; i < type->n_values; i++)
        if (type->values[i].value != 0)
            return json_string(type->values[i].name);
    return json_string(type->values[0].name);
}

static json_t *value(const ProtobufCFieldDescriptor *field, const struct around *around)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return json_string("0");
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        return json_real(0);
    case PROTOBUF_C_TYPE_BOOL:
        return json_false();
    case PROTOBUF_C_TYPE_ENUM:
        return enumeration(field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return json_string("");
    case PROTOBUF_C_TYPE_MESSAGE:
        return message(field->descriptor, around);
    default:
        return json_integer(0);
    }
}

/* Whether an earlier field is of the same oneof. */
static bool oneof_has(const ProtobufCMessageDescriptor *type, unsigned index)
{
    const ProtobufCFieldDescriptor *field = &type->fields[index];

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
        return false;
    for (unsigned i = 0; i < index; i++)
        if ((type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 &&
            type->fields[i].quantifier_offset == field->quantifier_offset)
            return true;
    return false;
}

static json_t *message(const ProtobufCMessageDescriptor *type, const struct around *up)
{
    struct around here = {up, type, up != NULL ? up->depth + 1 : 1};
    json_t *object = json_object();

    for (unsigned i = 0; object != NULL && i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool again =
            field->type == PROTOBUF_C_TYPE_MESSAGE &&
            (is_around(&here, field->descriptor) || here.depth == JSON_DEPTH_MAX);
        if (again || oneof_has(type, i))
            continue;
        json_t *json = value(field, &here);
        if (field->label == PROTOBUF_C_LABEL_REPEATED)
            json = json_pack("[o]", json);
        if (json_object_set_new(object, field->name, json) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

json_t *template_of(const ProtobufCMessageDescriptor *type)
{
    return message(type, NULL);
}
