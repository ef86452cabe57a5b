/*
 * json_read.c - JSON -> message; see json.h.
 *
 *      text --> a tree of jansson's, numbers as they were written --> values --> message
 *
 * The text is untrusted: every name and value is checked against its type before it is
 * stored, and all memory comes from the arena, whose cap limits how far a small text can
 * grow.
 */
#include <assert.h>
#include <math.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "cli/schema/json.h"

/* Before a number's text, and behind it. */
static const char MARK[] = "\"\\u0000", END[] = "\"";

/* ---- numbers that keep their digits ------------------------------------------------ */

/*
 * Jansson reads a number as int64 or double, and as doubles 9007199254740993.0 and
 * ...992.0 are equal.  So here a number keeps its text: in the tree it is a string that
 * begins with a zero character, which no string of the caller can contain.
 */

/* Skips a run of digits; false when there is none. */
static bool skip_digits(const char **at, const char *end)
{
    const char *begin = *at;

    while (*at < end && **at >= '0' && **at <= '9')
        (*at)++;
    return *at > begin;
}

/* Whether all of the text is a number by JSON's grammar: no blanks, no plus sign, no
 * leading zeros, no hex. */
static bool number_valid(const char *text, size_t size)
{
    const char *at = text, *end = text + size;

    at += at < end && *at == '-';
    const char *whole = at;
    if (!skip_digits(&at, end) || (*whole == '0' && at > whole + 1))
        return false;
    if (at < end && *at == '.') {
        at++;
        if (!skip_digits(&at, end))
            return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < end && (*at == '+' || *at == '-');
        if (!skip_digits(&at, end))
            return false;
    }
    return at == end;
}

/* ---- marking ----------------------------------------------------------------------- */

/* The text is walked twice: once to count, once to write. */
struct marking {
    char *out; /* NULL: only counted */
    size_t size;
    bool malformed;
    const char *zero; /* where a text holds a zero character; or NULL */
};

static void put(struct marking *m, const char *bytes, size_t size)
{
    if (m->out != NULL)
        memcpy(m->out + m->size, bytes, size);
    m->size += size;
}

/* Past a string's closing quote, or at the end of a text that has none. */
static const char *end_of_string(struct marking *m, const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at != '\\')
            continue;
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0)
            m->zero = at;
        at++;
    }
    return at < end ? at + 1 : end;
}

static const char *end_of_number(struct marking *m, const char *begin, const char *end)
{
    const char *at = begin;

    while (at < end && *at != '\0' && strchr("+-.0123456789Ee", *at) != NULL)
        at++;
    m->malformed |= !number_valid(begin, (size_t)(at - begin));
    return at;
}

static void mark(struct marking *m, const char *text, size_t size)
{
    const char *end = text + size;

    m->size = 0;
    for (const char *at = text, *next; at < end; at = next) {
        bool number = *at == '-' || (*at >= '0' && *at <= '9');
        next = number       ? end_of_number(m, at, end)
               : *at == '"' ? end_of_string(m, at, end)
                            : at + 1;
        if (number)
            put(m, MARK, sizeof MARK - 1);
        put(m, at, (size_t)(next - at));
        if (number)
            put(m, END, sizeof END - 1);
    }
}

/* ---- the tree ---------------------------------------------------------------------- */

/* The line and column of a place, from 1. */
static struct err zero_at(const char *text, const char *place)
{
    int line = 1, column = 1;

    for (; text < place; text++) {
        column = *text == '\n' ? 1 : column + 1;
        line += *text == '\n';
    }
    return err_make(ERR_INVALID_ARGUMENT,
                    "line %d, column %d: a zero character, which no text can hold here",
                    line, column);
}

/* What jansson finds wrong with the original text, by its lines and columns. */
static struct err malformed(const char *text, size_t size)
{
    json_error_t error = {.line = 1, .column = 1, .text = "a number is malformed"};

    json_decref(
        json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &error));
    return err_make(ERR_INVALID_ARGUMENT, "not JSON at line %d, column %d: %s",
                    error.line, error.column, error.text);
}

/* INVALID_ARGUMENT says where the text is malformed, names a key twice, or holds a zero
 * character; RESOURCE_EXHAUSTED past the arena's cap.  Free *out with json_decref. */
static struct err read_tree(const char *text, size_t size, struct arena *arena,
                            json_t **out)
{
    const char *zero = memchr(text, '\0', size);
    struct marking m = {.zero = NULL};

    *out = NULL;
    mark(&m, text, size);
    if (zero != NULL || m.zero != NULL)
        return zero_at(text, zero != NULL ? zero : m.zero);
    if (m.malformed)
        return malformed(text, size);
    m.out = arena_alloc(arena, m.size + 1);
    if (m.out == NULL)
        return err_memory();
    mark(&m, text, size);
    *out = json_loadb(m.out, m.size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    return *out == NULL ? malformed(text, size) : ERR_NONE;
}

/* A number's text as it was written; NULL when it is none. */
static const char *number_text(const json_t *json)
{
    const char *text = json_string_value(json);

    return text != NULL && text[0] == '\0' && json_string_length(json) > 0 ? text + 1
                                                                           : NULL;
}

/* Whether it is a string in the original text, not a number. */
static bool is_text(const json_t *json)
{
    return json_is_string(json) && number_text(json) == NULL;
}

/* INVALID_ARGUMENT: "lines[2].quantity must be EXPECTED". */
static struct err unfit(const struct json_place *place, const char *expected)
{
    char path[JSON_PATH_SIZE];

    return err_make(ERR_INVALID_ARGUMENT, "%s must be %s", json_path(place, path),
                    expected);
}

/* ---- values: numbers --------------------------------------------------------------- */

/* The text of a number, also of one in a string; NULL when it is none. */
static const char *number_of(const json_t *json)
{
    const char *text = number_text(json);

    if (text != NULL || !is_text(json))
        return text;
    text = json_string_value(json);
    return number_valid(text, strlen(text)) ? text : NULL;
}

struct whole {
    bool negative;
    uint64_t magnitude;
};

/* The exponent of a number's text; cut to a value far beyond any integer. */
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

/* The whole numbers a field may hold; the expectation completes "FIELD must be". */
struct range {
    int64_t least;
    uint64_t most;
    const char *expected;
};

static const struct range INT32 = {INT32_MIN, INT32_MAX,
                                   "a whole number from -2147483648 to 2147483647"};
static const struct range UINT32 = {0, UINT32_MAX, "a whole number from 0 to 4294967295"};
static const struct range INT64 = {
    INT64_MIN, INT64_MAX,
    "a whole number from -9223372036854775808 to 9223372036854775807, plain or as a "
    "string"};
static const struct range UINT64 = {
    0, UINT64_MAX, "a whole number from 0 to 18446744073709551615, plain or as a string"};

/* Stores the number in `size` bytes at `out`, in two's complement. */
static struct err read_whole(const json_t *json, const struct range *range,
                             const struct json_place *place, size_t size, void *out)
{
    const char *text = number_of(json);
    struct whole whole;

    if (text == NULL || !whole_of_text(text, &whole) ||
        whole.magnitude > (whole.negative ? 0 - (uint64_t)range->least : range->most))
        return unfit(place, range->expected);
    const uint64_t bits = whole.negative ? 0 - whole.magnitude : whole.magnitude;
    const uint32_t low = (uint32_t)bits;
    memcpy(out, size == sizeof low ? (const void *)&low : &bits, size);
    return ERR_NONE;
}

static struct err keep_double(const char *number, const struct json_place *place,
                              double *out)
{
    *out = strtod(number, NULL);
    bool is_zero = strcspn(number, "123456789") >= strcspn(number, "eE");
    if (*out == 0 && !is_zero)
        return unfit(place, "0 or a number that does not become 0, from 5e-324");
    return ERR_NONE;
}

/* Of a single field, protobuf-c leaves -0.0 out of the bytes, as it does 0. */
static struct err keep_sign(const ProtobufCFieldDescriptor *field,
                            const struct json_place *place, double value)
{
    if (field->label == PROTOBUF_C_LABEL_NONE && value == 0 && signbit(value))
        return unfit(place, "a number that is kept as it is: -0.0 would become 0");
    return ERR_NONE;
}

static struct err read_double(const json_t *json, const struct json_place *place,
                              double *out)
{
    const char *number = number_of(json);
    const char *text = is_text(json) ? json_string_value(json) : "";

    if (number != NULL && isfinite(strtod(number, NULL)))
        return keep_double(number, place, out);
    if (strcmp(text, "NaN") == 0)
        *out = (double)NAN;
    else if (strcmp(text, "Infinity") == 0)
        *out = (double)INFINITY;
    else if (strcmp(text, "-Infinity") == 0)
        *out = -(double)INFINITY;
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
    if (!failed(e) && value != 0 && *out == 0)
        return unfit(place, "a number that fits a float, from 1.4e-45");
    return e;
}

/* ---- values: the other kinds ------------------------------------------------------- */

/* A name, or a number, also in a string.  Numbers without a name are kept: enums are open
 * in proto3. */
static struct err read_enum(const json_t *json, const ProtobufCEnumDescriptor *type,
                            const struct json_place *place, int *out)
{
    char path[JSON_PATH_SIZE];
    const char *name = is_text(json) ? json_string_value(json) : NULL;
    const ProtobufCEnumValue *value =
        name != NULL ? protobuf_c_enum_descriptor_get_value_by_name(type, name) : NULL;

    if (value != NULL)
        *out = value->value;
    else if (failed(read_whole(json, &INT32, place, sizeof *out, out)))
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s must be a name of %s, such as %s, or its number",
                        json_path(place, path), type->short_name,
                        type->values[type->n_values - 1].name);
    return ERR_NONE;
}

static const char LETTERS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                              "0123456789+/";

/*
 * base64url to base64, without padding, and the last letter without its surplus bits,
 * which protobuf's readers ignore; false when padding is misplaced, or a character is
 * not of either alphabet.
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

    if (!is_text(json))
        return unfit(place, expected);
    size_t length = json_string_length(json);
    char *text = arena_copy(arena, json_string_value(json), length + 1);
    out->data = arena_alloc(arena, length + 1);
    if (text == NULL || out->data == NULL)
        return err_memory();
    if (!plain_base64(text, &length) ||
        !base64_decode(text, length, sodium_base64_VARIANT_ORIGINAL_NO_PADDING, out->data,
                       length, &out->len))
        return unfit(place, expected);
    return ERR_NONE;
}

/* Its UTF-8 was checked, and zero characters were refused. */
static struct err read_string(struct arena *arena, const json_t *json,
                              const struct json_place *place, char **out)
{
    if (!is_text(json))
        return unfit(place, "a string");
    *out = arena_strdup(arena, json_string_value(json));
    return *out == NULL ? err_memory() : ERR_NONE;
}

/*
 * One value of the field's type, which is no message, stored at `out` as protobuf-c
 * has it in a struct or array.  Texts and bytes are copied into the arena.
 */
static struct err read_scalar(const json_t *json, const ProtobufCFieldDescriptor *field,
                              const struct json_place *place, struct arena *arena,
                              void *out)
{
    struct err e;

    switch (field->type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        return read_whole(json, &INT32, place, sizeof(int32_t), out);
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        return read_whole(json, &UINT32, place, sizeof(uint32_t), out);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        return read_whole(json, &INT64, place, sizeof(int64_t), out);
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return read_whole(json, &UINT64, place, sizeof(uint64_t), out);
    case PROTOBUF_C_TYPE_FLOAT:
        e = read_float(json, place, out);
        return failed(e) ? e : keep_sign(field, place, *(float *)out);
    case PROTOBUF_C_TYPE_DOUBLE:
        e = read_double(json, place, out);
        return failed(e) ? e : keep_sign(field, place, *(double *)out);
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)out = json_is_true(json);
        return json_is_boolean(json) ? ERR_NONE : unfit(place, "true or false");
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
    return unfit(place, "left out");
}

/* ---- messages ---------------------------------------------------------------------- */

struct reader {
    struct arena *arena;
    int depth;
};

static struct err read_message(struct reader *r, const json_t *json,
                               const ProtobufCMessageDescriptor *type,
                               const struct json_place *place, ProtobufCMessage **out);

static struct err read_value(struct reader *r, const json_t *json,
                             const ProtobufCFieldDescriptor *field,
                             const struct json_place *place, void *out)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE
               ? read_message(r, json, field->descriptor, place, out)
               : read_scalar(json, field, place, r->arena, out);
}

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

    if (*name == '\0')
        return err_make(ERR_INVALID_ARGUMENT, "%s has a field with an empty name (\"\")",
                        json_path(place, path));
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

/* Not by message_init: types made at run time have none, and to call it by a pointer of another
 * type is undefined.  Of proto3 only strings begin as something else than zero. */
static ProtobufCMessage *new_message(struct reader *r,
                                     const ProtobufCMessageDescriptor *type)
{
    ProtobufCMessage *message = arena_alloc(r->arena, type->sizeof_message);

    if (message == NULL)
        return NULL;
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
    json_t *json;
    struct err e = read_tree(text, length, arena, &json);

    *out = NULL;
    if (failed(e))
        return e;
    e = read_message(&r, json, type, NULL, out);
    json_decref(json);
    if (failed(e))
        *out = NULL;
    return e;
}
