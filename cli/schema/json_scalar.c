/*
 * json_scalar.c - JSON -> one value that is no message; see json_scalar.h.
 *
 * The text is foreign: every value is checked against its field before it is stored.
 */
#include "cli/schema/json_scalar.h"

#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/schema/json_numbers.h"

struct err json_unfit(const struct json_place *place, const char *expected)
{
    char path[JSON_PATH_SIZE];

    return err_make(ERR_INVALID_ARGUMENT, "%s must be %s", json_path(place, path),
                    expected);
}

/* ---- numbers ---- */

/* A number's text, also where it stands in a string; NULL when it is none. */
static const char *number_of(const json_t *json)
{
    const char *text = json_number_text(json);

    if (text != NULL || !json_is_text(json))
        return text;
    text = json_string_value(json);
    return json_number_valid(text) ? text : NULL;
}

struct whole {
    bool negative;
    uint64_t magnitude;
};

/* The exponent of a number's text; far beyond any integer it is of no matter how far. */
static long exponent_of(const char *text)
{
    enum { FAR = 100000000 };
    const char *at = strpbrk(text, "eE");
    long exponent = at == NULL ? 0 : strtol(at + 1, NULL, 10);

    return exponent > FAR ? FAR : exponent < -FAR ? -FAR : exponent;
}

/*
 * 1e2 and 7.0 are whole numbers, too; digit by digit, as a double would not hold all of
 * them.  -0.0 is none: no integer has its sign.
 */
static bool whole_of_text(const char *text, struct whole *out)
{
    const size_t mantissa = strcspn(text, "eE"), point = strcspn(text, ".");
    const bool real = text[strcspn(text, ".eE")] != '\0';
    long places = exponent_of(text); /* zeros that follow the digits seen so far */
    size_t last = mantissa;          /* behind the last digit that is not 0 */

    *out = (struct whole){.negative = *text == '-'};
    if (point < mantissa)
        places -= (long)(mantissa - point - 1);
    while (last > 0 && strchr("0.-", text[last - 1]) != NULL) {
        places += text[last - 1] == '0';
        last--;
    }
    if (last == 0)
        return !out->negative || !real;
    for (size_t i = out->negative; i < last; i++)
        if (text[i] != '.' &&
            (__builtin_mul_overflow(out->magnitude, 10, &out->magnitude) ||
             __builtin_add_overflow(out->magnitude, (uint64_t)(text[i] - '0'),
                                    &out->magnitude)))
            return false;
    if (places < 0 || places > 20)
        return false;
    while (places-- > 0)
        if (__builtin_mul_overflow(out->magnitude, 10, &out->magnitude))
            return false;
    return true;
}

static bool signed_of_json(const json_t *json, int64_t *number)
{
    const char *text = number_of(json);
    struct whole whole;

    if (text == NULL || !whole_of_text(text, &whole) ||
        whole.magnitude > (uint64_t)INT64_MAX + whole.negative)
        return false;
    *number = (int64_t)(whole.negative ? 0 - whole.magnitude : whole.magnitude);
    return true;
}

static bool unsigned_of_json(const json_t *json, uint64_t *number)
{
    const char *text = number_of(json);
    struct whole whole;

    if (text == NULL || !whole_of_text(text, &whole) ||
        (whole.negative && whole.magnitude > 0))
        return false;
    *number = whole.magnitude;
    return true;
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
        return json_unfit(place,
                          "a whole number from 0 to 18446744073709551615, plain or "
                          "as a string");
    return ERR_NONE;
}

static struct err keep_double(const char *number, const struct json_place *place,
                              double *out)
{
    *out = strtod(number, NULL);
    bool is_nought = strcspn(number, "123456789") >= strcspn(number, "eE");
    if (*out == 0 && !is_nought)
        return json_unfit(place, "0 or a number that does not become 0, from 5e-324");
    return ERR_NONE;
}

/* Of a single field, protobuf-c leaves -0.0 out of the bytes, as it does 0. */
static struct err keep_sign(const ProtobufCFieldDescriptor *field,
                            const struct json_place *place, double value)
{
    if (field->label == PROTOBUF_C_LABEL_NONE && value == 0 && signbit(value))
        return json_unfit(place, "a number that is kept as it is: -0.0 would become 0");
    return ERR_NONE;
}

static struct err read_double(const json_t *json, const struct json_place *place,
                              double *out)
{
    const char *number = number_of(json);
    const char *text = json_is_text(json) ? json_string_value(json) : "";

    if (number != NULL && isfinite(strtod(number, NULL)))
        return keep_double(number, place, out);
    if (strcmp(text, "NaN") == 0)
        *out = (double)NAN;
    else if (strcmp(text, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (strcmp(text, "-Infinity") == 0)
        *out = -(double)INFINITY;
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
    if (!failed(e) && value != 0 && *out == 0)
        return json_unfit(place, "a number that fits a float, from 1.4e-45");
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
    const char *name = json_is_text(json) ? json_string_value(json) : NULL;
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

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                              "0123456789+/";

/*
 * base64url to base64, padding off, and the last letter without the bits that are of no byte,
 * which protobuf's readers overlook; false when padding stands where it may not, or what is
 * no letter of either.
 */
static bool plain_base64(char *text, size_t *length)
{
    size_t padded = *length;

    while (*length > 0 && padded - *length < 2 && text[*length - 1] == '=')
        (*length)--;
    if (padded != *length && padded % 4 != 0)
        return false;
    for (size_t i = 0; i < *length; i++) {
        text[i] = (char)(text[i] == '-' ? '+' : text[i] == '_' ? '/' : text[i]);
        if (text[i] == '\0' || strchr(LETTERS, text[i]) == NULL)
            return false;
    }
    if (*length % 4 >= 2) {
        char *last = &text[*length - 1];
        size_t value = (size_t)(strchr(LETTERS, *last) - LETTERS);
        *last = LETTERS[value & (*length % 4 == 2 ? 0x30 : 0x3c)];
    }
    return true;
}

static struct err read_bytes(struct arena *arena, const json_t *json,
                             const struct json_place *place, ProtobufCBinaryData *out)
{
    static const char expected[] = "a string of base64, such as \"aGVsbG8=\"";

    if (!json_is_text(json))
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

/* Its UTF-8 was checked, and zero characters were refused. */
static struct err read_string(struct arena *arena, const json_t *json,
                              const struct json_place *place, char **out)
{
    if (!json_is_text(json))
        return json_unfit(place, "a string");
    *out = arena_strdup(arena, json_string_value(json));
    return *out == NULL ? err_memory() : ERR_NONE;
}

struct err json_read_scalar(const json_t *json, const ProtobufCFieldDescriptor *field,
                            const struct json_place *place, struct arena *arena,
                            void *out)
{
    struct err e;

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
        e = read_float(json, place, out);
        return failed(e) ? e : keep_sign(field, place, *(float *)out);
    case PROTOBUF_C_TYPE_DOUBLE:
        e = read_double(json, place, out);
        return failed(e) ? e : keep_sign(field, place, *(double *)out);
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
