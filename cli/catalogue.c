/* catalogue.c - see catalogue.h. */
#include "cli/catalogue.h"

#include <stddef.h>
#include <string.h>

#include "cli/files.h"
#include "cli/reflect.h"

#define ADDRESSES(of) offsetof(struct settings, of##_addresses), #of "_addresses"

enum { SET_MAX = 4 << 20 /* bytes of --protoset */ };

/* Generated from proto/ (cmake/Checkout.cmake). */
extern const unsigned char rpc_descriptors[];
extern const size_t rpc_descriptors_size;

const struct place PLACES[] = {
    {"orchestrator", ADDRESSES(orchestrator), {"orders.v1.Orders", "events.v1.Events"}},
    {"inventory", ADDRESSES(inventory), {"inventory.v1.Inventory"}},
    {"payment", ADDRESSES(payment), {"payment.v1.Payment"}},
    {"gateway", ADDRESSES(gateway), {NULL}},
    {"webhook", ADDRESSES(webhook), {NULL}},
};

enum { PLACES_OPTIONAL = 1 }; /* the last: webhook */

const size_t PLACES_COUNT = sizeof PLACES / sizeof *PLACES - PLACES_OPTIONAL;
const size_t PLACES_ALL = sizeof PLACES / sizeof *PLACES;

static const struct place ELSEWHERE = {.name = "server"};

/* ---- where ------------------------------------------------------------------------ */

const struct place *place_find(const char *name)
{
    for (size_t i = 0; i < PLACES_ALL; i++)
        if (strcmp(PLACES[i].name, name) == 0)
            return &PLACES[i];
    return NULL;
}

const struct place *place_serving(const char *service)
{
    for (size_t i = 0; i < PLACES_COUNT; i++)
        for (size_t s = 0; s < PLACE_SERVICES_MAX; s++)
            if (PLACES[i].services[s] != NULL &&
                strcmp(PLACES[i].services[s], service) == 0)
                return &PLACES[i];
    return NULL;
}

struct err place_asked(const struct cli *cli, const struct place **out)
{
    const char *name = cli->options[OPT_SERVICE];

    *out = cli->options[OPT_URL] != NULL ? &ELSEWHERE : NULL;
    if (name == NULL)
        return ERR_NONE;
    *out = place_find(name);
    if (*out != NULL)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "--service is \"%.80s\"; it must be orchestrator, inventory, "
                    "payment, gateway or webhook (for another server give --url and "
                    "--service-key)",
                    name);
}

const char *place_addresses(const struct cli *cli, const struct place *place)
{
    const struct settings *s = &cli->settings;

    if (cli->options[OPT_URL] != NULL)
        return cli->options[OPT_URL];
    return place->setting == NULL
               ? ""
               : *(char *const *)(const void *)((const char *)s + place->addresses);
}

/* ---- what ------------------------------------------------------------------------- */

static struct err read_protoset(struct cli *cli, struct catalogue *out)
{
    char *bytes = NULL;
    size_t size = 0;
    struct err e =
        file_read(cli->options[OPT_PROTOSET], SET_MAX, cli->arena, &bytes, &size);

    return failed(e) ? e : schema_read(bytes, size, cli->arena, &out->schema);
}

struct outcome catalogue_open(struct cli *cli, struct catalogue *out)
{
    *out = (struct catalogue){0};
    struct err e = place_asked(cli, &out->place);

    if (failed(e))
        return misused(e);
    if (cli->options[OPT_PROTOSET] != NULL)
        return misused(read_protoset(cli, out));
    if (cli->options[OPT_URL] == NULL && cli->options[OPT_REFLECT] == NULL)
        return local(
            schema_read(rpc_descriptors, rpc_descriptors_size, cli->arena, &out->schema));
    if (out->place == NULL)
        return misused(
            err_make(ERR_INVALID_ARGUMENT,
                     "--reflect needs to know which server to ask: --service "
                     "orchestrator, inventory, payment, gateway or webhook, or --url"));
    return reflect(cli, out);
}

bool catalogue_serves(const struct catalogue *catalogue, const char *service)
{
    for (size_t i = 0; i < catalogue->served_count; i++)
        if (strcmp(catalogue->served[i], service) == 0)
            return true;
    return catalogue->served == NULL;
}

struct err method_find(const struct catalogue *catalogue, const char *name,
                       struct found_method *out)
{
    struct err e =
        schema_find(catalogue->schema, name, 1U << SYMBOL_METHOD, &out->symbol);

    if (failed(e))
        return e;
    out->name = out->symbol->name;
    out->method = out->symbol->of.method;
    out->place = catalogue->place;
    if (!catalogue_serves(catalogue, out->symbol->owner->name))
        return err_make(
            ERR_INVALID_ARGUMENT,
            "the server asked does not serve %s; see checkoutctl list with the "
            "same options",
            out->symbol->owner->name);
    if (!schema_may_unpack(catalogue->schema, out->method->output))
        return err_make(ERR_INVALID_ARGUMENT,
                        "%s answers with messages that contain themselves, which "
                        "checkoutctl does not read",
                        out->name);
    if (out->place == NULL)
        out->place = place_serving(out->symbol->owner->name);
    return ERR_NONE;
}

struct err method_place(const struct found_method *method)
{
    if (method->place != NULL)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "which server has %s? Say it with --service orchestrator, inventory, "
                    "payment, gateway or webhook, or with --url",
                    method->symbol->owner->name);
}

bool method_reads(const struct found_method *method)
{
    static const char *const beginnings[] = {"Get", "List", "Check", "Describe", "Read"};

    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncmp(method->method->name, beginnings[i], strlen(beginnings[i])) == 0)
            return true;
    return false;
}
