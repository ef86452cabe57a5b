/* settings.c - see settings.h. */
#include "cli/settings.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/files.h"

/* ---- profiles ---------------------------------------------------------------------- */

enum { FILE_MAX = 1 << 16, NAMES_MAX = 200 };

static const char *profiles_path(struct arena *arena)
{
    const char *named = getenv("CHECKOUT_PROFILES"), *home = getenv("HOME");
    const char *xdg = getenv("XDG_CONFIG_HOME");

    if (named != NULL && *named != '\0')
        return named;
    if (xdg != NULL && *xdg != '\0')
        return arena_printf(arena, "%s/checkout/profiles.conf", xdg);
    return arena_printf(arena, "%s/.config/checkout/profiles.conf",
                        home != NULL ? home : "");
}

/* A file that is inaccessible for another reason is not missing: reading it reports
 * that. */
static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* Blanks off both ends, in place. */
static char *trim(char *text)
{
    static const char blanks[] = " \t\r";

    text += strspn(text, blanks);
    size_t length = strlen(text);
    while (length > 0 && strchr(blanks, text[length - 1]) != NULL)
        length--;
    text[length] = '\0';
    return text;
}

/* "[shop]" begins a profile; false when the line is none of that. */
static bool begins(char *line, struct profile *profile)
{
    size_t length = strlen(line);

    if (length < 3 || line[0] != '[' || line[length - 1] != ']')
        return false;
    line[length - 1] = '\0';
    *profile = (struct profile){.name = trim(line + 1)};
    return true;
}

const char *profile_setting(const struct profile *profile, const char *name)
{
    if (strcmp(name, "state") == 0)
        return profile->state;
    if (strcmp(name, "config") == 0)
        return profile->config;
    for (int i = 0; i < profile->count; i++)
        if (strcmp(profile->settings[i].name, name) == 0)
            return profile->settings[i].value;
    return NULL;
}

/* "name = value" into the profile; NULL, or what is wrong with it. */
static const char *sets(char *line, struct profile *profile)
{
    char *equals = strchr(line, '=');

    if (equals == NULL || profile->name == NULL)
        return "is neither [PROFILE] nor `setting = value` of one";
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    if (profile_setting(profile, name) != NULL)
        return "sets what the profile has set already; keep one of them";
    if (strcmp(name, "state") == 0)
        profile->state = value;
    else if (strcmp(name, "config") == 0)
        profile->config = value;
    else if (profile->count == PROFILE_SETTINGS_MAX)
        return "is one setting more than a profile may have";
    else {
        profile->settings[profile->count].name = name;
        profile->settings[profile->count++].value = value;
    }
    return NULL;
}

static struct err parse(char *text, const char *path,
                        void (*each)(void *arg, const struct profile *), void *arg)
{
    struct profile profile = {.name = NULL};
    char *line;

    for (int number = 1; (line = strsep(&text, "\n")) != NULL; number++) {
        line[strcspn(line, "#")] = '\0';
        line = trim(line);
        struct profile before = profile;
        if (*line == '\0')
            continue;
        if (*line == '[' && begins(line, &profile)) {
            if (before.name != NULL)
                each(arg, &before);
        } else {
            const char *wrong = sets(line, &profile);
            if (wrong != NULL)
                return invalid("%.100s:%d %s", path, number, wrong);
        }
    }
    if (profile.name != NULL)
        each(arg, &profile);
    return ERR_NONE;
}

static struct err each_of_file(struct arena *arena, const char *path,
                               void (*each)(void *arg, const struct profile *profile),
                               void *arg)
{
    char *text = NULL;
    size_t size;

    if (path == NULL)
        return err_memory();
    if (is_missing(path))
        return ERR_NONE;
    struct err e = file_read(path, FILE_MAX, arena, &text, &size);
    return failed(e) ? e : parse(text, path, each, arg);
}

struct err profiles_each(struct cli *cli,
                         void (*each)(void *arg, const struct profile *profile),
                         void *arg)
{
    const char *path = profiles_path(cli->arena);

    if (path != NULL && is_missing(path))
        fprintf(cli->err, "There are no profiles; they would be in %s\n", path);
    return each_of_file(cli->arena, path, each, arg);
}

struct search {
    const char *name;
    struct profile *out;
    int found;
    char names[NAMES_MAX]; /* of all that there are, for the sentence */
    size_t used;
};

static void compare(void *arg, const struct profile *profile)
{
    struct search *search = arg;
    int n = snprintf(search->names + search->used, NAMES_MAX - search->used, "%s%.40s",
                     search->used > 0 ? ", " : "", profile->name);

    if (n > 0 && search->used + (size_t)n < NAMES_MAX)
        search->used += (size_t)n;
    if (strcmp(profile->name, search->name) == 0) {
        *search->out = *profile;
        search->found++;
    }
}

static struct err profile_read(const char *name, struct arena *arena, struct profile *out)
{
    const char *path = profiles_path(arena);
    struct search search = {.name = name, .out = out};
    struct err e = each_of_file(arena, path, compare, &search);

    if (failed(e) || search.found == 1)
        return e;
    if (search.found > 1)
        return invalid(
            "the profile \"%.40s\" is there %d times in %.80s; keep one of them", name,
            search.found, path);
    return invalid("there is no profile \"%.40s\" in %.80s; %s%.60s", name, path,
                   search.used > 0 ? "there are: " : "it has none", search.names);
}

/* ---- the settings ------------------------------------------------------------------ */

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
    TEXT(gateway_addresses, CONF_TEXT, "nng URLs, separated by commas"),
    TEXT(webhook_addresses, CONF_TEXT,
         "nng URLs of the webhook sender; empty: there is none"),
    TEXT(database_url, CONF_SECRET, "libpq URL of the database's owner, for migrate"),
    TEXT(migrations_dir, CONF_TEXT, "folder of NNNN_what.sql"),
    TEXT(webhook_dir, CONF_TEXT, "the webhook sender's state_dir"),
    TEXT(jwt_key_file, CONF_TEXT, "the development issuer's private JWK, for token"),
    TEXT(jwt_issuer, CONF_TEXT, "iss of tokens"),
    TEXT(jwt_audience, CONF_TEXT, "aud of tokens"),
    TEXT(tls_cert, CONF_TEXT, "for tls+tcp: our certificate, a PEM file"),
    TEXT(tls_key, CONF_TEXT, "for tls+tcp: its key, a PEM file of mode 0600"),
    TEXT(tls_ca, CONF_TEXT, "for tls+tcp: who may have signed the servers', PEM"),
    {"production", CONF_FLAG, offsetof(struct settings, production), "false", 0, 0,
     "true: ask before changing commands"},
};

const struct conf_table CLI_SETTINGS = {
    .program = "checkoutctl",
    .summary = "the operator's client",
    .rows = ROWS,
    .count = sizeof ROWS / sizeof *ROWS,
};

/* The default state folder of ./up. */
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

/* conf/checkoutctl.conf of a state folder. */
static struct err file_of_state(struct cli *cli, const char *state, char out[PATH_MAX])
{
    snprintf(cli->stack, sizeof cli->stack, "%s", state);
    if (snprintf(out, PATH_MAX, "%s/conf/checkoutctl.conf", state) >= PATH_MAX)
        return invalid("the state folder's path is too long");
    if (access(out, F_OK) == 0 || (errno != ENOENT && errno != ENOTDIR))
        return ERR_NONE; /* the reader reports why it cannot be read */
    return err_make(
        ERR_NOT_FOUND,
        "there is no stack in %.60s (no conf/checkoutctl.conf); make one with: ./up "
        "--state %.60s",
        state, state);
}

static struct err file_of_profile(struct cli *cli, const char *name,
                                  struct profile *profile, char out[PATH_MAX])
{
    struct err e = profile_read(name, cli->arena, profile);

    *out = '\0'; /* the profile may have all settings */
    if (!failed(e) && profile->state != NULL)
        e = file_of_state(cli, profile->state, out);
    else if (!failed(e) && profile->config != NULL)
        snprintf(out, PATH_MAX, "%s", profile->config);
    snprintf(cli->stack, sizeof cli->stack, "profile %s", name);
    return e;
}

/* What is set in the environment and not empty. */
static const char *environment(const char *name)
{
    const char *value = getenv(name);

    return value != NULL && *value != '\0' ? value : NULL;
}

/* An option overrides the environment, which overrides the default. */
static struct err find_file(struct cli *cli, struct profile *profile, char out[PATH_MAX])
{
    const char *config = cli->options[OPT_CONFIG], *state = cli->options[OPT_STATE];
    const char *name = cli->options[OPT_PROFILE];

    if (config != NULL) {
        snprintf(out, PATH_MAX, "%s", config);
        snprintf(cli->stack, sizeof cli->stack, "the stack of %s", config);
        return ERR_NONE;
    }
    if (state == NULL && name == NULL)
        name = environment("CHECKOUT_PROFILE");
    if (state == NULL && name != NULL)
        return file_of_profile(cli, name, profile, out);
    if (state == NULL)
        state = environment("CHECKOUT_STATE");
    if (state != NULL)
        return file_of_state(cli, state, out);
    char usual[PATH_MAX];
    default_state(usual);
    struct err e = file_of_state(cli, usual, out);
    if (e.code != ERR_NOT_FOUND)
        return e;
    *out = '\0'; /* none: commands that need a setting report it */
    return ERR_NONE;
}

/* A profile's settings as options (--key-file for key_file), which override the
 * file's. */
static struct err add_options(struct cli *cli, const struct profile *profile, char **argv,
                              int *argc)
{
    for (int i = 0; i < profile->count; i++) {
        if (strcmp(profile->settings[i].name, "database_url") == 0)
            continue; /* a secret is no option */
        char *name = arena_printf(cli->arena, "--%s", profile->settings[i].name);
        char *value = arena_strdup(cli->arena, profile->settings[i].value);
        if (name == NULL || value == NULL)
            return err_memory();
        for (char *c = name; *c != '\0'; c++)
            *c = (char)(*c == '_' ? '-' : *c);
        argv[(*argc)++] = name;
        argv[(*argc)++] = value;
    }
    return ERR_NONE;
}

struct err settings_read(struct cli *cli)
{
    char file[PATH_MAX], name[] = "checkoutctl", option[] = "--config";
    char *argv[4 + 2 * PROFILE_SETTINGS_MAX] = {name};
    struct profile profile = {.count = 0};
    int argc = 1;

    struct err e = find_file(cli, &profile, file);
    if (!failed(e) && *file != '\0') {
        argv[argc++] = option;
        argv[argc++] = file;
    }
    if (!failed(e))
        e = add_options(cli, &profile, argv, &argc);
    if (!failed(e))
        e = conf_read(&CLI_SETTINGS, argc, argv, &cli->settings);
    const char *url = environment("CHECKOUT_DATABASE_URL");
    if (url == NULL)
        url = profile_setting(&profile, "database_url");
    if (!failed(e) && url != NULL) {
        free(cli->settings.database_url);
        cli->settings.database_url = strdup(url);
        if (cli->settings.database_url == NULL)
            e = err_memory();
    }
    return e;
}

void settings_free(struct cli *cli)
{
    conf_free(&CLI_SETTINGS, &cli->settings);
}
