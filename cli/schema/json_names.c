/* json_names.c - see json_names.h. */
#include "cli/schema/json_names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

const char *json_path(const struct json_place *place, char out[JSON_PATH_SIZE])
{
    char part[JSON_NAME_SIZE];
    size_t begin = JSON_PATH_SIZE - 1;

    out[begin] = '\0';
    for (const struct json_place *p = place; p != NULL; p = p->up) {
        bool dot = p->name != NULL && p->up != NULL;
        if (p->name != NULL)
            snprintf(part, sizeof part, "%s%s", dot ? "." : "", p->name);
        else
            snprintf(part, sizeof part, "[%zu]", p->index);
        size_t length = strlen(part);
        if (length + 3 > begin) {
            begin -= 3;
            memcpy(out + begin, "...", 3);
            break;
        }
        begin -= length;
        memcpy(out + begin, part, length);
    }
    return out[begin] == '\0' ? "the message" : out + begin;
}

const char *json_camel_name(const char *name, char out[JSON_NAME_SIZE])
{
    size_t length = 0;
    bool capital = false;

    for (; *name != '\0' && length < JSON_NAME_SIZE - 1; name++) {
        if (*name == '_') {
            capital = true;
            continue;
        }
        out[length++] = (char)(capital ? toupper((unsigned char)*name) : *name);
        capital = false;
    }
    out[length] = '\0';
    return out;
}

size_t json_value_size(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_FLOAT:
        return 4;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return sizeof(void *);
}

/* protoc names the entry of `map<..> unit_prices` in M: M.UnitPricesEntry {key, value}.
 */
bool json_is_map(const ProtobufCMessageDescriptor *owner,
                 const ProtobufCFieldDescriptor *field)
{
    char camel[JSON_NAME_SIZE], entry[2 * JSON_NAME_SIZE];
    const ProtobufCMessageDescriptor *type = field->descriptor;

    if (field->label != PROTOBUF_C_LABEL_REPEATED ||
        field->type != PROTOBUF_C_TYPE_MESSAGE || type->n_fields != 2)
        return false;
    json_camel_name(field->name, camel);
    camel[0] = (char)toupper((unsigned char)camel[0]);
    snprintf(entry, sizeof entry, "%s.%sEntry", owner->name, camel);
    return strcmp(type->name, entry) == 0 && strcmp(type->fields[0].name, "key") == 0 &&
           strcmp(type->fields[1].name, "value") == 0;
}
