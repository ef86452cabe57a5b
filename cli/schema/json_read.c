/*
 * json_read.c - JSON -> message; see json.h.  Its values are read by json_scalar.c.
 *
 * The text is foreign: every name is checked against its type before it is read, and all
 * memory comes from the arena, whose cap bounds what a small text can grow into.
 */
#include <string.h>

#include "cli/schema/json.h"
#include "cli/schema/json_names.h"
#include "cli/schema/json_numbers.h"
#include "cli/schema/json_scalar.h"

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
               : json_read_scalar(json, field, place, r->arena, out);
}

/* ---- fields and messages ---- */

static struct err read_array(struct reader *r, const json_t *json,
                             const ProtobufCFieldDescriptor *field,
                             const struct json_place *place, ProtobufCMessage *message)
{
    size_t size = json_value_size(field->type);

    if (!json_is_array(json))
        return json_unfit(place, "an array");
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
            return json_unfit(place,
                              "left out: another member of the same oneof is given");
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
        return json_unfit(place, "left out: maps are not supported");
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
        return json_unfit(place, "an object");
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
    struct err e = json_read_numbers(text, length, arena, &json);

    *out = NULL;
    if (failed(e))
        return e;
    e = read_message(&r, json, type, NULL, out);
    json_decref(json);
    if (failed(e))
        *out = NULL;
    return e;
}
