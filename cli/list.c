/* list.c - checkoutctl list: which services there are, and which methods one has. */
#include <string.h>

#include "cli/commands.h"
#include "cli/describe.h"
#include "cli/output.h"

/* The first sentence of a comment, at most `most` bytes of it, on one line. */
static void print_first(FILE *out, const char *comment, size_t most)
{
    const char *stop = strstr(comment, ".  "), *line_end = strstr(comment, ".\n");

    if (stop == NULL || (line_end != NULL && line_end < stop))
        stop = line_end;
    size_t length = stop != NULL ? (size_t)(stop - comment) + 1 : strlen(comment);
    bool cut = length > most;
    for (size_t i = 0; i < (cut ? most : length); i++)
        fputc((unsigned char)comment[i] < 0x20 ? ' ' : comment[i], out);
    if (cut)
        fprintf(out, "...");
}

static void print_row(const struct cli *cli, const char *name, const char *comment)
{
    if (*comment == '\0') {
        fprintf(cli->out, "%s\n", name);
        return;
    }
    fprintf(cli->out, "%-44s %s", name, output_style(cli->out, STYLE_DIM));
    print_first(cli->out, comment, 100);
    fprintf(cli->out, "%s\n", output_style(cli->out, STYLE_PLAIN));
}

/* Where a service of the stack is found; "every" for what all servers have. */
static const char *home_of(const struct catalogue *catalogue, const char *service)
{
    const struct place *place =
        catalogue->place != NULL ? catalogue->place : place_serving(service);

    return place != NULL ? place->name : "every";
}

/* Of the server asked for: as it says itself, else as the contract has it. */
static bool is_asked_for(const struct catalogue *catalogue, const char *service)
{
    const struct place *home = place_serving(service);

    if (!catalogue_serves(catalogue, service))
        return false;
    return catalogue->served != NULL || catalogue->place == NULL || home == NULL ||
           home == catalogue->place;
}

static struct outcome list_services(struct cli *cli, const struct catalogue *catalogue)
{
    json_t *all = json_array();

    for (size_t i = 0; i < catalogue->schema->count; i++) {
        const struct symbol *s = catalogue->schema->symbols[i];
        if (s->kind != SYMBOL_SERVICE || !is_asked_for(catalogue, s->name))
            continue;
        if (cli->options[OPT_JSON] == NULL)
            print_row(cli, s->name, s->comment);
        json_array_append_new(all, json_pack("{s:s, s:s, s:s}", "service", s->name,
                                             "server", home_of(catalogue, s->name),
                                             "comment", s->comment));
    }
    if (cli->options[OPT_JSON] != NULL)
        return local(output_json(cli, all));
    json_decref(all);
    return done();
}

static struct outcome list_methods(struct cli *cli, const struct catalogue *catalogue)
{
    const struct symbol *service;
    json_t *all = json_array();
    struct err e = schema_find(catalogue->schema, describe_service_name(cli->words[0]),
                               1U << SYMBOL_SERVICE, &service);

    for (unsigned i = 0; !failed(e) && i < service->of.service->n_methods; i++) {
        const struct symbol *m =
            describe_method_symbol(catalogue->schema, service->of.service, i);
        if (cli->options[OPT_JSON] == NULL)
            print_row(cli, m->name, m->comment);
        json_array_append_new(all, describe_method(m));
    }
    if (!failed(e) && cli->options[OPT_JSON] != NULL)
        return local(output_json(cli, all));
    json_decref(all);
    return misused(e);
}

struct outcome command_list(struct cli *cli)
{
    struct catalogue catalogue;
    struct outcome end = catalogue_open(cli, &catalogue);

    if (end.status != 0)
        return end;
    return cli->word_count == 0 ? list_services(cli, &catalogue)
                                : list_methods(cli, &catalogue);
}
