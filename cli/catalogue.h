/*
 * catalogue.h - the services, methods and types that can be called.
 *
 * They come from one of three sources,
 *   1. --protoset FILE, a FileDescriptorSet made by protoc
 *   2. the server's own description (rpc.v1.Reflection), with --url or --reflect
 *   3. else the contract that checkoutctl was built with.
 * In all cases messages are built from its descriptors at run time (schema.h).
 */
#pragma once

#include "cli/remote.h"
#include "cli/schema/schema.h"

struct catalogue {
    const struct schema *schema;
    const struct place *place; /* the server that described it; NULL: none, or all */
    char **served;             /* names of the services there; NULL: all in the schema */
    size_t served_count;
};

/* The services and types of this run, in cli->arena. */
struct outcome catalogue_open(struct cli *cli, struct catalogue *out)
    __attribute__((warn_unused_result));

/* Whether a service of the schema can be called. */
bool catalogue_serves(const struct catalogue *catalogue, const char *service);

struct found_method {
    const struct place *place; /* NULL for what every service has, when none was named */
    const struct symbol *symbol;
    struct method method;                    /* its full name, and its reply */
    const ProtobufCMessageDescriptor *input; /* its request */
};

/*
 * The method of a name: inventory.v1.Inventory/GetStock, or its end where that is
 * unambiguous: Inventory/GetStock, GetStock.  INVALID_ARGUMENT when none or several
 * match.
 */
struct err method_find(const struct catalogue *catalogue, const char *name,
                       struct found_method *out) __attribute__((warn_unused_result));

/* The same; fails also when the place to call it at is unknown.  INVALID_ARGUMENT. */
struct err method_place(const struct found_method *method)
    __attribute__((warn_unused_result));

/* Whether a method only reads, by its name: Get..., List..., Check, Describe, Read. */
bool method_reads(const struct found_method *method);

/* The method of the command's first word. */
struct outcome request_method(struct cli *cli, struct found_method *out)
    __attribute__((warn_unused_result));

/* The JSON of the second word: itself, @FILE, or - and @- for standard input; {} when
 * there is none.  Followed by a zero byte. */
struct err request_text(const struct cli *cli, const char **text, size_t *size)
    __attribute__((warn_unused_result));
