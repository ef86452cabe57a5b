/*
 * completion.c - checkoutctl completion: scripts for bash and zsh, made from the tables.
 *
 * Both scripts do the same: put the words typed so far, without options and their values,
 * into one string; find its row; offer the next words, or the options, of that row.
 * Names of services and methods are those of the contract built in.
 */
#include <string.h>

#include "cli/catalogue.h"
#include "cli/commands.h"

enum shell { BASH, ZSH };

struct script {
    FILE *out;
    enum shell shell;
    const struct schema *schema;
};

/* ---- words ------------------------------------------------------------------------ */

/* In single quotes; a quote within ends them, stands escaped, and begins them again. */
static void quote(FILE *out, const char *text)
{
    for (; *text != '\0'; text++)
        fputs(*text == '\'' ? "'\\''" : (char[]){*text, '\0'}, out);
}

/* One thing to offer: bash takes the word, zsh what it is for as well. */
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
    fprintf(s->out, "%s\n", s->shell == BASH ? "\"" : ")");
}

static void offer_symbols(const struct script *s, unsigned kinds)
{
    for (size_t i = 0; i < s->schema->count; i++)
        if ((kinds >> s->schema->symbols[i]->kind & 1) != 0)
            offer(s, s->schema->symbols[i]->name,
                  symbol_kind_name(s->schema->symbols[i]->kind));
}

/* What a command's first own word may be, as far as that is known beforehand. */
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
    fprintf(s->out, "%s\n", s->shell == BASH ? "\"" : ")");
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
    fprintf(s->out, "%s\n", s->shell == BASH ? "\"" : ")");
}

/* ---- the parts both scripts have ---------------------------------------------- */

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

/* One branch a command, one a group, and one for the beginning; the longest first. */
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

static void print_bash(const struct script *s)
{
    FILE *out = s->out;

    fprintf(out,
            "# bash completion of checkoutctl, made by: checkoutctl completion bash\n"
            "_checkoutctl()\n{\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}\n"
            "    local typed=\" \" next= options= i\n    COMPREPLY=()\n"
            "    case $prev in\n    ");
    print_valued(s, "DIR");
    fprintf(out, ")\n        COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n    ");
    print_valued(s, "FILE");
    fprintf(out,
            ")\n        COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
            "    --service)\n        COMPREPLY=($(compgen -W \"orchestrator inventory "
            "payment\" -- \"$cur\")); return ;;\n    ");
    print_valued(s, NULL);
    fprintf(out, ")\n        return ;;\n    esac\n"
                 "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
                 "        case ${COMP_WORDS[i]} in\n        ");
    print_valued(s, NULL);
    fprintf(out, ") ((i++)) ;;\n        -*) ;;\n"
                 "        *) typed+=\"${COMP_WORDS[i]} \" ;;\n        esac\n    done\n"
                 "    case $typed in\n");
    print_cases(s);
    fprintf(out, "    [[ $cur == -* ]] && next=$options\n"
                 "    COMPREPLY=($(compgen -W \"$next\" -- \"$cur\"))\n}\n"
                 "complete -o default -F _checkoutctl checkoutctl\n");
}

static void print_zsh(const struct script *s)
{
    FILE *out = s->out;

    fprintf(out, "#compdef checkoutctl\n"
                 "# zsh completion of checkoutctl, made by: checkoutctl completion zsh\n"
                 "_checkoutctl()\n{\n"
                 "    local typed=\" \" i\n    local -a next options\n"
                 "    case ${words[CURRENT-1]} in\n    ");
    print_valued(s, "DIR");
    fprintf(out, ") _directories; return ;;\n    ");
    print_valued(s, "FILE");
    fprintf(out,
            ") _files; return ;;\n"
            "    --service) compadd orchestrator inventory payment; return ;;\n    ");
    print_valued(s, NULL);
    fprintf(out, ") return ;;\n    esac\n"
                 "    for ((i = 2; i < CURRENT; i++)); do\n"
                 "        case ${words[i]} in\n        ");
    print_valued(s, NULL);
    fprintf(out, ") ((i++)) ;;\n        -*) ;;\n"
                 "        *) typed+=\"${words[i]} \" ;;\n        esac\n    done\n"
                 "    case $typed in\n");
    print_cases(s);
    fprintf(out, "    if [[ ${words[CURRENT]} == -* ]]; then\n"
                 "        _describe -o option options\n"
                 "    elif ((${#next})); then\n        _describe command next\n"
                 "    else\n        _files\n    fi\n}\n"
                 "compdef _checkoutctl checkoutctl\n");
}

struct outcome command_completion(struct cli *cli)
{
    struct catalogue catalogue;
    bool zsh = strcmp(cli->words[0], "zsh") == 0;

    if (!zsh && strcmp(cli->words[0], "bash") != 0)
        return misused(
            err_make(ERR_INVALID_ARGUMENT,
                     "there is no completion for \"%.40s\", only for bash and zsh",
                     cli->words[0]));
    struct outcome end = catalogue_open(cli, &catalogue);
    if (end.status != 0)
        return end;
    struct script script = {cli->out, zsh ? ZSH : BASH, catalogue.schema};
    zsh ? print_zsh(&script) : print_bash(&script);
    return done();
}
