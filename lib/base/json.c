/* json.c - see json.h. */
#include "base/json.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* jansson's allocator has no context argument, hence per thread. */
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

struct err json_parse_file(FILE *file, json_t **out)
{
    struct stat status;

    *out = NULL;
    if (fstat(fileno(file), &status) != 0)
        return err_make(ERR_UNAVAILABLE, "the file cannot be read: %s.", strerror(errno));
    const size_t most = (size_t)status.st_size;
    char *bytes = malloc(most + 1); /* never 0 */
    if (bytes == NULL)
        return err_memory();
    const size_t size = fread(bytes, 1, most, file);
    struct err e =
        ferror(file)
            ? err_make(ERR_UNAVAILABLE, "the file cannot be read: %s.", strerror(errno))
            : json_parse(bytes, size, out);
    free(bytes);
    return e;
}
