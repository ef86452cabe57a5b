/* call.c - checkoutctl call: any method of any server. */
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/template.h"
#include "rpc/json.h"
#include "rpc/server.h"

enum { JSON_TEXT_MAX = 2 * RPC_MESSAGE_MAX };

/* ---- call ---- */

/* The request's JSON: the argument itself, @FILE, or - for standard input. */
static struct err take_json(const struct cli *cli, const char **text, size_t *size)
{
    const char *word = cli->word_count > 1 ? cli->words[1] : "{}";
    char *read = NULL;

    if (*word == '@' || strcmp(word, "-") == 0) {
        const char *path = *word == '@' ? word + 1 : word; /* @- is - */
        struct err e = file_read(path, JSON_TEXT_MAX, cli->arena, &read, size);
        *text = read;
        return e;
    }
    *text = word;
    *size = strlen(word);
    return ERR_NONE;
}

/* The method of the first word, and what of its types --template needs. */
static struct outcome find(struct cli *cli, struct found_method *method)
{
    struct catalogue catalogue;
    struct outcome end = catalogue_open(cli, &catalogue);

    return end.status != 0 ? end
                           : misused(method_find(&catalogue, cli->words[0], method));
}

static struct outcome call(struct cli *cli, const struct found_method *method)
{
    const char *text = NULL;
    size_t size = 0;
    ProtobufCMessage *request = NULL;
    const ProtobufCMessage *reply = NULL;

    struct err e = take_json(cli, &text, &size);
    if (!failed(e))
        e = message_from_json(text, size, method->method->input, cli->arena, &request);
    if (failed(e))
        return misused(e);
    struct outcome end = method_reads(method) ? done() : cli_confirm(cli, method->name);
    if (end.status == 0)
        end = remote_call(cli, method->place, method->name, request,
                          method->method->output, &reply);
    return end.status != 0 ? end : local(output_message(cli, reply));
}

struct outcome command_call(struct cli *cli)
{
    struct found_method method;
    struct outcome end = find(cli, &method);

    if (end.status == 0 && cli->options[OPT_TEMPLATE] != NULL)
        return local(output_json(cli, template_of(method.method->input)));
    if (end.status == 0)
        end = misused(method_place(&method));
    return end.status != 0 ? end : call(cli, &method);
}
