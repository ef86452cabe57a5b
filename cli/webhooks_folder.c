/* webhooks_folder.c - see webhooks.h. */
#include <errno.h>
#include <glob.h>
#include <string.h>

#include "base/contract/ids.h"
#include "cli/output.h"
#include "cli/webhooks.h"

struct err webhooks_folder(const struct cli *cli, const char **out)
{
    const char *dir = cli->options[OPT_DIR];

    *out = dir != NULL ? dir : cli->settings.webhook_dir;
    struct err e = cli_need(*out, "webhook_dir");
    if (!failed(e) && cli->word_count > 0 && !name_valid(cli->words[0]))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "\"%s\" is no endpoint's name: letters, digits, - and _.",
                     cli->words[0]);
    return e;
}

static int stop_at_error(const char *path, int error)
{
    (void)path;
    return error != ENOENT; /* a folder that is not there holds nothing */
}

struct err webhooks_each(const struct cli *cli, const char *folder, const char *suffix,
                         struct err (*each)(void *arg, const char *endpoint,
                                            const char *path),
                         void *arg)
{
    glob_t found;
    struct err e = ERR_NONE;
    const char *pattern = arena_printf(cli->arena, "%s/%s.%s", folder,
                                       cli->word_count > 0 ? cli->words[0] : "*", suffix);

    if (pattern == NULL)
        return err_memory();
    int status = glob(pattern, 0, stop_at_error, &found);
    if (status == GLOB_NOMATCH)
        return e;
    if (status != 0)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be read.", pattern);
    for (size_t i = 0; i < found.gl_pathc && !failed(e); i++) {
        const char *name = strrchr(found.gl_pathv[i], '/') + 1;
        const char *endpoint = arena_printf(
            cli->arena, "%.*s", (int)(strlen(name) - strlen(suffix) - 1), name);
        e = endpoint == NULL ? err_memory() : each(arg, endpoint, found.gl_pathv[i]);
    }
    globfree(&found);
    return e;
}

struct err webhooks_read(const char *path, json_t **out)
{
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "%s cannot be read: %s.", path,
                        strerror(errno));
    struct err e = json_parse_file(file, out);
    fclose(file);
    return e;
}

/* ---- gone -------------------------------------------------------------------------- */

static struct err tell_gone(void *arg, const char *endpoint, const char *path)
{
    const struct cli *cli = arg;
    char time[TIME_SIZE];
    json_t *json = NULL;
    struct err e = webhooks_read(path, &json);
    json_int_t at_ms = json_integer_value(json_object_get(json, "at_ms"));

    if (!failed(e) && cli->options[OPT_JSON] == NULL)
        fprintf(cli->out,
                "%-16s answered 410 (Gone) %s and is sent nothing; checkoutctl webhooks "
                "resume %s\n",
                endpoint, time_text(at_ms, time), endpoint);
    else if (!failed(e))
        fprintf(cli->out, "{\"endpoint\":\"%s\",\"gone_at_ms\":%lld}\n", endpoint,
                (long long)at_ms);
    json_decref(json);
    return e;
}

struct err webhooks_tell_gone(struct cli *cli, const char *folder)
{
    return webhooks_each(cli, folder, "gone", tell_gone, cli);
}
