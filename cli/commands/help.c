/*
 * help.c - output made from the tables of commands and options: --help, checkoutctl
 * completion (scripts for bash and zsh), and checkoutctl manual (the man page, in
 * mdoc(7)).
 *
 * Both scripts do the same: put the words typed so far, without options and their values,
 * into one string; find its row; offer the next words, or the options, of that row.
 * Names of services and methods are those of the contract built in.
 */
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/settings.h"

/* ---- help -------------------------------------------------------------------------- */

static void heading(FILE *out, const char *text)
{
    fprintf(out, "%s%s%s\n", output_style(out, STYLE_BOLD), text,
            output_style(out, STYLE_PLAIN));
}

static void help_options(FILE *out, const char *title, uint64_t which)
{
    char left[64];

    if (which == 0)
        return;
    fprintf(out, "\n");
    heading(out, title);
    for (int o = 0; o < OPT_COUNT; o++) {
        const struct option_row *row = &OPTIONS[o];
        if ((which >> o & 1) == 0)
            continue;
        snprintf(left, sizeof left, "%c%c%s--%s %s", row->letter != 0 ? '-' : ' ',
                 row->letter != 0 ? row->letter : ' ', row->letter != 0 ? ", " : "  ",
                 row->name, row->value != NULL ? row->value : "");
        fprintf(out, "  %-31s %s\n", left, row->help);
    }
}

static void usage(FILE *out, const struct command *command)
{
    fprintf(out, "usage: checkoutctl %s", command->path);
    if (*command->args != '\0')
        fprintf(out, " %s", command->args);
    for (int o = 0; o < OPT_COUNT; o++) {
        bool needed = (command->required >> o & 1) != 0;
        if ((command->options >> o & 1) != 0)
            fprintf(out, " %s--%s%s%s%s", needed ? "" : "[", OPTIONS[o].name,
                    OPTIONS[o].value != NULL ? " " : "",
                    OPTIONS[o].value != NULL ? OPTIONS[o].value : "", needed ? "" : "]");
    }
    fprintf(out, "\n");
}

void help_command(FILE *out, const struct command *command)
{
    fprintf(out, "%s\n\n", command->help);
    usage(out, command);
    if (command->about != NULL)
        fprintf(out, "\n%s\n", command->about);
    if (command->example != NULL)
        fprintf(out, "\nexample: checkoutctl %s\n", command->example);
    help_options(out, "Options", command->options);
    help_options(out, "Options of every command", OPTIONS_GLOBAL);
}

static void print_chapter(FILE *out, const char *path)
{
    for (size_t c = 0; c < CHAPTERS_COUNT; c++)
        if (strcmp(CHAPTERS[c].first, path) == 0) {
            fprintf(out, "\n");
            heading(out, CHAPTERS[c].title);
        }
}

void help_group(FILE *out, const char *group)
{
    size_t length = strlen(group);
    char left[80];

    if (length == 0)
        fprintf(
            out,
            "checkoutctl - look into a checkout stack, and drive it\n\n"
            "usage: checkoutctl COMMAND [WORDS] [OPTIONS]\n\n"
            "To explore a stack that is new to you, in this order:\n"
            "  checkoutctl list                       which services there are\n"
            "  checkoutctl list orders.v1.Orders      the methods of one\n"
            "  checkoutctl describe Orders/Place      what one does, asks and answers\n"
            "  checkoutctl call Orders/Place --template > request.json\n"
            "  checkoutctl call Orders/Place @request.json\n");
    else
        fprintf(out, "usage: checkoutctl %s COMMAND [WORDS] [OPTIONS]\n\n", group);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (strncmp(COMMANDS[i].path, group, length) != 0 ||
            (length > 0 && COMMANDS[i].path[length] != ' '))
            continue;
        if (length == 0)
            print_chapter(out, COMMANDS[i].path);
        snprintf(left, sizeof left, "%s %s", COMMANDS[i].path, COMMANDS[i].args);
        fprintf(out, "  %-38s %s\n", left, COMMANDS[i].help);
    }
    help_options(out, "Options of every command", OPTIONS_GLOBAL);
    fprintf(out,
            "\nEach command has more: checkoutctl COMMAND --help\n"
            "Exit status: 0 done, 2 wrong usage, 64 + gRPC status when a call failed, 1 "
            "other failures.\n");
}

/* ---- completion -------------------------------------------------------------------- */

enum shell { BASH, ZSH };

struct script {
    FILE *out;
    enum shell shell;
    const struct schema *schema;
};

/* For single quotes: a quote in the text closes them, is escaped, and opens them
 * again. */
static void quote(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
}

/* One word to offer; zsh shows its description as well. */
static void offer(const struct script *s, const char *word, const char *help)
{
    if (s->shell == BASH) {
        fprintf(s->out, " %s", word);
        return;
    }
    fprintf(s->out, " '%s:", word);
    quote(s->out, help);
    fprintf(s->out, "'");
}

/* The options of a row, or all that are global. */
static void offer_options(const struct script *s, uint64_t options)
{
    char word[48];

    fprintf(s->out, "        options=%s", s->shell == BASH ? "\"" : "(");
    for (int o = 0; o < OPT_COUNT; o++)
        if (((options | OPTIONS_GLOBAL) >> o & 1) != 0) {
            snprintf(word, sizeof word, "--%s", OPTIONS[o].name);
            offer(s, word, OPTIONS[o].help);
        }
    fputs(s->shell == BASH ? "\"\n" : ")\n", s->out);
}

static void offer_symbols(const struct script *s, unsigned kinds)
{
    for (size_t i = 0; i < s->schema->count; i++)
        if ((kinds >> s->schema->symbols[i]->kind & 1) != 0)
            offer(s, s->schema->symbols[i]->name,
                  symbol_kind_name(s->schema->symbols[i]->kind));
}

/* The possible values of a command's first argument, if they are known in advance. */
static void offer_words(const struct script *s, const struct command *command)
{
    unsigned services = 1U << SYMBOL_SERVICE, methods = 1U << SYMBOL_METHOD;
    unsigned types = 1U << SYMBOL_MESSAGE | 1U << SYMBOL_ENUM;

    fprintf(s->out, "        next=%s", s->shell == BASH ? "\"" : "(");
    if (strncmp(command->args, "[SERVICE]", 9) == 0)
        offer_symbols(s, services);
    else if (strncmp(command->args, "SERVICE/METHOD", 14) == 0)
        offer_symbols(s, methods);
    else if (strncmp(command->args, "SYMBOL", 6) == 0)
        offer_symbols(s, services | methods | types);
    else if (strcmp(command->args, "bash|zsh") == 0) {
        offer(s, "bash", "its script");
        offer(s, "zsh", "its script");
    }
    fputs(s->shell == BASH ? "\"\n" : ")\n", s->out);
}

/* The next words of all paths that begin with `group` ("" or "stock"), each once. */
static void offer_next(const struct script *s, const char *group)
{
    size_t length = strlen(group), skip = length > 0 ? length + 1 : 0;
    char last[32] = "";

    fprintf(s->out, "        next=%s", s->shell == BASH ? "\"" : "(");
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        const char *path = COMMANDS[i].path;
        if (length > 0 && (strncmp(path, group, length) != 0 || path[length] != ' '))
            continue;
        size_t word = strcspn(path + skip, " ");
        bool again = strncmp(last, path + skip, word) == 0 && last[word] == '\0';
        snprintf(last, sizeof last, "%.*s", (int)word, path + skip);
        if (!again)
            offer(s, last,
                  path[skip + word] == '\0' ? COMMANDS[i].help : "several commands");
    }
    fputs(s->shell == BASH ? "\"\n" : ")\n", s->out);
}

/* Options that are followed by a value of that kind; NULL: by any. */
static void print_valued(const struct script *s, const char *kind)
{
    bool first = true;

    for (int o = 0; o < OPT_COUNT; o++) {
        const char *value = OPTIONS[o].value;
        if (value == NULL || (kind != NULL && strcmp(value, kind) != 0))
            continue;
        fprintf(s->out, "%s--%s", first ? "" : "|", OPTIONS[o].name);
        if (OPTIONS[o].letter != 0)
            fprintf(s->out, "|-%c", OPTIONS[o].letter);
        first = false;
    }
}

/* A branch for each command and group, and one for the start; the longest path first. */
static void print_cases(const struct script *s)
{
    char group[32] = "";

    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        fprintf(s->out, "    \" %s \"*)\n", COMMANDS[i].path);
        offer_words(s, &COMMANDS[i]);
        offer_options(s, COMMANDS[i].options);
        fprintf(s->out, "        ;;\n");
    }
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        size_t word = strcspn(COMMANDS[i].path, " ");
        if (COMMANDS[i].path[word] == '\0' ||
            (strncmp(group, COMMANDS[i].path, word) == 0 && group[word] == '\0'))
            continue;
        snprintf(group, sizeof group, "%.*s", (int)word, COMMANDS[i].path);
        fprintf(s->out, "    \" %s \"*)\n", group);
        offer_next(s, group);
        offer_options(s, 0);
        fprintf(s->out, "        ;;\n");
    }
    fprintf(s->out, "    *)\n");
    offer_next(s, "");
    offer_options(s, 0);
    fprintf(s->out, "        ;;\n    esac\n");
}

/* The scripts.  @D, @F and @V are the options with a folder, a file or any value; @C are
 * the cases. */
static const char BASH_SCRIPT[] =
    "# bash completion of checkoutctl, made by: checkoutctl completion bash\n"
    "_checkoutctl()\n{\n"
    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
    "    local typed=\" \" next= options= i\n    COMPREPLY=()\n"
    "    case $prev in\n"
    "    @D)\n        COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
    "    @F)\n        COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
    "    --service)\n        COMPREPLY=($(compgen -W \"orchestrator inventory payment\" "
    "-- \"$cur\")); return ;;\n"
    "    @V)\n        return ;;\n    esac\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        case ${COMP_WORDS[i]} in\n"
    "        @V) ((i++)) ;;\n        -*) ;;\n"
    "        *) typed+=\"${COMP_WORDS[i]} \" ;;\n        esac\n    done\n"
    "    case $typed in\n@C    [[ $cur == -* ]] && next=$options\n"
    "    COMPREPLY=($(compgen -W \"$next\" -- \"$cur\"))\n}\n"
    "complete -o default -F _checkoutctl checkoutctl\n";

static const char ZSH_SCRIPT[] =
    "#compdef checkoutctl\n"
    "# zsh completion of checkoutctl, made by: checkoutctl completion zsh\n"
    "_checkoutctl()\n{\n"
    "    local typed=\" \" i\n    local -a next options\n"
    "    case ${words[CURRENT-1]} in\n"
    "    @D) _directories; return ;;\n"
    "    @F) _files; return ;;\n"
    "    --service) compadd orchestrator inventory payment; return ;;\n"
    "    @V) return ;;\n    esac\n"
    "    for ((i = 2; i < CURRENT; i++)); do\n"
    "        case ${words[i]} in\n"
    "        @V) ((i++)) ;;\n        -*) ;;\n"
    "        *) typed+=\"${words[i]} \" ;;\n        esac\n    done\n"
    "    case $typed in\n@C    if [[ ${words[CURRENT]} == -* ]]; then\n"
    "        _describe -o option options\n"
    "    elif ((${#next})); then\n        _describe command next\n"
    "    else\n        _files\n    fi\n}\n"
    "compdef _checkoutctl checkoutctl\n";

static void print_script(const struct script *s, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text != '@') {
            fputc(*text, s->out);
            continue;
        }
        text++;
        if (*text == 'C')
            print_cases(s);
        else
            print_valued(s, *text == 'D' ? "DIR" : *text == 'F' ? "FILE" : NULL);
    }
}

struct outcome command_completion(struct cli *cli)
{
    struct catalogue catalogue;
    bool zsh = strcmp(cli->words[0], "zsh") == 0;

    if (!zsh && strcmp(cli->words[0], "bash") != 0)
        return misused(
            invalid("there is no completion for \"%.40s\", only for bash and zsh",
                    cli->words[0]));
    struct outcome end = catalogue_open(cli, &catalogue);
    if (end.status != 0)
        return end;
    struct script script = {cli->out, zsh ? ZSH : BASH, catalogue.schema};
    print_script(&script, zsh ? ZSH_SCRIPT : BASH_SCRIPT);
    return done();
}

/* ---- the man page ------------------------------------------------------------------ */

/* Text of a line: backslashes are roff's, and so is a dot or quote at its beginning. */
static void print_escaped(FILE *out, const char *text, size_t length)
{
    if (length > 0 && (*text == '.' || *text == '\''))
        fputs("\\&", out);
    for (size_t i = 0; i < length; i++)
        fputs(text[i] == '\\' ? "\\e" : (char[]){text[i], '\0'}, out);
}

static void print_line(FILE *out, const char *text)
{
    print_escaped(out, text, strlen(text));
    fputc('\n', out);
}

/* Running text; each sentence begins a line, as mdoc wants it. */
static void print_sentences(FILE *out, const char *text, size_t length)
{
    size_t from = 0;

    for (size_t i = 0; i + 2 < length; i++)
        if (strncmp(text + i, ".  ", 3) == 0) {
            print_escaped(out, text + from, i + 1 - from);
            fputc('\n', out);
            from = i + 3;
        }
    print_escaped(out, text + from, length - from);
    fputc('\n', out);
}

/* Paragraphs; lines that begin with two blanks are literal. */
static void print_about(FILE *out, const char *text)
{
    bool literal = false;

    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        bool indented = length > 2 && text[0] == ' ' && text[1] == ' ';
        if (indented != literal && length > 0) {
            fputs(indented ? ".Bd -literal -offset indent\n" : ".Ed\n", out);
            literal = indented;
        }
        if (indented) {
            print_escaped(out, text + 2, length - 2);
            fputc('\n', out);
        } else if (length > 0) {
            print_sentences(out, text, length);
        }
        text += length + (text[length] == '\n');
    }
    if (literal)
        fputs(".Ed\n", out);
}

static void print_option(FILE *out, const struct option_row *row)
{
    fputs(".It ", out);
    if (row->letter != 0)
        fprintf(out, "Fl %c%s%s , ", row->letter, row->value != NULL ? " Ar " : "",
                row->value != NULL ? row->value : "");
    fprintf(out, "Fl -%s", row->name);
    if (row->value != NULL)
        fprintf(out, " Ar %s", row->value);
    fputc('\n', out);
    print_line(out, row->help);
}

static void print_options(FILE *out, uint64_t which)
{
    fputs(".Bl -tag -width Ds\n", out);
    for (int o = 0; o < OPT_COUNT; o++)
        if ((which >> o & 1) != 0)
            print_option(out, &OPTIONS[o]);
    fputs(".El\n", out);
}

static void print_command(FILE *out, const struct command *command)
{
    fprintf(out, ".It Cm %s", command->path);
    if (*command->args != '\0')
        fprintf(out, " Ar %s", command->args);
    for (int o = 0; o < OPT_COUNT; o++)
        if ((command->required >> o & 1) != 0)
            fprintf(out, " Fl -%s Ar %s", OPTIONS[o].name, OPTIONS[o].value);
    fputc('\n', out);
    print_escaped(out, command->help, strlen(command->help));
    fputs(".\n", out);
    if (command->about != NULL)
        print_about(out, command->about);
    uint64_t optional = command->options & ~command->required;
    if (optional != 0)
        fputs("Options:\n", out);
    for (int o = 0; o < OPT_COUNT; o++)
        if ((optional >> o & 1) != 0) {
            optional &= ~(UINT64_C(1) << o);
            fprintf(out, ".Fl -%s%s\n", OPTIONS[o].name, optional != 0 ? " ," : " .");
        }
}

static void print_commands(FILE *out)
{
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        for (size_t c = 0; c < CHAPTERS_COUNT; c++)
            if (strcmp(CHAPTERS[c].first, COMMANDS[i].path) == 0)
                fprintf(out, "%s.Ss %s\n.Bl -tag -width Ds\n", i > 0 ? ".El\n" : "",
                        CHAPTERS[c].title);
        print_command(out, &COMMANDS[i]);
    }
    fputs(".El\n", out);
}

static void print_settings(FILE *out)
{
    fputs(".Sh SETTINGS\nOf a stack's checkoutctl.conf, and of a profile:\n"
          ".Bl -tag -width Ds\n",
          out);
    for (size_t i = 0; i < CLI_SETTINGS.count; i++) {
        fprintf(out, ".It Va %s\n", CLI_SETTINGS.rows[i].name);
        print_line(out, CLI_SETTINGS.rows[i].help);
    }
    fputs(".El\n", out);
}

static void print_examples(FILE *out)
{
    fputs(".Sh EXAMPLES\n", out);
    for (size_t i = 0; i < COMMANDS_COUNT; i++) {
        if (COMMANDS[i].example == NULL)
            continue;
        print_escaped(out, COMMANDS[i].help, strlen(COMMANDS[i].help));
        fputs(":\n.Bd -literal -offset indent\ncheckoutctl ", out);
        print_line(out, COMMANDS[i].example);
        fputs(".Ed\n", out);
    }
}

static const char HEAD[] =
    ".\\\" Made by: checkoutctl manual\n"
    ".Dd November 25, 2026\n.Dt CHECKOUTCTL 1\n.Os\n"
    ".Sh NAME\n.Nm checkoutctl\n.Nd look into a checkout stack, and drive it\n"
    ".Sh SYNOPSIS\n.Nm\n.Ar command\n.Op Ar words\n.Op Ar options\n"
    ".Sh DESCRIPTION\n.Nm\n"
    "calls the services of a checkout stack by RPC: any method of any server,\n"
    "with requests and replies in protobuf's JSON, and the operator's usual tasks\n"
    "as commands of their own.\n"
    "JSON and results go to standard output, words about them to standard error.\n";

static const char TAIL[] =
    ".Sh ENVIRONMENT\n.Bl -tag -width Ds\n"
    ".It Ev CHECKOUT_STATE\nThe stack's state folder, as\n.Fl -state .\n"
    ".It Ev CHECKOUT_PROFILE\nA profile's name, as\n.Fl -profile .\n"
    "It goes before\n.Ev CHECKOUT_STATE .\n"
    ".It Ev CHECKOUT_PROFILES\nThe file of profiles.\n"
    ".It Ev CHECKOUT_DATABASE_URL\nThe libpq URL of the database's owner, for\n"
    ".Cm migrate .\n"
    ".It Ev NO_COLOR\nWhen set and not empty, no colours, also on a terminal.\n.El\n"
    ".Sh FILES\n.Bl -tag -width Ds\n"
    ".It Pa DIR/conf/checkoutctl.conf\nThe settings of the stack whose state folder is\n"
    ".Pa DIR .\n"
    ".It Pa ~/.config/checkout/profiles.conf\nStacks under names, for\n.Fl -profile .\n"
    ".El\n"
    ".Sh EXIT STATUS\n.Bl -tag -width Ds\n"
    ".It 0\nDone.\n.It 1\nIt failed here, or what was asked about is not well.\n"
    ".It 2\nWrong usage; nothing was called.\n"
    ".It 64 to 80\nA call failed: 64 and the gRPC status, such as 69 for NOT_FOUND\n"
    "and 78 for UNAVAILABLE.\n.El\n";

struct outcome command_manual(struct cli *cli)
{
    fputs(HEAD, cli->out);
    fputs(".Sh COMMANDS\n", cli->out);
    print_commands(cli->out);
    fputs(".Sh OPTIONS\nOf every command:\n", cli->out);
    print_options(cli->out, OPTIONS_GLOBAL);
    fputs(".Pp\nOf those that name them:\n", cli->out);
    print_options(cli->out, ~OPTIONS_GLOBAL);
    print_settings(cli->out);
    fputs(TAIL, cli->out);
    print_examples(cli->out);
    return done();
}
