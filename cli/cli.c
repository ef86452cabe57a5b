/* cli.c - see cli.h. */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/program/process.h"
#include "cli/output.h"
#include "cli/schema/suggest.h"
#include "cli/settings.h"

/* ---- the command line, parsed into words, options and headers ---------------------- */

static int find_option(const char *name, size_t length)
{
    for (int o = 0; o < OPT_COUNT; o++)
        if (strlen(OPTIONS[o].name) == length &&
            strncmp(OPTIONS[o].name, name, length) == 0)
            return o;
    return -1;
}

static int find_letter(char letter)
{
    for (int o = 0; o < OPT_COUNT; o++)
        if (OPTIONS[o].letter == letter)
            return o;
    return -1;
}

/* "name:value", the only option that may be given more than once. */
static struct err keep_header(struct cli *cli, const char *header)
{
    const char *colon = strchr(header, ':');
    struct cli_header *kept = &cli->headers[cli->header_count];

    if (colon == NULL || colon == header)
        return invalid("-H is \"%.80s\"; it must be NAME:VALUE, such as tenant:blue",
                       header);
    if (cli->header_count == CLI_HEADERS_MAX)
        return invalid("-H may be given %d times at most", CLI_HEADERS_MAX);
    char *name = arena_strdup(cli->arena, header);
    if (name == NULL)
        return err_memory();
    name[colon - header] = '\0';
    kept->name = name;
    kept->value = name + (colon - header) + 1 + strspn(colon + 1, " ");
    cli->header_count++;
    cli->options[OPT_HEADER] = header;
    return ERR_NONE;
}

/* Stores an option whose value, if any, is in the same word or in argv[*i + 1]. */
static struct err store(struct cli *cli, int option, const char *value, int argc,
                        char **argv, int *i)
{
    const struct option_row *row = &OPTIONS[option];

    if (row->value == NULL && value != NULL)
        return invalid("--%s takes no value", row->name);
    if (row->value != NULL && value == NULL && ++*i < argc)
        value = argv[*i];
    if (row->value != NULL && value == NULL)
        return invalid("--%s needs a value: --%s %s", row->name, row->name, row->value);
    if (option == OPT_HEADER)
        return keep_header(cli, value);
    if (cli->options[option] != NULL && value != NULL)
        return invalid("--%s is given twice", row->name);
    cli->options[option] = value != NULL ? value : "";
    return ERR_NONE;
}

static struct err no_option(const char *name, size_t length)
{
    struct suggestion near = suggest_start(name, length);
    int shown = length > 80 ? 80 : (int)length;

    for (int i = 0; i < OPT_COUNT; i++)
        suggest_offer(&near, OPTIONS[i].name, OPTIONS[i].name);
    if (near.best == NULL)
        return invalid("there is no option --%.*s; see checkoutctl --help", shown, name);
    return invalid("there is no option --%.*s; did you mean --%s?", shown, name,
                   near.best);
}

/* `--name VALUE` or `--name=VALUE` at argv[*i]. */
static struct err take_long(struct cli *cli, int argc, char **argv, int *i)
{
    const char *name = argv[*i] + 2;
    size_t length = strcspn(name, "=");
    int option = find_option(name, length);

    if (option < 0)
        return no_option(name, length);
    return store(cli, option, name[length] == '=' ? name + length + 1 : NULL, argc, argv,
                 i);
}

/* `-v`, or `-H VALUE` and `-HVALUE`. */
static struct err take_short(struct cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i];
    int option = find_letter(word[1]);

    if (option < 0 || (OPTIONS[option].value == NULL && word[2] != '\0'))
        return invalid("there is no option %.80s; see checkoutctl --help", word);
    return store(cli, option, word[2] != '\0' ? word + 2 : NULL, argc, argv, i);
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
        else if (options && strncmp(argv[i], "--", 2) == 0)
            e = take_long(cli, argc, argv, &i);
        else if (options && is_short_option(argv[i]))
            e = take_short(cli, argc, argv, &i);
        else if (cli->word_count == CLI_WORDS_MAX)
            e = invalid("too many words, from \"%.80s\" on", argv[i]);
        else
            cli->words[cli->word_count++] = argv[i];
    }
    return e;
}

enum { ARENA_MAX = 32 << 20 }; /* bytes: types, a request, its JSON, and a reply */

/* ---- finding the command ----------------------------------------------------------- */

/* How many of the words form the command's path; 0 when they do not match it. */
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

/* Removes the command's own words from the front; NULL when there is no such command. */
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
        if (cli->options[o] != NULL && ((command->options | OPTIONS_GLOBAL) & bit) == 0)
            return invalid("%s takes no --%s; see checkoutctl %s --help", command->path,
                           OPTIONS[o].name, command->path);
        if (cli->options[o] == NULL && (command->required & bit) != 0)
            return invalid("%s needs --%s %s", command->path, OPTIONS[o].name,
                           OPTIONS[o].value);
    }
    if ((cli->options[OPT_STATE] != NULL) + (cli->options[OPT_CONFIG] != NULL) +
            (cli->options[OPT_PROFILE] != NULL) >
        1)
        return invalid("give one of --state, --config and --profile");
    return ERR_NONE;
}

static struct err check_words(const struct command *command, const struct cli *cli)
{
    for (int i = 0; i < cli->word_count; i++)
        if (*cli->words[i] == '\0')
            return invalid("word %d is empty; usage: checkoutctl %s %s", i + 1,
                           command->path, command->args);
    if (cli->word_count >= command->least && cli->word_count <= command->most)
        return ERR_NONE;
    return invalid("too %s words; usage: checkoutctl %s %s",
                   cli->word_count < command->least ? "few" : "many", command->path,
                   command->args);
}

/* Seconds of an option as milliseconds; `fallback` when it is not given. */
static struct err take_seconds(const struct cli *cli, enum option option,
                               int64_t fallback_ms, int64_t *out_ms)
{
    const char *text = cli->options[option];
    char *end = NULL;
    double seconds = text == NULL ? 0 : strtod(text, &end);

    *out_ms = fallback_ms;
    if (text == NULL)
        return ERR_NONE;
    if (end == text || *end != '\0' || !(seconds >= 0.001 && seconds <= 600))
        return invalid("--%s is \"%.80s\"; it must be 0.001 to 600 seconds",
                       OPTIONS[option].name, text);
    *out_ms = (int64_t)(seconds * 1000 + 0.5);
    return ERR_NONE;
}

struct err cli_number(const char *text, const char *what, int64_t least, int64_t most,
                      int64_t *out)
{
    char *end;

    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || number < least || number > most)
        return invalid("%s is \"%s\"; it must be a whole number from %" PRId64
                       " to %" PRId64,
                       what, text, least, most);
    *out = number;
    return ERR_NONE;
}

struct err cli_option(const struct cli *cli, enum option option, int64_t least,
                      int64_t most, int64_t *out)
{
    char name[48];

    if (cli->options[option] == NULL)
        return ERR_NONE;
    snprintf(name, sizeof name, "--%s", OPTIONS[option].name);
    return cli_number(cli->options[option], name, least, most, out);
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

/* ---- running ----------------------------------------------------------------------- */

static bool says_yes(void)
{
    char answer[16] = "";

    if (fgets(answer, sizeof answer, stdin) == NULL)
        return false;
    return strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0;
}

struct outcome cli_confirm(const struct cli *cli, const char *what)
{
    if (!cli->settings.production || cli->options[OPT_YES] != NULL)
        return done();
    if (!isatty(fileno(stdin)))
        return misused(err_make(ERR_FAILED_PRECONDITION,
                                "%s would change %s, which is marked production; add "
                                "--yes to do it",
                                what, cli->stack));
    fprintf(cli->err, "%s changes %s, which is marked production.  Go on? [y/N] ", what,
            cli->stack);
    fflush(cli->err);
    return says_yes() ? done()
                      : local(err_make(ERR_CANCELLED, "nothing was done: not confirmed"));
}

static struct outcome run(struct cli *cli, const struct command *command)
{
    struct err e = check_options(command, cli);

    if (!failed(e))
        e = check_words(command, cli);
    if (!failed(e))
        e = take_seconds(cli, OPT_MAX_TIME, 10000, &cli->max_time_ms);
    if (!failed(e))
        e = take_seconds(cli, OPT_CONNECT_TIMEOUT, 0, &cli->connect_timeout_ms);
    if (failed(e))
        return misused(e);
    if (command->settings)
        e = settings_read(cli);
    struct outcome end = local(e);
    if (end.status == 0 && command->changes)
        end = cli_confirm(cli, command->path);
    return end.status == 0 ? command->run(cli) : end;
}

/* Of a group's first word, or of a whole command. */
static struct outcome unknown_command(const struct cli *cli)
{
    const char *word = cli->words[0];
    bool group = is_group(word) && cli->word_count > 1;
    char given[96], text[SUGGEST_TEXT_SIZE], otherwise[96];

    snprintf(given, sizeof given, "%.40s%s%.40s", word, group ? " " : "",
             group ? cli->words[1] : "");
    struct suggestion near = suggest_start(given, strlen(given));
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        char first[32];
        const char *path = COMMANDS[i].path;
        snprintf(first, sizeof first, "%.*s", (int)strcspn(path, " "), path);
        suggest_offer(&near, group ? path : first, path);
    }
    snprintf(otherwise, sizeof otherwise, "see checkoutctl %s%s--help", group ? word : "",
             group ? " " : "");
    return misused(invalid("there is no command \"%s\"; %s", given,
                           suggest_text(&near, otherwise, text)));
}

/* Without a command: help if it was requested, else the error. */
static struct outcome no_command(struct cli *cli)
{
    const char *word = cli->word_count > 0 ? cli->words[0] : "";
    bool help = cli->options[OPT_HELP] != NULL;

    if (cli->options[OPT_VERSION] != NULL) {
        fprintf(cli->out, "checkoutctl %s\n", version_text());
        return done();
    }
    if (*word != '\0' && !is_group(word))
        return unknown_command(cli);
    if (help || cli->word_count < 2)
        help_group(help ? cli->out : cli->err, word);
    if (help)
        return done();
    if (cli->word_count < 2)
        return misused(invalid("give one of these commands"));
    return unknown_command(cli);
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
