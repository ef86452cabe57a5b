/* arguments.c - the command line, taken apart into words, options and headers. */
#include <string.h>

#include "cli/cli.h"
#include "cli/suggest.h"

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
        return err_make(ERR_INVALID_ARGUMENT,
                        "-H is \"%.80s\"; it must be NAME:VALUE, such as tenant:blue",
                        header);
    if (cli->header_count == CLI_HEADERS_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "-H may be given %d times at most",
                        CLI_HEADERS_MAX);
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

/* Stores an option whose value, if any, stands in the same word or in argv[*i + 1]. */
static struct err store(struct cli *cli, int option, const char *value, int argc,
                        char **argv, int *i)
{
    const struct option_row *row = &OPTIONS[option];

    if (row->value == NULL && value != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s takes no value", row->name);
    if (row->value != NULL && value == NULL && ++*i < argc)
        value = argv[*i];
    if (row->value != NULL && value == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s needs a value: --%s %s", row->name,
                        row->name, row->value);
    if (option == OPT_HEADER)
        return keep_header(cli, value);
    if (cli->options[option] != NULL && value != NULL)
        return err_make(ERR_INVALID_ARGUMENT, "--%s is given twice", row->name);
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
        return err_make(ERR_INVALID_ARGUMENT,
                        "there is no option --%.*s; see checkoutctl --help", shown, name);
    return err_make(ERR_INVALID_ARGUMENT, "there is no option --%.*s; did you mean --%s?",
                    shown, name, near.best);
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
        return err_make(ERR_INVALID_ARGUMENT,
                        "there is no option %.80s; see checkoutctl --help", word);
    return store(cli, option, word[2] != '\0' ? word + 2 : NULL, argc, argv, i);
}

/* "-5" and "-" are words: a stock change and standard input. */
static bool is_short_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0' && (text[1] < '0' || text[1] > '9');
}

struct err arguments_take(struct cli *cli, int argc, char **argv)
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
            e = err_make(ERR_INVALID_ARGUMENT, "too many words, from \"%.80s\" on",
                         argv[i]);
        else
            cli->words[cli->word_count++] = argv[i];
    }
    return e;
}
