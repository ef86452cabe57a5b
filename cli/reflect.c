/* reflect.c - see reflect.h. */
#include "cli/reflect.h"

struct outcome reflect(struct cli *cli, struct catalogue *out)
{
    (void)cli;
    (void)out;
    return remote(err_make(ERR_UNIMPLEMENTED, "this server does not describe itself"));
}
