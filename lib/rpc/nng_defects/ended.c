/* ended.c - see nng_defects.h; a separate file, because libcheckout-client takes nothing
 * else from here. */
#include "rpc/nng_defects/nng_defects.h"

#include <stdatomic.h>

static atomic_uint_fast64_t ended;

void connection_ended(void)
{
    atomic_fetch_add_explicit(&ended, 1, memory_order_relaxed);
}

uint64_t connections_ended(void)
{
    return atomic_load_explicit(&ended, memory_order_relaxed);
}
