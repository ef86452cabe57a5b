/* stack.c - checkoutctl profiles, migrate and database url: a stack and its database. */
#include <string.h>

#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/settings.h"
#include "db/connection/url.h"
#include "db/migrate/migrate.h"

static void print_profile(void *arg, const struct profile *p)
{
    const struct cli *cli = arg;
    const char *where = p->state != NULL    ? p->state
                        : p->config != NULL ? p->config
                                            : "addresses of its own";
    const char *marked = profile_setting(p, "production");
    bool production = marked != NULL && strcmp(marked, "true") == 0;

    if (cli->options[OPT_JSON] == NULL) {
        fprintf(cli->out, "%-20s %-40s %s\n", p->name, where,
                production ? "production" : "");
        return;
    }
    output_line(cli, json_pack("{s:s, s:s, s:b}", "profile", p->name, "stack", where,
                               "production", production));
}

struct outcome command_profiles(struct cli *cli)
{
    return local(profiles_each(cli, print_profile, cli));
}

struct progress {
    const struct cli *cli;
    int applied;
};

/* Printed at once, to show the progress when a later migration fails or takes long. */
static void on_applied(void *arg, const char *file)
{
    struct progress *progress = arg;

    progress->applied++;
    if (progress->cli->options[OPT_JSON] != NULL)
        fprintf(progress->cli->out, "{\"applied\":\"%s\"}\n", file); /* NNNN_what.sql */
    else
        fprintf(progress->cli->out, "applied %s\n", file);
    fflush(progress->cli->out);
}

static struct err need_url(const struct cli *cli)
{
    return cli_need(cli->settings.database_url,
                    "database_url (or CHECKOUT_DATABASE_URL)");
}

struct outcome command_migrate(struct cli *cli)
{
    const char *folder = cli->options[OPT_DIR];
    const char *roles = cli->options[OPT_ROLES];
    struct progress progress = {.cli = cli};
    int64_t wait_s = 60;

    struct err e = cli_option(cli, OPT_LOCK_WAIT, 1, 600, &wait_s);
    if (failed(e))
        return misused(e);
    if (folder == NULL)
        folder = cli->settings.migrations_dir;
    e = cli_need(folder, "migrations_dir (or --dir)");
    if (!failed(e))
        e = need_url(cli);
    if (!failed(e))
        e = migrate(&(struct migrate_config){.url = cli->settings.database_url,
                                             .folder = folder,
                                             .lock_wait_ms = wait_s * 1000,
                                             .applied = on_applied,
                                             .arg = &progress});
    if (!failed(e) && progress.applied == 0 && cli->options[OPT_JSON] == NULL)
        fprintf(cli->out, "up to date\n");
    fflush(cli->out); /* before what may be said of the roles, in a log of both */
    if (!failed(e) && roles != NULL)
        e = migrate_roles(cli->settings.database_url, roles);
    return local(e);
}

struct outcome command_database_url(struct cli *cli)
{
    const char *role = cli->word_count > 0 ? cli->words[0] : NULL, *url = NULL;
    struct err e = need_url(cli);

    if (!failed(e))
        e = url_write(cli->settings.database_url, role, cli->arena, &url);
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        e = output_json(cli, json_pack("{s:s}", "url", url));
    else if (!failed(e))
        fprintf(cli->out, "%s\n", url);
    return local(e);
}
