/* settings.c - see settings.h. */
#include "cli/settings.h"

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"

#define TEXT(field, type, help)                                                          \
    {                                                                                    \
#field, type, offsetof(struct settings, field), "", 0, 0, help                   \
    }

static const struct conf_row ROWS[] = {
    TEXT(key_file, CONF_TEXT, "our own key, for RPC"),
    TEXT(services_file, CONF_TEXT, "known_services: the services' public keys"),
    TEXT(orchestrator_addresses, CONF_TEXT, "nng URLs, separated by commas"),
    TEXT(inventory_addresses, CONF_TEXT, "nng URLs, separated by commas"),
    TEXT(payment_addresses, CONF_TEXT, "nng URLs, separated by commas"),
    TEXT(database_url, CONF_SECRET, "libpq URL of the database's owner, for migrate"),
    TEXT(migrations_dir, CONF_TEXT, "folder of NNNN_what.sql"),
    TEXT(jwt_key_file, CONF_TEXT, "the development issuer's private JWK, for token"),
    TEXT(jwt_issuer, CONF_TEXT, "iss of tokens"),
    TEXT(jwt_audience, CONF_TEXT, "aud of tokens"),
    {"production", CONF_FLAG, offsetof(struct settings, production), "false", 0, 0,
     "true: ask before changing commands"},
};

static const struct conf_table TABLE = {
    .program = "checkoutctl",
    .summary = "the operator's client",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

/* Where ./up keeps its state when it is not told. */
static void default_state(char out[PATH_MAX])
{
    const char *xdg = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (geteuid() == 0)
        snprintf(out, PATH_MAX, "/var/lib/checkout");
    else if (xdg != NULL && *xdg != '\0')
        snprintf(out, PATH_MAX, "%s/checkout", xdg);
    else
        snprintf(out, PATH_MAX, "%s/.local/state/checkout", home != NULL ? home : "");
}

static struct err find_file(const struct cli *cli, char out[PATH_MAX])
{
    char state[PATH_MAX];
    const char *named = cli->options[OPT_STATE];

    if (cli->options[OPT_CONFIG] != NULL) {
        snprintf(out, PATH_MAX, "%s", cli->options[OPT_CONFIG]);
        return ERR_NONE;
    }
    if (named == NULL)
        named = getenv("CHECKOUT_STATE");
    if (named != NULL && *named == '\0')
        named = NULL;
    if (named == NULL)
        default_state(state);
    else
        snprintf(state, sizeof state, "%s", named);
    if (snprintf(out, PATH_MAX, "%s/conf/checkoutctl.conf", state) >= PATH_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "the state folder's path is too long");
    if (access(out, R_OK) == 0)
        return ERR_NONE;
    if (named != NULL)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "there is no stack in %s (no readable conf/checkoutctl.conf); make one "
            "with: ./up --state %s",
            named, named);
    *out = '\0'; /* none: what needs a setting will say so */
    return ERR_NONE;
}

struct err settings_read(struct cli *cli)
{
    char file[PATH_MAX], name[] = "checkoutctl", option[] = "--config";
    char *argv[] = {name, option, file, NULL};
    const char *url = getenv("CHECKOUT_DATABASE_URL");

    struct err e = find_file(cli, file);
    if (!failed(e))
        e = conf_read(&TABLE, *file == '\0' ? 1 : 3, argv, &cli->settings);
    if (!failed(e) && url != NULL && *url != '\0') {
        free(cli->settings.database_url);
        cli->settings.database_url = strdup(url);
        if (cli->settings.database_url == NULL)
            e = err_memory();
    }
    return e;
}

void settings_free(struct cli *cli)
{
    conf_free(&TABLE, &cli->settings);
}
