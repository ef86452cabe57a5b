/*
 * json_write.c - message -> JSON; see json.h.  Also what both directions share, and
 * examples of messages.
 */
#include <ctype.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/schema/json.h"

/* ---- names, paths, offsets --------------------------------------------------------- */

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
    static const size_t sizes[] = {[PROTOBUF_C_TYPE_INT32] = 4,
                                   [PROTOBUF_C_TYPE_SINT32] = 4,
                                   [PROTOBUF_C_TYPE_SFIXED32] = 4,
                                   [PROTOBUF_C_TYPE_UINT32] = 4,
                                   [PROTOBUF_C_TYPE_FIXED32] = 4,
                                   [PROTOBUF_C_TYPE_ENUM] = 4,
                                   [PROTOBUF_C_TYPE_FLOAT] = 4,
                                   [PROTOBUF_C_TYPE_INT64] = 8,
                                   [PROTOBUF_C_TYPE_SINT64] = 8,
                                   [PROTOBUF_C_TYPE_SFIXED64] = 8,
                                   [PROTOBUF_C_TYPE_UINT64] = 8,
                                   [PROTOBUF_C_TYPE_FIXED64] = 8,
                                   [PROTOBUF_C_TYPE_DOUBLE] = 8,
                                   [PROTOBUF_C_TYPE_BOOL] = sizeof(protobuf_c_boolean),
                                   [PROTOBUF_C_TYPE_BYTES] = sizeof(ProtobufCBinaryData),
                                   [PROTOBUF_C_TYPE_STRING] = sizeof(char *),
                                   [PROTOBUF_C_TYPE_MESSAGE] = sizeof(void *)};

    return sizes[type];
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

/* ---- writing ----------------------------------------------------------------------- */

struct writer {
    struct json_style style;
    int depth;
};

static struct err write_message(struct writer *w, const ProtobufCMessage *message,
                                const struct json_place *place, json_t **out);

static json_t *integer(const struct writer *w, int64_t value)
{
    char text[24];

    if (w->style.int64_as_number)
        return json_integer(value);
    snprintf(text, sizeof text, "%lld", (long long)value);
    return json_string(text);
}

/* Jansson's numbers end at INT64_MAX; past it the string is the only exact form. */
static json_t *natural(const struct writer *w, uint64_t value)
{
    char text[24];

    if (w->style.int64_as_number && value <= INT64_MAX)
        return json_integer((json_int_t)value);
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return json_string(text);
}

static json_t *real(double value)
{
    if (isnan(value))
        return json_string("NaN");
    if (isinf(value))
        return json_string(value > 0 ? "Infinity" : "-Infinity");
    return json_real(value);
}

/* With the fewest digits that name this float, not those of the double it becomes. */
static json_t *real_of_float(float value)
{
    char text[32];

    if (!isfinite(value))
        return real((double)value);
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    return json_real(strtod(text, NULL));
}

static json_t *enumeration(const ProtobufCEnumDescriptor *type, int value)
{
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(type, value);

    return known != NULL ? json_string(known->name) : json_integer(value);
}

static json_t *bytes(const ProtobufCBinaryData *data)
{
    size_t size = sodium_base64_encoded_len(data->len, sodium_base64_VARIANT_ORIGINAL);
    char *text = malloc(size);

    if (text == NULL)
        return NULL;
    sodium_bin2base64(text, size, data->data, data->len, sodium_base64_VARIANT_ORIGINAL);
    json_t *json = json_string(text);
    free(text);
    return json;
}

static struct err string(const char *text, const struct json_place *place, json_t **out)
{
    char path[JSON_PATH_SIZE];

    *out = json_string(text == NULL ? "" : text);
    if (*out == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s is not UTF-8 text, which JSON cannot hold",
                        json_path(place, path));
    return ERR_NONE;
}

static struct err write_value(struct writer *w, const ProtobufCFieldDescriptor *field,
                              const void *value, const struct json_place *place,
                              json_t **out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        *out = json_integer(*(const int32_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        *out = json_integer(*(const uint32_t *)value);
        break;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        *out = integer(w, *(const int64_t *)value);
        break;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        *out = natural(w, *(const uint64_t *)value);
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *out = real_of_float(*(const float *)value);
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        *out = real(*(const double *)value);
        break;
    case PROTOBUF_C_TYPE_BOOL:
        *out = json_boolean(*(const protobuf_c_boolean *)value);
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *out = enumeration(field->descriptor, *(const int *)value);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        *out = bytes(value);
        break;
    case PROTOBUF_C_TYPE_STRING:
        return string(*(char *const *)value, place, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        return write_message(w, *(ProtobufCMessage *const *)value, place, out);
    }
    return *out == NULL ? err_memory() : ERR_NONE;
}

static struct err write_array(struct writer *w, const ProtobufCFieldDescriptor *field,
                              const char *values, size_t count,
                              const struct json_place *place, json_t **out)
{
    *out = json_array();
    if (*out == NULL)
        return err_memory();
    for (size_t i = 0; i < count; i++) {
        struct json_place element = {.up = place, .index = i};
        json_t *json = NULL;
        struct err e = write_value(w, field, values + i * json_value_size(field->type),
                                   &element, &json);
        if (failed(e)) {
            json_decref(json);
            return e;
        }
        if (json_array_append_new(*out, json) != 0)
            return err_memory();
    }
    return ERR_NONE;
}

/* Whether a field without presence has the value it would have when never set. */
static bool is_default(ProtobufCType type, const void *value)
{
    static const char zero[8];

    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
        return *(char *const *)value == NULL || **(char *const *)value == '\0';
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)value)->len == 0;
    default:
        return memcmp(value, zero, json_value_size(type)) == 0;
    }
}

/* Whether the field is to be written at all: it has presence and is set, or is no
 * default. */
static bool is_written(const struct writer *w, const ProtobufCMessage *message,
                       const ProtobufCFieldDescriptor *field)
{
    const void *value = (const char *)message + field->offset;
    const void *quantifier = (const char *)message + field->quantifier_offset;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return *(const uint32_t *)quantifier == field->id;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return *(const size_t *)quantifier > 0 || w->style.defaults;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(void *const *)value != NULL;
    if (field->label == PROTOBUF_C_LABEL_OPTIONAL)
        return field->type == PROTOBUF_C_TYPE_STRING
                   ? *(void *const *)value != NULL &&
                         *(void *const *)value != field->default_value
                   : *(const protobuf_c_boolean *)quantifier != 0;
    return w->style.defaults || !is_default(field->type, value);
}

static struct err write_field(struct writer *w, const ProtobufCMessage *message,
                              const ProtobufCFieldDescriptor *field,
                              const struct json_place *place, json_t **out)
{
    const char *value = (const char *)message + field->offset;
    const void *quantifier = (const char *)message + field->quantifier_offset;

    if (json_is_map(message->descriptor, field))
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s is a map, which cannot be written as JSON", field->name);
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return write_array(w, field, *(char *const *)value, *(const size_t *)quantifier,
                           place, out);
    return write_value(w, field, value, place, out);
}

static struct err write_fields(struct writer *w, const ProtobufCMessage *message,
                               const struct json_place *place, json_t *object)
{
    char camel[JSON_NAME_SIZE];

    for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
        struct json_place here = {.up = place, .name = field->name};
        json_t *json = NULL;
        if (!is_written(w, message, field))
            continue;
        struct err e = write_field(w, message, field, &here, &json);
        if (failed(e)) {
            json_decref(json);
            return e;
        }
        const char *name =
            w->style.original_names ? field->name : json_camel_name(field->name, camel);
        if (json_object_set_new(object, name, json) != 0)
            return err_memory();
    }
    return ERR_NONE;
}

static struct err write_message(struct writer *w, const ProtobufCMessage *message,
                                const struct json_place *place, json_t **out)
{
    char path[JSON_PATH_SIZE];

    if (w->depth == JSON_DEPTH_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s is nested deeper than %d messages",
                        json_path(place, path), JSON_DEPTH_MAX);
    *out = json_object();
    if (*out == NULL)
        return err_memory();
    w->depth++;
    struct err e = write_fields(w, message, place, *out);
    w->depth--;
    return e;
}

struct err message_to_json(const ProtobufCMessage *message, struct json_style style,
                           json_t **out)
{
    struct writer w = {.style = style};
    json_t *json = NULL;
    struct err e = write_message(&w, message, NULL, &json);

    if (failed(e)) {
        json_decref(json);
        json = NULL;
    }
    *out = json;
    return e;
}

/* ---- examples ---------------------------------------------------------------------- */

/* The messages around, innermost last. */
struct around {
    const struct around *up;
    const ProtobufCMessageDescriptor *type;
    int depth;
};

static json_t *example_message(const ProtobufCMessageDescriptor *type,
                               const struct around *up);

static bool is_around(const struct around *around, const ProtobufCMessageDescriptor *type)
{
    for (; around != NULL; around = around->up)
        if (around->type == type)
            return true;
    return false;
}

static json_t *example_enum(const ProtobufCEnumDescriptor *type)
{
    for (unsigned i = 0; i < type->n_values; i++)
        if (type->values[i].value != 0)
            return json_string(type->values[i].name);
    return json_string(type->values[0].name);
}

static json_t *example_value(const ProtobufCFieldDescriptor *field,
                             const struct around *around)
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
        return example_enum(field->descriptor);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
        return json_string("");
    case PROTOBUF_C_TYPE_MESSAGE:
        return example_message(field->descriptor, around);
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

static json_t *example_message(const ProtobufCMessageDescriptor *type,
                               const struct around *up)
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
        json_t *json = example_value(field, &here);
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
    return example_message(type, NULL);
}
