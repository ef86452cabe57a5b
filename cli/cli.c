/* cli.c - see cli.h. */
#include "cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/settings.h"

#define VERSION "0.1.0"

enum { ARENA_MAX = 32 << 20 }; /* bytes: a request, its JSON, and a reply */

static const struct {
    const char *name;
    const char *value; /* what --help calls it; NULL for a flag */
    const char *help;
} OPTIONS[OPT_COUNT] = {
    [OPT_STATE] = {"state", "DIR", "the stack's state folder (or CHECKOUT_STATE)"},
    [OPT_CONFIG] = {"config", "FILE", "settings, instead of DIR/conf/checkoutctl.conf"},
    [OPT_JSON] = {"json", NULL, "JSON on one line, also on a terminal"},
    [OPT_MAX_TIME] = {"max-time", "SECONDS", "how long a call may take [10]"},
    [OPT_HELP] = {"help", NULL, "this text; also after each command"},
    [OPT_VERSION] = {"version", NULL, "the version"},
    [OPT_DIR] = {"dir", "DIR", "folder of the migrations [migrations_dir]"},
    [OPT_ROLES] = {"roles", "FILE",
                   "afterwards set the passwords of `role = password` lines"},
    [OPT_LOCK_WAIT] = {"lock-wait", "SECONDS",
                       "how long to wait for another migrator [60]"},
    [OPT_USER] = {"user", "UUID", "the subject"},
    [OPT_TTL] = {"ttl", "SECONDS", "how long it is good for [3600]"},
    [OPT_ISSUER] = {"issuer", "TEXT", "iss, instead of jwt_issuer"},
    [OPT_AUDIENCE] = {"audience", "TEXT", "aud, instead of jwt_audience"},
    [OPT_OUT] = {"out", "FILE", "the private key's file, made with mode 0600"},
    [OPT_JWKS] = {"jwks", "FILE", "the public part, as a JWK set"},
    [OPT_SERVICE] = {"service", "NAME", "orchestrator, inventory or payment"},
    [OPT_DEFAULTS] = {"defaults", NULL, "also print fields that are zero or empty"},
    [OPT_REASON] = {"reason", "TEXT", "why, for the ledger"},
    [OPT_ID] = {"id", "ID", "names the adjustment: the same one is booked once"},
    [OPT_TITLE] = {"title", "TEXT", "what shoppers read"},
    [OPT_PRICE] = {"price", "CENTS", "in minor units"},
    [OPT_CURRENCY] = {"currency", "CODE", "ISO 4217, three capitals"},
    [OPT_GRACE] = {"grace", "MS", "how long a suspect is left alone [5000]"},
    [OPT_LIMIT] = {"limit", "N", "how many at most [100]"},
    [OPT_AFTER] = {"after", "ID", "begin after this one"},
    [OPT_UNFINISHED] = {"unfinished", NULL, "only those running or aborting"},
    [OPT_CURSOR] = {"cursor", "NAME", "begin after this cursor of the operator's"},
    [OPT_WAIT] = {"wait", "MS", "how long to wait for an event when there is none [0]"},
    [OPT_FROM] = {"from", "POSITION", "the first to be published again"},
};

static const uint64_t GLOBAL =
    OPT(STATE) | OPT(CONFIG) | OPT(JSON) | OPT(MAX_TIME) | OPT(HELP) | OPT(VERSION);

/* ---- help ---- */

static void help_options(FILE *out, uint64_t which)
{
    char left[64];

    for (int o = 0; o < OPT_COUNT; o++) {
        if ((which >> o & 1) == 0)
            continue;
        snprintf(left, sizeof left, "--%s %s", OPTIONS[o].name,
                 OPTIONS[o].value != NULL ? OPTIONS[o].value : "");
        fprintf(out, "  %-22s %s\n", left, OPTIONS[o].help);
    }
}

static void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "%s\n\nusage: checkoutctl %s", command->help, command->path);
    if (*command->args != '\0')
        fprintf(out, " %s", command->args);
    for (int o = 0; o < OPT_COUNT; o++) {
        if ((command->options >> o & 1) == 0)
            continue;
        bool needed = (command->required >> o & 1) != 0;
        fprintf(out, " %s--%s%s%s%s", needed ? "" : "[", OPTIONS[o].name,
                OPTIONS[o].value != NULL ? " " : "",
                OPTIONS[o].value != NULL ? OPTIONS[o].value : "", needed ? "" : "]");
    }
    fprintf(out, "\n\n");
    help_options(out, command->options | GLOBAL);
}

/* All commands, or those of a group such as "key". */
static void help_group(FILE *out, const char *group, size_t length)
{
    char left[80];

    if (length == 0)
        fprintf(out,
                "checkoutctl " VERSION " - look into a checkout stack, and drive it\n\n");
    fprintf(out, "usage: checkoutctl %.*s%sCOMMAND [WORDS] [OPTIONS]\n\n", (int)length,
            group, length > 0 ? " " : "");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strncmp(COMMANDS[i].path, group, length) != 0)
            continue;
        snprintf(left, sizeof left, "%s %s", COMMANDS[i].path, COMMANDS[i].args);
        fprintf(out, "  %-38s %s\n", left, COMMANDS[i].help);
    }
    fprintf(out, "\n");
    help_options(out, GLOBAL);
    fprintf(out,
            "\nExit status: 0 done, 2 wrong usage, 64 + gRPC status when a call failed, "
            "1 other failures.\n");
}

/* ---- arguments ---- */

static int find_option(const char *name, size_t length)
{
    for (int o = 0; o < OPT_COUNT; o++)
        if (strlen(OPTIONS[o].name) == length &&
            strncmp(OPTIONS[o].name, name, length) == 0)
            return o;
    return -1;
}

/* Takes `--name VALUE` or `--name=VALUE` at argv[*i]; moves *i past what it used. */
static struct err take_option(struct cli *cli, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    size_t length = strcspn(name, "=");
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    int option = find_option(name, length);

    if (option < 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "there is no option --%.*s; see checkoutctl --help", (int)length,
                        name);
    if (OPTIONS[option].value == NULL && value != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s takes no value",
                        OPTIONS[option].name);
    if (OPTIONS[option].value != NULL && value == NULL && ++*i < argc)
        value = argv[*i];
    if (OPTIONS[option].value != NULL && value == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s needs a value: --%s %s",
                        OPTIONS[option].name, OPTIONS[option].name,
                        OPTIONS[option].value);
    if (cli->options[option] != NULL && value != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s is given twice",
                        OPTIONS[option].name);
    cli->options[option] = value != NULL ? value : "";
    return ERR_NONE;
}

/* "-5" and "-" are words: a stock change and standard input. */
static bool is_short_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && (text[1] < '0' || text[1] > '9');
}

static struct err take_arguments(struct cli *cli, int argc, char **argv)
{
    bool options = true;
    struct err e = ERR_NONE;

    for (int i = 1; !failed(e) && i < argc; i++) {
        if (options && strcmp(argv[i], "--") == 0)
            options = false;
        else if (options && strcmp(argv[i], "-h") == 0)
            cli->options[OPT_HELP] = "";
        else if (options && strncmp(argv[i], "--", 2) == 0)
            e = take_option(cli, argc, argv, &i);
        else if (options && is_short_option(argv[i]))
            e = err_make(ERR_INVALID_ARGUMENT,
                         "there is no option %s; see checkoutctl --help", argv[i]);
        else if (cli->word_count == CLI_WORDS_MAX)
            e = err_make(ERR_INVALID_ARGUMENT, "too many words, from \"%s\" on", argv[i]);
        else
            cli->words[cli->word_count++] = argv[i];
    }
    return e;
}

/* How many of the words make the command's path; 0 when they do not. */
static int match(const struct command *command, const struct cli *cli)
{
    const char *path = command->path;

    for (int used = 0; used < cli->word_count; used++) {
        size_t length = strcspn(path, " ");
        if (strlen(cli->words[used]) != length ||
            strncmp(cli->words[used], path, length) != 0)
            return 0;
        path += length;
        if (*path == '\0')
            return used + 1;
        path++;
    }
    return 0;
}

/* Takes the command's own words off the front; NULL when there is no such command. */
static const struct command *take_command(struct cli *cli)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        int used = match(&COMMANDS[i], cli);
        if (used == 0)
            continue;
        cli->word_count -= used;
        memmove(cli->words, cli->words + used,
                (size_t)cli->word_count * sizeof *cli->words);
        return &COMMANDS[i];
    }
    return NULL;
}

static bool is_group(const char *word)
{
    size_t length = strlen(word);

    for (size_t i = 0; i < COMMANDS_COUNT; i++)
        if (strncmp(COMMANDS[i].path, word, length) == 0 &&
            COMMANDS[i].path[length] == ' ')
            return true;
    return false;
}

static struct err check_options(const struct command *command, const struct cli *cli)
{
    for (int o = 0; o < OPT_COUNT; o++) {
        uint64_t bit = UINT64_C(1) << o;
        if (cli->options[o] != NULL && ((command->options | GLOBAL) & bit) == 0)
            return err_make(ERR_INVALID_ARGUMENT,
                            "%s takes no --%s; see checkoutctl %s --help", command->path,
                            OPTIONS[o].name, command->path);
        if (cli->options[o] == NULL && (command->required & bit) != 0)
            return err_make(ERR_INVALID_ARGUMENT, "%s needs --%s %s", command->path,
                            OPTIONS[o].name, OPTIONS[o].value);
    }
    if (cli->options[OPT_STATE] != NULL && cli->options[OPT_CONFIG] != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "give --state or --config, not both");
    return ERR_NONE;
}

static struct err check_words(const struct command *command, const struct cli *cli)
{
    if (cli->word_count >= command->least && cli->word_count <= command->most)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "too %s words; usage: checkoutctl %s %s",
                    cli->word_count < command->least ? "few" : "many", command->path,
                    command->args);
}

static struct err take_max_time(struct cli *cli)
{
    const char *text = cli->options[OPT_MAX_TIME];
    char *end = NULL;
    double seconds = text == NULL ? 10 : strtod(text, &end);

    if (text != NULL &&
        (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 600)))
        return err_make(ERR_INVALID_ARGUMENT,
                        "--max-time is \"%s\"; it must be 0.001 to 600 seconds", text);
    cli->max_time_ms = (int64_t)(seconds * 1000 + 0.5);
    return ERR_NONE;
}

struct err cli_number(const char *text, const char *what, int64_t least, int64_t most,
                      int64_t *out)
{
    char *end;

    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most)
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s is \"%s\"; it must be a whole number from %" PRId64
                        " to %" PRId64,
                        what, text, least, most);
    *out = number;
    return ERR_NONE;
}

struct err cli_need(const char *value, const char *setting)
{
    if (*value != '\0')
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "no setting %s was found; name a stack with --state DIR or "
                    "CHECKOUT_STATE, or start one with ./up",
                    setting);
}

/* ---- running ---- */

static struct outcome run(struct cli *cli, const struct command *command)
{
    struct err e = check_options(command, cli);

    if (!failed(e))
        e = check_words(command, cli);
    if (!failed(e))
        e = take_max_time(cli);
    if (failed(e))
        return misused(e);
    if (command->settings)
        e = settings_read(cli);
    return failed(e) ? local(e) : command->run(cli);
}

/* No command: help when it was asked for, else what was wrong. */
static struct outcome no_command(struct cli *cli)
{
    const char *word = cli->word_count > 0 ? cli->words[0] : "";
    bool help = cli->options[OPT_HELP] != NULL;

    if (cli->options[OPT_VERSION] != NULL) {
        fprintf(cli->out, "checkoutctl " VERSION "\n");
        return done();
    }
    if (*word != '\0' && !is_group(word))
        return misused(err_make(ERR_INVALID_ARGUMENT,
                                "there is no command \"%s\"; see checkoutctl --help",
                                word));
    if (help || cli->word_count < 2)
        help_group(help ? cli->out : cli->err, word, strlen(word));
    if (help)
        return done();
    if (cli->word_count < 2)
        return misused(err_make(ERR_INVALID_ARGUMENT, "give one of these commands"));
    return misused(err_make(ERR_INVALID_ARGUMENT,
                            "there is no command \"%s %s\"; see checkoutctl %s --help",
                            word, cli->words[1], word));
}

static struct outcome dispatch(struct cli *cli, int argc, char **argv)
{
    struct err e = take_arguments(cli, argc, argv);

    if (failed(e))
        return misused(e);
    const struct command *command = take_command(cli);
    if (command == NULL || cli->options[OPT_VERSION] != NULL)
        return no_command(cli);
    if (cli->options[OPT_HELP] != NULL) {
        help_command(cli->out, command);
        return done();
    }
    return run(cli, command);
}

int cli_main(int argc, char **argv, FILE *out, FILE *err)
{
    struct cli cli = {.out = out, .err = err, .arena = arena_new(ARENA_MAX)};
    struct outcome end = local(err_memory());

    if (cli.arena != NULL)
        end = dispatch(&cli, argc, argv);
    if (end.status == 0 && (fflush(out) != 0 || ferror(out)))
        end = local(err_make(ERR_DATA_LOSS, "the output could not be written"));
    if (end.status != 0)
        output_error(err, end);
    settings_free(&cli);
    arena_free(cli.arena);
    return end.status;
}
