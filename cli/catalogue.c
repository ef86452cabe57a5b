/* catalogue.c - see catalogue.h. */
#include "cli/catalogue.h"

#include <string.h>

#include "cli/files.h"
#include "proto/rpc.pb-c.h"
#include "rpc/server/server.h"

enum { SET_MAX = 4 << 20 /* bytes of --protoset */, JSON_TEXT_MAX = 2 * RPC_MESSAGE_MAX };

/* Generated from proto/ (cmake/Checkout.cmake). */
extern const unsigned char rpc_descriptors[];
extern const size_t rpc_descriptors_size;

static struct err read_protoset(struct cli *cli, struct catalogue *out)
{
    char *bytes = NULL;
    size_t size = 0;
    struct err e =
        file_read(cli->options[OPT_PROTOSET], SET_MAX, cli->arena, &bytes, &size);

    return failed(e) ? e : schema_read(bytes, size, cli->arena, &out->schema);
}

/* Asks the server at out->place to describe itself. */
static struct outcome reflect(struct cli *cli, struct catalogue *out)
{
    Rpc__V1__DescribeRequest request = RPC__V1__DESCRIBE_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct outcome end =
        remote_call(cli, out->place, &DESCRIBE_SERVER, &request.base, &message);

    if (end.status != 0 && end.error.code == ERR_UNIMPLEMENTED)
        end.error = err_make(ERR_UNIMPLEMENTED,
                             "this server does not describe itself; give its types with "
                             "--protoset FILE");
    if (end.status != 0)
        return end;
    const Rpc__V1__DescribeReply *reply = (const Rpc__V1__DescribeReply *)message;
    out->served = reply->services;
    out->served_count = reply->n_services;
    return local(schema_read(reply->file_descriptor_set.data,
                             reply->file_descriptor_set.len, cli->arena, &out->schema));
}

struct outcome catalogue_open(struct cli *cli, struct catalogue *out)
{
    *out = (struct catalogue){0};
    struct err e = place_asked(cli, &out->place);

    if (failed(e))
        return misused(e);
    if (cli->options[OPT_PROTOSET] != NULL)
        return misused(read_protoset(cli, out));
    if (cli->options[OPT_URL] == NULL && cli->options[OPT_REFLECT] == NULL)
        return local(
            schema_read(rpc_descriptors, rpc_descriptors_size, cli->arena, &out->schema));
    if (out->place == NULL)
        return misused(
            invalid("--reflect needs to know which server to ask: --service "
                    "orchestrator, inventory, payment, gateway or webhook, or --url"));
    return reflect(cli, out);
}

bool catalogue_serves(const struct catalogue *catalogue, const char *service)
{
    for (size_t i = 0; i < catalogue->served_count; i++)
        if (strcmp(catalogue->served[i], service) == 0)
            return true;
    return catalogue->served == NULL;
}

struct err method_find(const struct catalogue *catalogue, const char *name,
                       struct found_method *out)
{
    struct err e =
        schema_find(catalogue->schema, name, 1U << SYMBOL_METHOD, &out->symbol);

    if (failed(e))
        return e;
    out->method = (struct method){.name = out->symbol->name,
                                  .reply_type = out->symbol->of.method->output};
    out->input = out->symbol->of.method->input;
    out->place = catalogue->place;
    if (!catalogue_serves(catalogue, out->symbol->owner->name))
        return invalid(
            "the server asked does not serve %s; see checkoutctl list with the same "
            "options",
            out->symbol->owner->name);
    if (!schema_may_unpack(catalogue->schema, out->method.reply_type))
        return invalid("%s answers with messages that contain themselves, which "
                       "checkoutctl does not read",
                       out->method.name);
    if (out->place == NULL)
        out->place = place_serving(out->symbol->owner->name);
    return ERR_NONE;
}

struct err method_place(const struct found_method *method)
{
    if (method->place != NULL)
        return ERR_NONE;
    return invalid("which server has %s? Say it with --service orchestrator, inventory, "
                   "payment, gateway or webhook, or with --url",
                   method->symbol->owner->name);
}

bool method_reads(const struct found_method *method)
{
    static const char *const beginnings[] = {"Get", "List", "Check", "Describe", "Read"};

    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(method->symbol->short_name, beginnings[i], strlen(beginnings[i])) ==
            0)
            return true;
    return false;
}

struct outcome request_method(struct cli *cli, struct found_method *out)
{
    struct catalogue catalogue;
    struct outcome end = catalogue_open(cli, &catalogue);

    return end.status != 0 ? end : misused(method_find(&catalogue, cli->words[0], out));
}

struct err request_text(const struct cli *cli, const char **text, size_t *size)
{
    const char *word = cli->word_count > 1 ? cli->words[1] : "{}";
    char *read = NULL;

    if (*word == '@' || strcmp(word, "-") == 0) {
        const char *path = *word == '@' ? word + 1 : word;
        struct err e = file_read(path, JSON_TEXT_MAX, cli->arena, &read, size);
        *text = read;
        return e;
    }
    *text = word;
    *size = strlen(word);
    return ERR_NONE;
}
