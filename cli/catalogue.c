/* catalogue.c - see catalogue.h. */
#include "cli/catalogue.h"

#include <stddef.h>
#include <string.h>

#include "proto/events.pb-c.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"
#include "proto/rpc.pb-c.h"

#define ADDRESSES(of) offsetof(struct settings, of##_addresses), #of "_addresses"

const struct place PLACES[] = {
    {"orchestrator", ADDRESSES(orchestrator),
     {&orders__v1__orders__descriptor, &events__v1__events__descriptor}},
    {"inventory", ADDRESSES(inventory), {&inventory__v1__inventory__descriptor}},
    {"payment", ADDRESSES(payment), {&payment__v1__payment__descriptor}},
};

const size_t PLACES_COUNT = sizeof PLACES / sizeof *PLACES;

const struct place *place_find(const char *name)
{
    for (size_t i = 0; i < PLACES_COUNT; i++)
        if (strcmp(PLACES[i].name, name) == 0)
            return &PLACES[i];
    return NULL;
}

static void each_of(const struct place *place, const ProtobufCServiceDescriptor *service,
                    void (*each)(void *, const struct found_method *), void *arg)
{
    for (unsigned i = 0; i < service->n_methods; i++)
        each(arg, &(struct found_method){place, service, &service->methods[i]});
}

void methods_each(void (*each)(void *arg, const struct found_method *method), void *arg)
{
    for (size_t i = 0; i < PLACES_COUNT; i++)
        for (size_t s = 0; s < PLACE_SERVICES_MAX && PLACES[i].services[s] != NULL; s++)
            each_of(&PLACES[i], PLACES[i].services[s], each, arg);
    each_of(NULL, &rpc__v1__health__descriptor, each, arg);
}

/* Whether `name` is all of "package.Service/Method", or its end after a '.' or '/'. */
static bool names(const char *name, const struct found_method *m)
{
    char full[256];

    snprintf(full, sizeof full, "%s/%s", m->service->name, m->method->name);
    size_t all = strlen(full), end = strlen(name);
    if (end == 0 || end > all || strcmp(full + all - end, name) != 0)
        return false;
    return end == all || full[all - end - 1] == '.' || full[all - end - 1] == '/';
}

struct search {
    const char *name;
    struct found_method *out;
    int count;
};

static void compare(void *arg, const struct found_method *method)
{
    struct search *search = arg;

    if (names(search->name, method)) {
        *search->out = *method;
        search->count++;
    }
}

struct err method_find(const char *name, struct found_method *out)
{
    struct search search = {.name = name, .out = out};

    methods_each(compare, &search);
    if (search.count == 0)
        return err_make(ERR_INVALID_ARGUMENT,
                        "there is no method \"%s\"; see checkoutctl list", name);
    if (search.count > 1)
        return err_make(
            ERR_INVALID_ARGUMENT,
            "%d methods are called \"%s\"; give more of the name, see checkoutctl "
            "list",
            search.count, name);
    return ERR_NONE;
}
