/* call.c - checkoutctl call: any method of any server. */
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "cli/request.h"
#include "cli/schema/json.h"
#include "cli/template.h"

static struct outcome call(struct cli *cli, const struct found_method *method)
{
    const char *text = NULL;
    size_t size = 0;
    ProtobufCMessage *request = NULL;
    const ProtobufCMessage *reply = NULL;

    struct err e = request_text(cli, &text, &size);
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
    struct outcome end = request_method(cli, &method);

    if (end.status == 0 && cli->options[OPT_TEMPLATE] != NULL)
        return local(output_json(cli, template_of(method.method->input)));
    if (end.status == 0)
        end = misused(method_place(&method));
    return end.status != 0 ? end : call(cli, &method);
}
