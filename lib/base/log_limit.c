/* log_limit.c - see log_limit.h. */
#include "base/log_limit.h"

#include <stdatomic.h>
#include <stddef.h>

#include "base/clock.h"

enum { KINDS = 256 };

struct kind {
    atomic_uint_fast64_t hash;   /* of the event's name; 0: free */
    atomic_int_fast64_t next_ms; /* not logged before; clock_monotonic_ms */
    atomic_uint_fast64_t total, untold;
};

/* Of the process, like the log itself. */
static struct kind kinds[KINDS];

static uint64_t hash_of(const char *event)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */

    for (const char *c = event; *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    return hash != 0 ? hash : 1;
}

/* NULL when there is no room. */
static struct kind *find(const char *event)
{
    const uint64_t hash = hash_of(event);

    for (size_t i = 0; i < KINDS; i++) {
        struct kind *kind = &kinds[(hash + i) % KINDS];
        uint_fast64_t there = atomic_load(&kind->hash);
        if (there == 0)
            (void)atomic_compare_exchange_strong(&kind->hash, &there, hash);
        if (atomic_load(&kind->hash) == hash)
            return kind;
    }
    return NULL;
}

bool log_limit_pass(const char *event, uint64_t *total)
{
    struct kind *kind = find(event);
    int_fast64_t now = clock_monotonic_ms();

    *total = 0;
    if (kind == NULL)
        return true;
    uint64_t count = atomic_fetch_add(&kind->total, 1) + 1;
    int_fast64_t next = atomic_load(&kind->next_ms);
    if (now < next ||
        !atomic_compare_exchange_strong(&kind->next_ms, &next, now + LOG_LIMIT_MS)) {
        atomic_fetch_add(&kind->untold, 1);
        return false;
    }
    if (atomic_exchange(&kind->untold, 0) > 0)
        *total = count;
    return true;
}
