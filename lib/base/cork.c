/* cork.c - see cork.h. */
#include "base/cork.h"

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>

enum { HELD_MAX = 32 };

static _Thread_local struct {
    int depth;
    uint64_t id; /* 0: not assigned yet */
    size_t count;
    struct {
        void (*flush)(void *arg);
        void *arg;
    } held[HELD_MAX];
} cork;

void cork_begin(void)
{
    if (cork.depth++ == 0)
        cork.id = 0;
}

uint64_t cork_id(void)
{
    static atomic_uint_fast64_t latest;

    if (cork.depth == 0)
        return 0;
    if (cork.id == 0)
        cork.id = atomic_fetch_add(&latest, 1) + 1;
    return cork.id;
}

/* A flush may hold others, or itself again; those are called in the same loop. */
void cork_end(void)
{
    assert(cork.depth > 0);
    if (cork.depth == 1) {
        for (size_t i = 0; i < cork.count; i++) {
            void (*flush)(void *arg) = cork.held[i].flush;
            cork.held[i].flush = NULL;
            flush(cork.held[i].arg);
        }
        cork.count = 0;
    }
    cork.depth--;
}

enum cork_result cork_hold(void (*flush)(void *arg), void *arg)
{
    if (cork.depth == 0)
        return CORK_NONE;
    for (size_t i = 0; i < cork.count; i++)
        if (cork.held[i].flush == flush && cork.held[i].arg == arg)
            return CORK_HELD;
    if (cork.count == HELD_MAX)
        return CORK_NONE;
    cork.held[cork.count].flush = flush;
    cork.held[cork.count++].arg = arg;
    return CORK_NEW;
}
