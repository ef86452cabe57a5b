/* profiles.c - see profiles.h; and checkoutctl profiles. */
#include "cli/profiles.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/files.h"
#include "cli/output.h"

enum { FILE_MAX = 1 << 16, NAMES_MAX = 200 };

const char *profiles_path(struct arena *arena)
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

/* One that cannot be seen for another reason is not missing: reading it tells why. */
static bool is_missing(const char *path)
{
    return access(path, F_OK) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

/* ---- reading ---------------------------------------------------------------------- */

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

static bool is_set(const struct profile *profile, const char *name)
{
    for (int i = 0; i < profile->count; i++)
        if (strcmp(profile->settings[i].name, name) == 0)
            return true;
    return (strcmp(name, "state") == 0 && profile->state != NULL) ||
           (strcmp(name, "config") == 0 && profile->config != NULL);
}

/* "name = value" into the profile; NULL, or what is wrong with it. */
static const char *sets(char *line, struct profile *profile)
{
    char *equals = strchr(line, '=');

    if (equals == NULL || profile->name == NULL)
        return "is neither [PROFILE] nor `setting = value` of one";
    *equals = '\0';
    const char *name = trim(line), *value = trim(equals + 1);
    if (is_set(profile, name))
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
                return err_make(ERR_INVALID_ARGUMENT, "%.100s:%d %s", path, number,
                                wrong);
        }
    }
    if (profile.name != NULL)
        each(arg, &profile);
    return ERR_NONE;
}

struct err profiles_each(struct arena *arena,
                         void (*each)(void *arg, const struct profile *profile),
                         void *arg)
{
    const char *path = profiles_path(arena);
    char *text = NULL;
    size_t size;

    if (path == NULL)
        return err_memory();
    if (is_missing(path))
        return ERR_NONE;
    struct err e = file_read(path, FILE_MAX, arena, &text, &size);
    return failed(e) ? e : parse(text, path, each, arg);
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

struct err profile_read(const char *name, struct arena *arena, struct profile *out)
{
    struct search search = {.name = name, .out = out};
    struct err e = profiles_each(arena, compare, &search);

    if (failed(e) || search.found == 1)
        return e;
    if (search.found > 1)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "the profile \"%.40s\" is there %d times in %.80s; keep one of them", name,
            search.found, profiles_path(arena));
    return err_make(ERR_INVALID_ARGUMENT,
                    "there is no profile \"%.40s\" in %.80s; %s%.60s", name,
                    profiles_path(arena), search.used > 0 ? "there are: " : "it has none",
                    search.names);
}

/* ---- checkoutctl profiles ----------------------------------------------------- */

static void print_profile(void *arg, const struct profile *p)
{
    const struct cli *cli = arg;
    const char *where = p->state != NULL    ? p->state
                        : p->config != NULL ? p->config
                                            : "addresses of its own";
    bool production = false;

    for (int i = 0; i < p->count; i++)
        if (strcmp(p->settings[i].name, "production") == 0)
            production = strcmp(p->settings[i].value, "true") == 0;
    if (cli->options[OPT_JSON] == NULL) {
        fprintf(cli->out, "%-20s %-40s %s\n", p->name, where,
                production ? "production" : "");
        return;
    }
    json_t *line = json_pack("{s:s, s:s, s:b}", "profile", p->name, "stack", where,
                             "production", production);
    json_dumpf(line, cli->out, JSON_COMPACT);
    json_decref(line);
    fputc('\n', cli->out);
}

struct outcome command_profiles(struct cli *cli)
{
    const char *path = profiles_path(cli->arena);

    if (path != NULL && is_missing(path))
        fprintf(cli->err, "There are no profiles; they would be in %s\n", path);
    return local(profiles_each(cli->arena, print_profile, cli));
}
