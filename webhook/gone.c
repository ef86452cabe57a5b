/* gone.c - see gone.h. */
#include "webhook/gone.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "webhook/pending.h"

enum { HASH_BYTES = 16, HASH_SIZE = 2 * HASH_BYTES + 1, MARK_MAX = 256, PATH_SIZE = 512 };

static void hash_of(const char *url, char out[HASH_SIZE])
{
    uint8_t hash[HASH_BYTES];

    crypto_generichash(hash, sizeof hash, (const uint8_t *)url, strlen(url), NULL, 0);
    sodium_bin2hex(out, HASH_SIZE, hash, sizeof hash);
}

static void path_of(const char *folder, const struct endpoint *endpoint,
                    char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%s.gone", folder, endpoint->name);
}

/* Whether the mark is of that URL; one that cannot be understood is of any. */
static bool is_of(const char *text, size_t size, const char *url)
{
    json_t *json = NULL;
    char hash[HASH_SIZE];
    struct err e = json_parse(text, size, &json);
    const char *marked = json_string_value(json_object_get(json, "url_hash"));

    hash_of(url, hash);
    bool same = failed(e) || marked == NULL || strcmp(marked, hash) == 0;
    json_decref(json);
    return same;
}

struct err gone_look(const char *folder, const struct endpoint *endpoint, bool *gone)
{
    char path[PATH_SIZE], text[MARK_MAX];

    *gone = false;
    path_of(folder, endpoint, path);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        return errno == ENOENT ? ERR_NONE : pending_failed("read", path);
    size_t size = fread(text, 1, sizeof text, file);
    fclose(file);
    *gone = is_of(text, size, endpoint->url);
    return *gone || unlink(path) == 0 || errno == ENOENT
               ? ERR_NONE
               : pending_failed("removed", path);
}

struct err gone_mark(const char *folder, const struct endpoint *endpoint)
{
    char path[PATH_SIZE], hash[HASH_SIZE];

    path_of(folder, endpoint, path);
    hash_of(endpoint->url, hash);
    json_t *json =
        json_pack("{s:s, s:I}", "url_hash", hash, "at_ms", (json_int_t)clock_wall_ms());
    struct err e = json == NULL ? err_memory() : pending_replace(path, json);
    json_decref(json);
    return e;
}
