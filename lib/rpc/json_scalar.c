/*
 * json_scalar.c - JSON -> one value that is no message; see json_scalar.h.
 *
 * The text is foreign: every value is checked against its field before it is stored.
 */
#include "rpc/json_scalar.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"

struct err json_unfit(const struct json_place *place, const char *expected)
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
        return json_unfit(place, expected);
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
        return json_unfit(place, "a whole number from 0 to 18446744073709551615; past "
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
        return json_unfit(place, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    return ERR_NONE;
}

static struct err read_float(const json_t *json, const struct json_place *place,
                             float *out)
{
    double value = 0;
    struct err e = read_double(json, place, &value);

    *out = (float)value;
    if (!failed(e) && isfinite(value) && !isfinite(*out))
        return json_unfit(place, "a number that fits a float, up to 3.4e38");
    return e;
}

/* ---- the other kinds ---- */

static struct err read_bool(const json_t *json, const struct json_place *place,
                            protobuf_c_boolean *out)
{
    if (!json_is_boolean(json))
        return json_unfit(place, "true or false");
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

static struct err read_bytes(struct arena *arena, const json_t *json,
                             const struct json_place *place, ProtobufCBinaryData *out)
{
    static const char expected[] = "a string of base64, such as \"aGVsbG8=\"";

    if (!json_is_string(json))
        return json_unfit(place, expected);
    size_t length = json_string_length(json);
    char *text = arena_copy(arena, json_string_value(json), length + 1);
    out->data = arena_alloc(arena, length + 1);
    if (text == NULL || out->data == NULL)
        return err_memory();
    if (!plain_base64(text, &length) ||
        !base64_decode(text, length, sodium_base64_VARIANT_ORIGINAL_NO_PADDING, out->data,
                       length, &out->len))
        return json_unfit(place, expected);
    return ERR_NONE;
}

/* Jansson has checked the UTF-8 and refused zero characters. */
static struct err read_string(struct arena *arena, const json_t *json,
                              const struct json_place *place, char **out)
{
    if (!json_is_string(json))
        return json_unfit(place, "a string");
    *out = arena_strdup(arena, json_string_value(json));
    return *out == NULL ? err_memory() : ERR_NONE;
}

struct err json_read_scalar(const json_t *json, const ProtobufCFieldDescriptor *field,
                            const struct json_place *place, struct arena *arena,
                            void *out)
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
        return read_bytes(arena, json, place, out);
    case PROTOBUF_C_TYPE_STRING:
        return read_string(arena, json, place, out);
    case PROTOBUF_C_TYPE_MESSAGE:
        break;
    }
    assert(false); /* messages are the caller's */
    return json_unfit(place, "left out");
}
