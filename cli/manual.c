/*
 * manual.c - checkoutctl manual: the man page, in mdoc(7), made from the tables.
 *
 * What the tables do not hold (files, environment, exit status) is written here.
 */
#include <string.h>

#include "cli/commands.h"
#include "cli/settings.h"

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

/* Paragraphs; lines that begin with two blanks stand as they are. */
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
