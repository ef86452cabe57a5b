/*
 * catalogue.h - where to call, and what can be called there.
 *
 * Where: one of the stack's services (PLACES), or the server of --url.
 * What: services and types from one of three sources,
 *   1. --protoset FILE, a FileDescriptorSet made by protoc
 *   2. what the server says of itself (rpc.v1.Reflection), with --url or --reflect
 *   3. else the contract that checkoutctl was built with.
 * Whatever the source, messages are built from its descriptors at run time (schema.h).
 */
#pragma once

#include "cli/cli.h"
#include "cli/schema.h"

enum { PLACE_SERVICES_MAX = 2 };

/* One program that runs somewhere, as known_services and the settings name it. */
struct place {
    const char *name;    /* "inventory" */
    size_t addresses;    /* offset of its setting in struct settings */
    const char *setting; /* that setting's name, for sentences; NULL: only by --url */
    /* What it serves beside rpc.v1, such as "inventory.v1.Inventory"; NULL: no more. */
    const char *services[PLACE_SERVICES_MAX];
};

/* First those that every stack has, then, up to PLACES_ALL, those that one without an
 * address for them has not. */
extern const struct place PLACES[];
extern const size_t PLACES_COUNT, PLACES_ALL;

/* The place of that name; NULL when there is none. */
const struct place *place_find(const char *name);

/* The place with the service of that full name; NULL when none or every one has it. */
const struct place *place_serving(const char *service);

/* The place of --service or --url; NULL when neither is given.  INVALID_ARGUMENT. */
struct err place_asked(const struct cli *cli, const struct place **out)
    __attribute__((warn_unused_result));

/* Where nng is to go: --url, or the place's setting. */
const char *place_addresses(const struct cli *cli, const struct place *place);

struct catalogue {
    const struct schema *schema;
    const struct place *place; /* whose word it is; NULL: nobody's, or of all */
    char **served;             /* names of the services there; NULL: all in the schema */
    size_t served_count;
};

/* The services and types of this run, in cli->arena. */
struct outcome catalogue_open(struct cli *cli, struct catalogue *out)
    __attribute__((warn_unused_result));

/* Whether a service of the schema is there to be called. */
bool catalogue_serves(const struct catalogue *catalogue, const char *service);

struct found_method {
    const struct place *place; /* NULL for what every service has, when none was named */
    const struct symbol *symbol;
    const char *name; /* full: "inventory.v1.Inventory/GetStock" */
    const ProtobufCMethodDescriptor *method;
};

/*
 * The method of a name: inventory.v1.Inventory/GetStock, or its end where that is
 * unambiguous: Inventory/GetStock, GetStock.  INVALID_ARGUMENT when none or several
 * match.
 */
struct err method_find(const struct catalogue *catalogue, const char *name,
                       struct found_method *out) __attribute__((warn_unused_result));

/* The same, and the place it is to be called at is known.  INVALID_ARGUMENT. */
struct err method_place(const struct found_method *method)
    __attribute__((warn_unused_result));

/* Whether a method only looks, by its name: Get..., List..., Check, Describe, Read. */
bool method_reads(const struct found_method *method);
