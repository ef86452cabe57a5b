/* webhooks_pending.c - checkoutctl webhooks pending and resume. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/webhooks.h"

/* ---- pending ----------------------------------------------------------------------- */

static void print_letter(const struct cli *cli, const char *endpoint, json_t *json)
{
    char time[TIME_SIZE];
    json_int_t attempts = 0, next = 0;
    const char *id = "";

    json_unpack(json, "{s?s, s?I, s?I}", "id", &id, "attempts", &attempts, "next_ms",
                &next);
    fprintf(cli->out, "%-16s ", endpoint);
    output_text(cli->out, id);
    if (attempts == 0)
        fprintf(cli->out, "  waits for an earlier event of its order\n");
    else
        fprintf(cli->out, "  %" JSON_INTEGER_FORMAT " attempts, the next at %s\n", attempts,
                time_text(next, time));
}

static struct err list_pending(void *arg, const char *endpoint, const char *path)
{
    const struct cli *cli = arg;
    json_t *all = NULL;
    struct err e = webhooks_read(path, &all);

    for (size_t i = 0; !failed(e) && i < json_array_size(all); i++) {
        json_t *letter = json_array_get(all, i);
        if (cli->options[OPT_JSON] == NULL) {
            print_letter(cli, endpoint, letter);
            continue;
        }
        json_object_set_new(letter, "endpoint", json_string(endpoint));
        json_dumpf(letter, cli->out, JSON_COMPACT);
        fputc('\n', cli->out);
    }
    json_decref(all);
    return e;
}

struct outcome command_webhooks_pending(struct cli *cli)
{
    const char *folder;
    struct err e = webhooks_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    e = webhooks_each(cli, folder, "pending", list_pending, cli);
    return local(failed(e) ? e : webhooks_tell_gone(cli, folder));
}

/* ---- resume ------------------------------------------------------------------------ */

struct outcome command_webhooks_resume(struct cli *cli)
{
    char path[PATH_SIZE];
    const char *folder, *name = cli->words[0];
    struct err e = webhooks_folder(cli, &folder);

    if (failed(e))
        return misused(e);
    snprintf(path, sizeof path, "%s/%s.gone", folder, name);
    if (unlink(path) != 0)
        return local(errno == ENOENT
                         ? err_make(ERR_NOT_FOUND, "%s has not answered 410.", name)
                         : err_make(ERR_UNAVAILABLE, "%s cannot be removed: %s.", path,
                                    strerror(errno)));
    fprintf(cli->out,
            "%s is sent events again within seconds; what is dead with: checkoutctl "
            "webhooks resend %s\n",
            name, name);
    return done();
}
