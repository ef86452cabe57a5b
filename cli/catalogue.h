/* catalogue.h - the services compiled in: their methods, and where to call them. */
#pragma once

#include <protobuf-c/protobuf-c.h>

#include "cli/cli.h"

enum { PLACE_SERVICES_MAX = 2 };

/* One program that runs somewhere, as known_services and the settings name it. */
struct place {
    const char *name;    /* "inventory" */
    size_t addresses;    /* offset of its setting in struct settings */
    const char *setting; /* that setting's name, for sentences */
    /* What it serves, besides rpc.v1.Health; NULL where there are fewer. */
    const ProtobufCServiceDescriptor *services[PLACE_SERVICES_MAX];
};

extern const struct place PLACES[];
extern const size_t PLACES_COUNT;

struct found_method {
    const struct place *place; /* NULL for what every service has: rpc.v1.Health */
    const ProtobufCServiceDescriptor *service;
    const ProtobufCMethodDescriptor *method;
};

/* The place of that name; NULL when there is none. */
const struct place *place_find(const char *name);

/*
 * The method of a name: inventory.v1.Inventory/GetStock, or its end where that is
 * unambiguous: Inventory/GetStock, GetStock.  INVALID_ARGUMENT when none or several
 * match.
 */
struct err method_find(const char *name, struct found_method *out)
    __attribute__((warn_unused_result));

/* Calls `each` with every method there is. */
void methods_each(void (*each)(void *arg, const struct found_method *method), void *arg);
