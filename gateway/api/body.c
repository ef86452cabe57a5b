/* body.c - see body.h. */
#include "gateway/api/body.h"

#include <inttypes.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/json.h"

/* The end of the string that begins at `at`, or `end`. */
static const char *after_string(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++)
        at += *at == '\\' && at + 1 < end;
    return at < end ? at + 1 : end;
}

/* The last member name before `end`, where the parser stopped; "" unless it is safe to
 * show. */
static const char *field_before(const char *bytes, const char *end, char out[32])
{
    static const char PLAIN[] = "abcdefghijklmnopqrstuvwxyz_";

    out[0] = '\0';
    for (const char *at = bytes; at < end;) {
        const char *next = *at == '"' ? after_string(at, end) : at + 1;
        const char *colon = next;
        while (colon < end && strchr(" \t\r\n", *colon) != NULL && *colon != '\0')
            colon++;
        size_t size = (size_t)(next - at);
        if (*at == '"' && colon < end && *colon == ':' && size >= 3 && size <= 32 &&
            strspn(at + 1, PLAIN) == size - 2) {
            memcpy(out, at + 1, size - 2);
            out[size - 2] = '\0';
        }
        at = next;
    }
    return out;
}

/* The error of JSON that is refused: the reason and the field. */
static struct err explain(const char *bytes, size_t size)
{
    json_error_t error = {0};
    char field[32];
    json_t *json = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);

    json_decref(json);
    size_t read = error.position > 0 ? (size_t)error.position : 0;
    field_before(bytes, bytes + (read < size ? read : size), field);
    return invalid("The body is not valid JSON at line %d, column %d%s%s: %.80s.",
                   error.line, error.column, field[0] != '\0' ? ", in " : "", field,
                   json_error_code(&error) == json_error_null_character
                       ? "a text has the character U+0000"
                       : error.text);
}

struct err body_parse(const char *bytes, size_t size, json_t **out)
{
    *out = NULL;
    if (size == 0)
        return invalid("The body is empty; send a JSON object.");
    struct err e = json_parse(bytes, size, out);
    return e.code == ERR_INVALID_ARGUMENT ? explain(bytes, size) : e;
}

struct err body_names(const json_t *value, const char *where, const char *const *names)
{
    const char *name;
    json_t *member;

    if (!json_is_object(value))
        return invalid("%s must be a JSON object.", where);
    json_object_foreach((json_t *)value, name, member)
    {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], name) != 0)
            i++;
        if (names[i] == NULL)
            return invalid("%s has an unknown field \"%.*s\".", where,
                           (int)utf8_prefix(name, 64), name);
    }
    return ERR_NONE;
}

static struct err missing(const char *name)
{
    return invalid("%s is missing.", name);
}

struct err body_text(const json_t *object, const char *name, bool required,
                     const char **out)
{
    const json_t *value = json_object_get(object, name);

    *out = NULL;
    if (value == NULL)
        return required ? missing(name) : ERR_NONE;
    if (!json_is_string(value))
        return invalid("%s must be a string.", name);
    *out = json_string_value(value);
    return ERR_NONE;
}

struct err body_integer(const json_t *object, const char *name, int64_t least,
                        int64_t most, bool *present, int64_t *out)
{
    const json_t *value = json_object_get(object, name);

    *out = 0;
    if (present != NULL)
        *present = value != NULL;
    if (value == NULL)
        return present == NULL ? missing(name) : ERR_NONE;
    if (json_is_integer(value))
        *out = json_integer_value(value);
    if (!json_is_integer(value) || *out < least || *out > most)
        return invalid("%s must be an integer from %" PRId64 " to %" PRId64
                       ", written without fraction or exponent.",
                       name, least, most);
    return ERR_NONE;
}

struct err body_array(const json_t *object, const char *name, size_t most,
                      const json_t **out)
{
    *out = json_object_get(object, name);
    if (*out == NULL)
        return missing(name);
    if (!json_is_array(*out) || json_array_size(*out) > most)
        return invalid("%s must be an array of at most %zu elements.", name, most);
    return ERR_NONE;
}
