/* json.c - see json.h. */
#include "base/json.h"

#include <stdbool.h>
#include <stdlib.h>

/* jansson's allocator is told of no context, so what it came to is kept by thread. */
static _Thread_local bool memory_short;

static void *watched_malloc(size_t size)
{
    void *bytes = malloc(size);

    memory_short |= bytes == NULL;
    return bytes;
}

void json_memory_watch(void)
{
    json_set_alloc_funcs(watched_malloc, free);
}

struct err json_parse(const char *bytes, size_t size, json_t **out)
{
    json_error_t error = {0};

    memory_short = false;
    *out = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
    if (memory_short) {
        json_decref(*out);
        *out = NULL;
        return err_memory();
    }
    if (*out == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "not valid JSON at line %d, column %d: %s.",
                        error.line, error.column, error.text);
    return ERR_NONE;
}
