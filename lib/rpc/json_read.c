/*
 * json_read.c - JSON -> message; see json.h.
 *
 * The text is foreign: every value is checked against its field before it is stored, and
 * all memory comes from the arena, whose cap bounds what a small text can grow into.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "rpc/json.h"
#include "rpc/json_names.h"

struct reader {
    struct arena *arena;
    int depth;
};

static struct err read_message(struct reader *r, const json_t *json,
                               const ProtobufCMessageDescriptor *type,
                               const struct json_place *place, ProtobufCMessage **out);

static struct err unfit(const struct json_place *place, const char *expected)
{
    char path[JSON_PATH_SIZE];

    return err_make(ERR_INVALID_ARGUMENT, "%s must be %s", json_path(place, path),
                    expected);
}

/* ---- numbers ---- */

/* JSON's own grammar: no blanks, no plus sign, no leading zeros, no hex. */
static bool is_number(const char *text)
{
    static const char digits[] = "0123456789";

    text += *text == '-';
    size_t whole = strspn(text, digits);
    if (whole == 0 || (whole > 1 && *text == '0'))
        return false;
    text += whole;
    if (*text == '.') {
        size_t fraction = strspn(++text, digits);
        if (fraction == 0)
            return false;
        text += fraction;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '+' || *text == '-';
        size_t exponent = strspn(text, digits);
        if (exponent == 0)
            return false;
        text += exponent;
    }
    return *text == '\0';
}

/* 1e2 and 7.0 are whole numbers too; doubles hold them exactly or they are refused. */
static bool whole_of_real(double value, int64_t *number)
{
    if (!(value >= -0x1p63 && value < 0x1p63))
        return false;
    *number = (int64_t)value;
    return (double)*number == value;
}

static bool natural_of_real(double value, uint64_t *number)
{
    if (!(value >= 0 && value < 0x1p64))
        return false;
    *number = (uint64_t)value;
    return (double)*number == value;
}

static bool signed_of_json(const json_t *json, int64_t *number)
{
    const char *text = json_string_value(json);
    char *end;

    if (json_is_integer(json)) {
        *number = json_integer_value(json);
        return true;
    }
    if (json_is_real(json))
        return whole_of_real(json_real_value(json), number);
    if (text == NULL || !is_number(text))
        return false;
    errno = 0;
    *number = strtoll(text, &end, 10);
    if (*end == '\0')
        return errno == 0;
    return whole_of_real(strtod(text, NULL), number);
}

static bool unsigned_of_json(const json_t *json, uint64_t *number)
{
    const char *text = json_string_value(json);
    char *end;

    if (json_is_integer(json)) {
        *number = (uint64_t)json_integer_value(json);
        return json_integer_value(json) >= 0;
    }
    if (json_is_real(json))
        return natural_of_real(json_real_value(json), number);
    if (text == NULL || !is_number(text))
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (*end == '\0')
        return errno == 0 && (*text != '-' || *number == 0);
    return natural_of_real(strtod(text, NULL), number);
}

static struct err read_signed(const json_t *json, const struct json_place *place,
                              int64_t least, int64_t most, const char *expected,
                              int64_t *number)
{
    if (!signed_of_json(json, number) || *number < least || *number > most)
        return unfit(place, expected);
    return ERR_NONE;
}

static struct err read_int32(const json_t *json, const struct json_place *place,
                             int32_t *out)
{
    int64_t number = 0;
    struct err e = read_signed(json, place, INT32_MIN, INT32_MAX,
                               "a whole number from -2147483648 to 2147483647", &number);

    *out = (int32_t)number;
    return e;
}

static struct err read_uint32(const json_t *json, const struct json_place *place,
                              uint32_t *out)
{
    int64_t number = 0;
    struct err e = read_signed(json, place, 0, UINT32_MAX,
                               "a whole number from 0 to 4294967295", &number);

    *out = (uint32_t)number;
    return e;
}

static struct err read_int64(const json_t *json, const struct json_place *place,
                             int64_t *out)
{
    return read_signed(json, place, INT64_MIN, INT64_MAX,
                       "a whole number from -9223372036854775808 to 9223372036854775807, "
                       "plain or as a string",
                       out);
}

static struct err read_uint64(const json_t *json, const struct json_place *place,
                              uint64_t *out)
{
    if (!unsigned_of_json(json, out))
        return unfit(place, "a whole number from 0 to 18446744073709551615; past "
                            "9223372036854775807 it must be a string");
    return ERR_NONE;
}

static struct err read_double(const json_t *json, const struct json_place *place,
                              double *out)
{
    const char *text = json_string_value(json);

    if (json_is_number(json))
        *out = json_number_value(json);
    else if (text != NULL && strcmp(text, "NaN") == 0)
        *out = (double)NAN;
    else if (text != NULL && strcmp(text, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (text != NULL && strcmp(text, "-Infinity") == 0)
        *out = -(double)INFINITY;
    else if (text != NULL && is_number(text) && isfinite(strtod(text, NULL)))
        *out = strtod(text, NULL);
    else
        return unfit(place, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    return ERR_NONE;
}

static struct err read_float(const json_t *json, const struct json_place *place,
                             float *out)
{
    double value = 0;
    struct err e = read_double(json, place, &value);

    *out = (float)value;
    if (!failed(e) && isfinite(value) && !isfinite(*out))
        return unfit(place, "a number that fits a float, up to 3.4e38");
    return e;
}

/* ---- the other kinds ---- */

static struct err read_bool(const json_t *json, const struct json_place *place,
                            protobuf_c_boolean *out)
{
    if (!json_is_boolean(json))
        return unfit(place, "true or false");
    *out = json_is_true(json);
    return ERR_NONE;
}

/* "HELD", "CONFIRMED" or ... for the sentence; only the first few. */
static struct err unknown_name(const ProtobufCEnumDescriptor *type,
                               const struct json_place *place)
{
    char path[JSON_PATH_SIZE];

    return err_make(
        ERR_INVALID_ARGUMENT, "%s must be a name of %s, such as %s, or its number",
        json_path(place, path), type->short_name, type->values[type->n_values - 1].name);
}

static struct err read_enum(const json_t *json, const ProtobufCEnumDescriptor *type,
                            const struct json_place *place, int *out)
{
    const char *name = json_string_value(json);
    const ProtobufCEnumValue *value =
        name != NULL ? protobuf_c_enum_descriptor_get_value_by_name(type, name) : NULL;
    int64_t number;

    if (value != NULL) {
        *out = value->value;
        return ERR_NONE;
    }
    /* A number may stand in a string, as everywhere in the mapping.  Numbers without a
     * name are kept: enums are open in proto3. */
    if (!signed_of_json(json, &number) || number < INT32_MIN || number > INT32_MAX)
        return unknown_name(type, place);
    *out = (int)number;
    return ERR_NONE;
}

/*
 * base64url to base64, padding off; false when padding stands where it may not, or what
 * is no letter of either.
 */
static bool plain_base64(char *text, size_t *length)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789+/-_";
    size_t padded = *length;

    while (*length > 0 && padded - *length < 2 && text[*length - 1] == '=')
        (*length)--;
    if ((padded != *length && padded % 4 != 0) || strspn(text, letters) != *length)
        return false;
    for (size_t i = 0; i < *length; i++)
        text[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
    return true;
}

static struct err read_bytes(struct reader *r, const json_t *json,
                             const struct json_place *place, ProtobufCBinaryData *out)
{
    static const char expected[] = "a string of base64, such as \"aGVsbG8=\"";

    if (!json_is_string(json))
        return unfit(place, expected);
    size_t length = json_string_length(json);
    char *text = arena_copy(r->arena, json_string_value(json), length + 1);
    out->data = arena_alloc(r->arena, length + 1);
    if (text == NULL || out->data == NULL)
        return err_memory();
    if (!plain_base64(text, &length) ||
        !base64_decode(text, length, sodium_base64_VARIANT_ORIGINAL_NO_PADDING, out->data,
                       length, &out->len))
        return unfit(place, expected);
    return ERR_NONE;
}

/* Jansson has checked the UTF-8 and refused zero characters. */
static struct err read_string(struct reader *r, const json_t *json,
                              const struct json_place *place, char **out)
{
    if (!json_is_string(json))
        return unfit(place, "a string");
    *out = arena_strdup(r->arena, json_string_value(json));
    return *out == NULL ? err_memory() : ERR_NONE;
}

static struct err read_value(struct reader *r, const json_t *json,
                             const ProtobufCFieldDescriptor *field,
                             const struct json_place *place, void *out)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_int32(json, place, out);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_uint32(json, place, out);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_int64(json, place, out);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_uint64(json, place, out);
    case PROTOBUF_C_TYPE_FLOAT:
        return read_float(json, place, out);
    case PROTOBUF_C_TYPE_DOUBLE:
        return read_double(json, place, out);
    case PROTOBUF_C_TYPE_BOOL:
        return read_bool(json, place, out);
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(json, field->descriptor, place, out);
    case PROTOBUF_C_TYPE_BYTES:
        return read_bytes(r, json, place, out);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(r, json, place, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    return read_message(r, json, field->descriptor, place, out);
}

/* ---- fields and messages ---- */

static struct err read_array(struct reader *r, const json_t *json,
                             const ProtobufCFieldDescriptor *field,
                             const struct json_place *place, ProtobufCMessage *message)
{
    size_t size = json_value_size(field->type);

    if (!json_is_array(json))
        return unfit(place, "an array");
    size_t count = json_array_size(json);
    if (count == 0)
        return ERR_NONE;
    char *values = arena_alloc(r->arena, count * size);
    if (values == NULL)
        return err_memory();
    for (size_t i = 0; i < count; i++) {
        struct json_place element = {.up = place, .index = i};
        struct err e =
            read_value(r, json_array_get(json, i), field, &element, values + i * size);
        if (failed(e))
            return e;
    }
    *(void **)((char *)message + field->offset) = values;
    *(size_t *)((char *)message + field->quantifier_offset) = count;
    return ERR_NONE;
}

/* Marks a field with presence as set; a oneof may be set once. */
static struct err mark_present(const ProtobufCFieldDescriptor *field,
                               const struct json_place *place, ProtobufCMessage *message)
{
    void *quantifier = (char *)message + field->quantifier_offset;

    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0) {
        uint32_t *which = quantifier;
        if (*which != 0)
            return unfit(place, "left out: another member of the same oneof is given");
        *which = field->id;
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL &&
               field->type != PROTOBUF_C_TYPE_STRING &&
               field->type != PROTOBUF_C_TYPE_MESSAGE) {
        *(protobuf_c_boolean *)quantifier = true;
    }
    return ERR_NONE;
}

static struct err read_field(struct reader *r, const json_t *json,
                             const ProtobufCFieldDescriptor *field,
                             const struct json_place *place, ProtobufCMessage *message)
{
    if (json_is_map(message->descriptor, field))
        return unfit(place, "left out: maps are not supported");
    if (json_is_null(json))
        return ERR_NONE;
    if (field->label == PROTOBUF_C_LABEL_REPEATED)
        return read_array(r, json, field, place, message);
    struct err e = mark_present(field, place, message);
    if (failed(e))
        return e;
    return read_value(r, json, field, place, (char *)message + field->offset);
}

/* The field of that name, original or lowerCamelCase; NULL when there is none. */
static const ProtobufCFieldDescriptor *find_field(const ProtobufCMessageDescriptor *type,
                                                  const char *name)
{
    char camel[JSON_NAME_SIZE];
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, name);

    for (unsigned i = 0; field == NULL && i < type->n_fields; i++)
        if (strcmp(json_camel_name(type->fields[i].name, camel), name) == 0)
            field = &type->fields[i];
    return field;
}

static struct err read_member(struct reader *r, const char *name, const json_t *object,
                              const struct json_place *place, ProtobufCMessage *message)
{
    char path[JSON_PATH_SIZE];
    struct json_place here = {.up = place, .name = name};
    const ProtobufCFieldDescriptor *field = find_field(message->descriptor, name);

    if (field == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "%s is not a field of %s",
                        json_path(&here, path), message->descriptor->name);
    /* Both spellings of one name are one key given twice. */
    if (strcmp(field->name, name) != 0 && json_object_get(object, field->name) != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "%s is given twice, once as %s",
                        json_path(&here, path), field->name);
    return read_field(r, json_object_get(object, name), field, &here, message);
}

static struct err read_members(struct reader *r, const json_t *object,
                               const struct json_place *place, ProtobufCMessage *message)
{
    /* Jansson's iterator wants a pointer it could write through; nothing is written. */
    json_t *iterated = (json_t *)(uintptr_t)object;

    for (void *i = json_object_iter(iterated); i != NULL;
         i = json_object_iter_next(iterated, i)) {
        struct err e = read_member(r, json_object_iter_key(i), object, place, message);
        if (failed(e))
            return e;
    }
    return ERR_NONE;
}

/* As protobuf-c's unpacking does it: types made at run time have no message_init. */
static ProtobufCMessage *new_message(struct reader *r,
                                     const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = arena_alloc(r->arena, type->sizeof_message);

    if (message == NULL)
        return NULL;
    if (type->message_init != NULL) {
        type->message_init(message);
        return message;
    }
    message->descriptor = type;
    for (unsigned i = 0; i < type->n_fields; i++)
        if (type->fields[i].type == PROTOBUF_C_TYPE_STRING &&
            type->fields[i].label == PROTOBUF_C_LABEL_NONE &&
            (type->fields[i].flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0)
            *(const void **)((char *)message + type->fields[i].offset) =
                type->fields[i].default_value;
    return message;
}

static struct err read_message(struct reader *r, const json_t *json,
                               const ProtobufCMessageDescriptor *type,
                               const struct json_place *place, ProtobufCMessage **out)
{
    char path[JSON_PATH_SIZE];

    if (!json_is_object(json))
        return unfit(place, "an object");
    if (r->depth == JSON_DEPTH_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "%s is nested deeper than %d messages",
                        json_path(place, path), JSON_DEPTH_MAX);
    ProtobufCMessage *message = new_message(r, type);
    if (message == NULL)
        return err_memory();
    r->depth++;
    struct err e = read_members(r, json, place, message);
    r->depth--;
    *out = message;
    return e;
}

struct err message_from_json(const char *text, size_t length,
                             const ProtobufCMessageDescriptor *type, struct arena *arena,
                             ProtobufCMessage **out)
{
    struct reader r = {.arena = arena};
    json_error_t error;
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);

    *out = NULL;
    if (json == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "not JSON at line %d, column %d: %s",
                        error.line, error.column, error.text);
    struct err e = read_message(&r, json, type, NULL, out);
    json_decref(json);
    if (failed(e))
        *out = NULL;
    return e;
}
