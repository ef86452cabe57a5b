/* help.c - what --help prints, made from the tables of commands and options. */
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

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
            "Exit status: 0 done, 2 wrong usage, 64 + gRPC status when a call failed, "
            "1 other failures.\n");
}
