/* key_source.c - see key_source.h. */
#include "gateway/key_source.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/worker.h"
#include "gateway/fetch.h"
#include "base/file.h"
#include "gateway/jwks.h"
#include "gateway/jwt.h"

enum { FETCH_TIMEOUT_MS = 5000, HASH_SIZE = 32 };

struct key_source {
    char *file, *url; /* one of them is "" */
    struct jwt *jwt;
    struct worker *worker;
    /* the worker's, once it runs */
    uint8_t hash[HASH_SIZE]; /* of what was looked at last */
    bool warned;             /* that it cannot be read */
};

static const char *name_of(const struct key_source *s)
{
    return s->file[0] != '\0' ? s->file : s->url;
}

static struct err read_bytes(const struct key_source *s, char **bytes, size_t *size)
{
    if (s->file[0] != '\0')
        return file_read(s->file, JWKS_BYTES_MAX, bytes, size);
    return fetch(s->url, FETCH_TIMEOUT_MS, JWKS_BYTES_MAX, bytes, size);
}

static struct err take(struct key_source *s, const char *bytes, size_t size)
{
    uint8_t hash[HASH_SIZE];
    struct jwks *jwks;

    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, size, NULL, 0);
    if (memcmp(hash, s->hash, sizeof hash) == 0)
        return ERR_NONE;
    struct err e = jwks_parse(bytes, size, name_of(s), &jwks);
    if (failed(e))
        return e;
    memcpy(s->hash, hash, sizeof hash);
    log_info("keys_taken", "from=\"%s\" keys=%zu", name_of(s), jwks_count(jwks));
    jwt_renew(s->jwt, jwks);
    return ERR_NONE;
}

static struct err look(struct key_source *s)
{
    char *bytes;
    size_t size;
    struct err e = read_bytes(s, &bytes, &size);

    if (failed(e))
        return e;
    e = take(s, bytes, size);
    sodium_memzero(bytes, size); /* it may hold secrets of HS256 */
    free(bytes);
    return e;
}

static void look_again(void *arg)
{
    struct key_source *s = arg;
    struct err e = look(s);

    if (failed(e) && !s->warned)
        log_warn("keys_kept", "reason=\"%s\" note=\"the last good set stays\"",
                 e.message);
    s->warned = failed(e);
}

static struct err check(const struct key_source_config *config)
{
    if ((config->file[0] != '\0') == (config->url[0] != '\0'))
        return err_make(
            ERR_INVALID_ARGUMENT,
            "set one of jwks_file and jwks_url: where the keys of tokens are");
    return config->url[0] != '\0' ? fetch_check(config->url) : ERR_NONE;
}

struct err key_source_open(const struct key_source_config *config, struct jwt *jwt,
                           struct key_source **out)
{
    struct err e = check(config);

    *out = NULL;
    if (failed(e))
        return e;
    struct key_source *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_memory();
    s->jwt = jwt;
    s->file = strdup(config->file);
    s->url = strdup(config->url);
    e = s->file == NULL || s->url == NULL ? err_memory() : look(s);
    if (!failed(e))
        e = worker_start("keys", config->every_ms, look_again, s, &s->worker);
    if (failed(e))
        key_source_close(s);
    else
        *out = s;
    return e;
}

void key_source_close(struct key_source *source)
{
    if (source == NULL)
        return;
    worker_stop(source->worker);
    free(source->file);
    free(source->url);
    free(source);
}
