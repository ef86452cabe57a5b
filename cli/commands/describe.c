/*
 * describe.c - checkoutctl list and describe: lists services and methods, and shows a
 * symbol as .proto text or as JSON.
 */
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands/commands.h"
#include "cli/output.h"

enum { TYPES_MAX = 128 /* shown by one describe */ };

/* Its name, comment, and types; NULL when memory is short. */
static json_t *json_of_method(const struct symbol *method)
{
    return json_pack("{s:s, s:s, s:s, s:s}", "method", method->name, "request",
                     method->of.method->input->name, "reply",
                     method->of.method->output->name, "comment", method->comment);
}

/* A service's method, in the order of the .proto. */
static const struct symbol *method_symbol(const struct schema *schema,
                                          const ProtobufCServiceDescriptor *service,
                                          unsigned index)
{
    char name[2 * SCHEMA_NAME_MAX];

    snprintf(name, sizeof name, "%s/%s", service->name, service->methods[index].name);
    return schema_get(schema, name);
}

/* The service at a place, for the place's name; any other word unchanged. */
static const char *service_name(const char *word)
{
    const struct place *place = place_find(word);

    return place != NULL ? place->services[0] : word;
}

/* ---- list -------------------------------------------------------------------------- */

/* The first sentence of a comment, at most `most` bytes of it, on one line. */
static void print_first(FILE *out, const char *comment, size_t most)
{
    const char *stop = strstr(comment, ".  "), *line_end = strstr(comment, ".\n");

    if (stop == NULL || (line_end != NULL && line_end < stop))
        stop = line_end;
    size_t length = stop != NULL ? (size_t)(stop - comment) + 1 : strlen(comment);
    bool cut = length > most;
    for (size_t i = 0; i < (cut ? most : length); i++)
        fputc((unsigned char)comment[i] < 0x20 ? ' ' : comment[i], out);
    if (cut)
        fprintf(out, "...");
}

static void print_row(const struct cli *cli, const char *name, const char *comment)
{
    if (*comment == '\0') {
        fprintf(cli->out, "%s\n", name);
        return;
    }
    fprintf(cli->out, "%-44s %s", name, output_style(cli->out, STYLE_DIM));
    print_first(cli->out, comment, 100);
    fprintf(cli->out, "%s\n", output_style(cli->out, STYLE_PLAIN));
}

/* Where a service of the stack is found; "every" for what all servers have. */
static const char *server_of(const struct catalogue *catalogue, const char *service)
{
    const struct place *place =
        catalogue->place != NULL ? catalogue->place : place_serving(service);

    return place != NULL ? place->name : "every";
}

/* The services of the selected server: from the server itself, or else from the
 * contract. */
static bool is_asked_for(const struct catalogue *catalogue, const char *service)
{
    const struct place *home = place_serving(service);

    if (!catalogue_serves(catalogue, service))
        return false;
    return catalogue->served != NULL || catalogue->place == NULL || home == NULL ||
           home == catalogue->place;
}

static struct outcome list_services(struct cli *cli, const struct catalogue *catalogue)
{
    json_t *all = json_array();

    for (size_t i = 0; i < catalogue->schema->count; i++) {
        const struct symbol *s = catalogue->schema->symbols[i];
        if (s->kind != SYMBOL_SERVICE || !is_asked_for(catalogue, s->name))
            continue;
        if (cli->options[OPT_JSON] == NULL)
            print_row(cli, s->name, s->comment);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "service", s->name,
                                             "server", server_of(catalogue, s->name),
                                             "comment", s->comment));
    }
    if (cli->options[OPT_JSON] != NULL)
        return local(output_json(cli, all));
    json_decref(all);
    return done();
}

static struct outcome list_methods(struct cli *cli, const struct catalogue *catalogue)
{
    const struct symbol *service;
    json_t *all = json_array();
    struct err e = schema_find(catalogue->schema, service_name(cli->words[0]),
                               1U << SYMBOL_SERVICE, &service);

    for (unsigned i = 0; !failed(e) && i < service->of.service->n_methods; i++) {
        const struct symbol *m = method_symbol(catalogue->schema, service->of.service, i);
        if (cli->options[OPT_JSON] == NULL)
            print_row(cli, m->name, m->comment);
        json_array_append_new(all, json_of_method(m));
    }
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        return local(output_json(cli, all));
    json_decref(all);
    return misused(e);
}

struct outcome command_list(struct cli *cli)
{
    struct catalogue catalogue;
    struct outcome end = catalogue_open(cli, &catalogue);

    if (end.status != 0)
        return end;
    return cli->word_count == 0 ? list_services(cli, &catalogue)
                                : list_methods(cli, &catalogue);
}

/* ---- describe: .proto text --------------------------------------------------------- */

static void print_comment(FILE *out, const char *indent, const char *comment)
{
    fputs(*comment != '\0' ? output_style(out, STYLE_DIM) : "", out);
    while (*comment != '\0') {
        int line = (int)strcspn(comment, "\n");
        fprintf(out, "%s//%s%.*s\n", indent, line > 0 ? " " : "", line, comment);
        comment += line + (comment[line] == '\n');
    }
    fputs(output_style(out, STYLE_PLAIN), out);
}

/* `left` and, when it has one line, its comment behind it; else before it. */
static void print_part(FILE *out, const char *left, const char *comment)
{
    if (strchr(comment, '\n') != NULL) {
        print_comment(out, "  ", comment);
        comment = "";
    }
    fprintf(out, "  %s", left);
    if (*comment != '\0')
        fprintf(out, "  %s// %s%s", output_style(out, STYLE_DIM), comment,
                output_style(out, STYLE_PLAIN));
    fputc('\n', out);
}

static const char *type_name(const ProtobufCFieldDescriptor *field)
{
    static const char *const names[] = {
        "int32",  "sint32",  "sfixed32", "int64",   "sint64",  "sfixed64",
        "uint32", "fixed32", "uint64",   "fixed64", "float",   "double",
        "bool",   "enum",    "string",   "bytes",   "message",
    };

    if (field->type == PROTOBUF_C_TYPE_MESSAGE)
        return ((const ProtobufCMessageDescriptor *)field->descriptor)->name;
    if (field->type == PROTOBUF_C_TYPE_ENUM)
        return ((const ProtobufCEnumDescriptor *)field->descriptor)->name;
    return names[field->type];
}

static const char *label_of(const ProtobufCFieldDescriptor *field)
{
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0)
        return "oneof";
    return field->label == PROTOBUF_C_LABEL_REPEATED   ? "repeated"
           : field->label == PROTOBUF_C_LABEL_REQUIRED ? "required"
           : field->label == PROTOBUF_C_LABEL_OPTIONAL ? "optional"
                                                       : "";
}

static const struct symbol *part_symbol(const struct schema *schema, const char *owner,
                                        const char *name)
{
    char full[2 * SCHEMA_NAME_MAX];

    snprintf(full, sizeof full, "%s.%s", owner, name);
    return schema_get(schema, full);
}

static void print_message(FILE *out, const struct schema *schema,
                          const struct symbol *message)
{
    const ProtobufCMessageDescriptor *type = message->of.message;
    char left[3 * SCHEMA_NAME_MAX];

    print_comment(out, "", message->comment);
    fprintf(out, "message %s {\n", message->name);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        const char *label = label_of(field);
        snprintf(left, sizeof left, "%s%s%s %s = %u;", label, *label != '\0' ? " " : "",
                 type_name(field), field->name, field->id);
        print_part(out, left, part_symbol(schema, type->name, field->name)->comment);
    }
    fprintf(out, "}\n");
}

static void print_enum(FILE *out, const struct schema *schema,
                       const struct symbol *enumeration)
{
    const ProtobufCEnumDescriptor *type = enumeration->of.enumeration;
    char left[2 * SCHEMA_NAME_MAX];

    print_comment(out, "", enumeration->comment);
    fprintf(out, "enum %s {\n", enumeration->name);
    for (unsigned i = 0; i < type->n_values; i++) {
        snprintf(left, sizeof left, "%s = %d;", type->values[i].name,
                 type->values[i].value);
        print_part(out, left,
                   part_symbol(schema, type->name, type->values[i].name)->comment);
    }
    fprintf(out, "}\n");
}

static void print_rpc(FILE *out, const char *indent, const struct symbol *method)
{
    print_comment(out, indent, method->comment);
    fprintf(out, "%srpc %s(%s) returns (%s);\n", indent, method->short_name,
            method->of.method->input->name, method->of.method->output->name);
}

static void print_service(FILE *out, const struct schema *schema,
                          const struct symbol *service)
{
    print_comment(out, "", service->comment);
    fprintf(out, "service %s {\n", service->name);
    for (unsigned i = 0; i < service->of.service->n_methods; i++)
        print_rpc(out, "  ", method_symbol(schema, service->of.service, i));
    fprintf(out, "}\n\nOne of them: checkoutctl describe %s/%s\n", service->name,
            service->of.service->n_methods > 0 ? service->of.service->methods[0].name
                                               : "METHOD");
}

/* The types to show, each once; fields of a type add their types to the list. */
struct types {
    const void *list[TYPES_MAX];
    bool is_enum[TYPES_MAX];
    size_t count;
};

static void add_type(struct types *types, const void *type, bool is_enum)
{
    for (size_t i = 0; i < types->count; i++)
        if (types->list[i] == type)
            return;
    if (types->count == TYPES_MAX)
        return;
    types->list[types->count] = type;
    types->is_enum[types->count++] = is_enum;
}

static void add_types_of(struct types *types, const ProtobufCMessageDescriptor *message)
{
    for (unsigned i = 0; i < message->n_fields; i++)
        if (message->fields[i].descriptor != NULL)
            add_type(types, message->fields[i].descriptor,
                     message->fields[i].type == PROTOBUF_C_TYPE_ENUM);
}

/* A message and all it is made of, a blank line before each but the first. */
static void print_whole(FILE *out, const struct schema *schema, struct types *types,
                        const ProtobufCMessageDescriptor *type)
{
    size_t from = types->count;

    add_type(types, type, false);
    for (size_t i = from; i < types->count; i++) {
        if (i > 0)
            fputc('\n', out);
        if (types->is_enum[i]) {
            const ProtobufCEnumDescriptor *of = types->list[i];
            print_enum(out, schema, schema_get(schema, of->name));
        } else {
            const ProtobufCMessageDescriptor *of = types->list[i];
            print_message(out, schema, schema_get(schema, of->name));
            add_types_of(types, of);
        }
    }
}

static void print_method(FILE *out, const struct schema *schema,
                         const struct symbol *method)
{
    struct types types = {.count = 0};

    print_rpc(out, "", method);
    fputc('\n', out);
    print_whole(out, schema, &types, method->of.method->input);
    print_whole(out, schema, &types, method->of.method->output);
    fprintf(out,
            "\nAn example request: checkoutctl call %s --template\n"
            "To call it:         checkoutctl call %s '{...}'\n",
            method->name, method->name);
}

/* ---- describe: JSON ---------------------------------------------------------------- */

static json_t *json_of_fields(const struct schema *schema,
                              const ProtobufCMessageDescriptor *type)
{
    json_t *fields = json_array();

    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        json_array_append_new(
            fields,
            json_pack("{s:s, s:i, s:s, s:s, s:s}", "name", field->name, "number",
                      (int)field->id, "type", type_name(field), "label", label_of(field),
                      "comment", part_symbol(schema, type->name, field->name)->comment));
    }
    return fields;
}

static json_t *json_of_values(const struct schema *schema,
                              const ProtobufCEnumDescriptor *type)
{
    json_t *values = json_array();

    for (unsigned i = 0; i < type->n_values; i++)
        json_array_append_new(
            values,
            json_pack("{s:s, s:i, s:s}", "name", type->values[i].name, "number",
                      type->values[i].value, "comment",
                      part_symbol(schema, type->name, type->values[i].name)->comment));
    return values;
}

static json_t *json_of_symbol(const struct schema *schema, const struct symbol *symbol)
{
    json_t *json = json_pack("{s:s, s:s, s:s}", "kind", symbol_kind_name(symbol->kind),
                             "name", symbol->name, "comment", symbol->comment);

    if (symbol->kind == SYMBOL_SERVICE) {
        json_t *methods = json_array();
        for (unsigned i = 0; i < symbol->of.service->n_methods; i++)
            json_array_append_new(
                methods, json_of_method(method_symbol(schema, symbol->of.service, i)));
        json_object_set_new(json, "methods", methods);
    } else if (symbol->kind == SYMBOL_METHOD) {
        json_object_update_new(json, json_of_method(symbol));
        json_object_set_new(json, "request_fields",
                            json_of_fields(schema, symbol->of.method->input));
        json_object_set_new(json, "reply_fields",
                            json_of_fields(schema, symbol->of.method->output));
    } else if (symbol->kind == SYMBOL_MESSAGE) {
        json_object_set_new(json, "fields", json_of_fields(schema, symbol->of.message));
    } else if (symbol->kind == SYMBOL_ENUM) {
        json_object_set_new(json, "values",
                            json_of_values(schema, symbol->of.enumeration));
    }
    return json;
}

/* ---- the command ------------------------------------------------------------------- */

static void print_symbol(FILE *out, const struct schema *schema,
                         const struct symbol *symbol)
{
    struct types types = {.count = 0};

    switch (symbol->kind) {
    case SYMBOL_SERVICE:
        print_service(out, schema, symbol);
        return;
    case SYMBOL_METHOD:
        print_method(out, schema, symbol);
        return;
    case SYMBOL_MESSAGE:
        print_whole(out, schema, &types, symbol->of.message);
        return;
    case SYMBOL_ENUM:
        print_enum(out, schema, symbol);
        return;
    case SYMBOL_FIELD:
    case SYMBOL_VALUE:
        /* Within their type: that is where they mean something. */
        print_symbol(out, schema, symbol->owner);
        return;
    }
}

struct outcome command_describe(struct cli *cli)
{
    struct catalogue catalogue;
    const struct symbol *symbol = NULL;
    struct outcome end = catalogue_open(cli, &catalogue);

    if (end.status == 0)
        end = misused(
            schema_find(catalogue.schema, service_name(cli->words[0]), ~0U, &symbol));
    if (end.status != 0)
        return end;
    if (cli->options[OPT_JSON] != NULL)
        return local(output_json(cli, json_of_symbol(catalogue.schema, symbol)));
    print_symbol(cli->out, catalogue.schema, symbol);
    return done();
}
