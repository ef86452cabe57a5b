/* reflect.h - a server's own account of its services and types. */
#pragma once

#include "cli/catalogue.h"

/* Asks the server at out->place (rpc.v1.Reflection/Describe) and fills the rest. */
struct outcome reflect(struct cli *cli, struct catalogue *out)
    __attribute__((warn_unused_result));
