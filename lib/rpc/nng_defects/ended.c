/* ended.c - see ended.h. */
#include "rpc/nng_defects/ended.h"

#include <stdatomic.h>

/* Of the process, as what it is about is: all sockets share the thread that frees connections. */
static atomic_uint_fast64_t ended;

void ended_count(void)
{
    atomic_fetch_add_explicit(&ended, 1, memory_order_relaxed);
}

uint64_t ended_so_far(void)
{
    return atomic_load_explicit(&ended, memory_order_relaxed);
}
