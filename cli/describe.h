/* describe.h - what list and describe share. */
#pragma once

#include <jansson.h>

#include "cli/catalogue.h"

/* The service that is found at a place, for its name; any other word as it is. */
const char *describe_service_name(const char *word);

/* A service's method, in the order of the .proto. */
const struct symbol *describe_method_symbol(const struct schema *schema,
                                            const ProtobufCServiceDescriptor *service,
                                            unsigned index);

/* Its name, comment, and types; NULL when memory is short. */
json_t *describe_method(const struct symbol *method);
