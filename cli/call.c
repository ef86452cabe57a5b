/* call.c - checkoutctl call, list and health: any method of any service. */
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/files.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/rpc.pb-c.h"
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
        const char *path = *word == '@' ? word + 1 : word;
        struct err e = file_read(path, JSON_TEXT_MAX, cli->arena, &read, size);
        *text = read;
        return e;
    }
    *text = word;
    *size = strlen(word);
    return ERR_NONE;
}

/* Where to call: the method's own service, or for Health the one of --service. */
static struct err take_place(const struct cli *cli, struct found_method *method)
{
    const char *name = cli->options[OPT_SERVICE];
    const struct place *named = name != NULL ? place_find(name) : NULL;

    if (name != NULL && named == NULL)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "--service is \"%s\"; it must be orchestrator, inventory or payment", name);
    if (method->place == NULL && named == NULL)
        return err_make(ERR_INVALID_ARGUMENT,
                        "every service has %s; say which with --service orchestrator, "
                        "inventory or payment",
                        method->service->name);
    if (named != NULL)
        method->place = named;
    return ERR_NONE;
}

static struct outcome call(const struct cli *cli, const struct found_method *method)
{
    char name[256];
    const char *text = NULL;
    size_t size = 0;
    ProtobufCMessage *request = NULL;
    const ProtobufCMessage *reply = NULL;

    struct err e = take_json(cli, &text, &size);
    if (!failed(e))
        e = message_from_json(text, size, method->method->input, cli->arena, &request);
    if (failed(e))
        return misused(e);
    snprintf(name, sizeof name, "%s/%s", method->service->name, method->method->name);
    struct outcome end =
        remote_call(cli, method->place, name, request, method->method->output, &reply);
    return end.status != 0 ? end : local(output_message(cli, reply));
}

struct outcome command_call(struct cli *cli)
{
    struct found_method method;
    struct err e = method_find(cli->words[0], &method);

    if (!failed(e))
        e = take_place(cli, &method);
    return failed(e) ? misused(e) : call(cli, &method);
}

/* ---- list ---- */

static void print_method(void *arg, const struct found_method *method)
{
    fprintf(arg, "%s/%s\n", method->service->name, method->method->name);
}

struct outcome command_list(struct cli *cli)
{
    methods_each(print_method, cli->out);
    return done();
}

/* ---- health ---- */

static struct outcome check(const struct cli *cli, const struct place *place,
                            const Rpc__V1__HealthCheckReply **out)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;

    struct outcome end = remote_call(cli, place, "rpc.v1.Health/Check", &request.base,
                                     &rpc__v1__health_check_reply__descriptor, &reply);
    *out = (const Rpc__V1__HealthCheckReply *)reply;
    return end;
}

static void print_health(const struct cli *cli, const struct place *place,
                         const Rpc__V1__HealthCheckReply *reply,
                         const struct outcome *end)
{
    const char *state = "UNREACHABLE", *detail = end->error.message;

    if (end->status == 0) {
        state = reply->status == RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING
                    ? "SERVING"
                    : "NOT_SERVING";
        detail = reply->detail;
    }
    if (cli->options[OPT_JSON] != NULL) {
        json_t *line = json_pack("{s:s, s:s, s:s}", "service", place->name, "status",
                                 state, "detail", detail);
        json_dumpf(line, cli->out, JSON_COMPACT);
        json_decref(line);
    } else {
        fprintf(cli->out, "%-13s %-12s ", place->name, state);
        output_text(cli->out, detail);
    }
    fputc('\n', cli->out);
}

/* All are asked; the exit status is that of the first which is not well. */
struct outcome command_health(struct cli *cli)
{
    struct outcome first = done();

    for (size_t i = 0; i < PLACES_COUNT; i++) {
        const Rpc__V1__HealthCheckReply *reply = NULL;
        struct outcome end = check(cli, &PLACES[i], &reply);
        print_health(cli, &PLACES[i], reply, &end);
        if (end.status == 0 &&
            reply->status != RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING)
            end = local(err_make(ERR_UNAVAILABLE, "%s is not serving", PLACES[i].name));
        if (first.status == 0)
            first = end;
    }
    return first;
}
