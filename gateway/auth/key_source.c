/* key_source.c - see key_source.h. */
#include "gateway/auth/key_source.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/program/file.h"
#include "base/program/worker.h"
#include "gateway/auth/jwks.h"
#include "gateway/auth/jwt.h"
#include "http/fetch.h"

enum { FETCH_TIMEOUT_MS = 5000, HASH_SIZE = 32 };

struct key_source {
    char *file, *url; /* one of them is "" */
    int64_t stale_ms;
    struct jwt *jwt;
    struct metrics *metrics;
    struct worker *worker;
    atomic_bool
        asked; /* by key_source_look: log the next failure even if logged before */
    atomic_int_fast64_t refreshed_ms; /* the last success, clock_monotonic_ms */
    /* used by the worker's thread only, once that runs */
    uint8_t hash[HASH_SIZE]; /* of the last bytes read */
    struct err verdict;      /* their result */
    bool warned;             /* of the current failure */
    bool alarmed;            /* of the current staleness */
};

static int64_t age_ms(const struct key_source *s)
{
    return clock_monotonic_ms() - atomic_load(&s->refreshed_ms);
}

static int64_t read_age(void *arg)
{
    return age_ms(arg);
}

static const char *name_of(const struct key_source *s)
{
    return s->file[0] != '\0' ? s->file : s->url;
}

static struct err read_bytes(const struct key_source *s, char **bytes, size_t *size)
{
    if (s->file[0] != '\0')
        return file_load(s->file, JWKS_BYTES_MAX, bytes, size);
    return fetch(s->url, FETCH_TIMEOUT_MS, JWKS_BYTES_MAX, bytes, size);
}

/* Parses only changed bytes; unchanged bytes keep their result, and are not logged
 * again. */
static struct err use(struct key_source *s, const char *bytes, size_t size)
{
    uint8_t hash[HASH_SIZE];
    struct jwks *jwks;

    crypto_generichash(hash, sizeof hash, (const unsigned char *)bytes, size, NULL, 0);
    if (memcmp(hash, s->hash, sizeof hash) == 0)
        return s->verdict;
    struct err e = jwks_parse(bytes, size, name_of(s), &jwks);
    if (e.code == ERR_RESOURCE_EXHAUSTED)
        return e;
    memcpy(s->hash, hash, sizeof hash);
    s->verdict = e;
    if (failed(e))
        return e;
    log_info("keys_loaded", "from=%s keys=%zu", name_of(s), jwks_count(jwks));
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
    e = use(s, bytes, size);
    sodium_memzero(bytes, size); /* it may hold secrets of HS256 */
    free(bytes);
    if (!failed(e))
        atomic_store(&s->refreshed_ms, clock_monotonic_ms());
    return e;
}

/* Logs when the set becomes stale and when it is fresh again. */
static void log_staleness(struct key_source *s, struct err last)
{
    const bool stale = key_source_stale(s);

    if (stale && !s->alarmed)
        log_line(LOG_ERROR, "keys_stale",
                 "from=%s age_s=%lld reason=%s note=\"a key withdrawn since is still "
                 "trusted, and a new key is still unknown\"",
                 name_of(s), (long long)age_ms(s) / 1000, last.message);
    if (!stale && s->alarmed)
        log_info("keys_refreshed", "from=%s", name_of(s));
    s->alarmed = stale;
}

static void look_again(void *arg)
{
    struct key_source *s = arg;
    struct err e = look(s);

    if (failed(e) && (atomic_exchange(&s->asked, false) || !s->warned))
        log_line(LOG_WARN, "keys_reload_failed",
                 "reason=%s note=\"the last good set stays in use\"", e.message);
    s->warned = failed(e);
    log_staleness(s, e);
}

static struct err check(const struct key_source_config *config)
{
    if ((config->file[0] != '\0') == (config->url[0] != '\0'))
        return err_make(
            ERR_INVALID_ARGUMENT,
            "set one of jwks_file and jwks_url: where the keys of tokens are");
    if (config->stale_ms <= config->every_ms)
        return err_make(ERR_INVALID_ARGUMENT,
                        "jwks_stale_ms is %lld; it must be more than jwks_every_ms, %lld",
                        (long long)config->stale_ms, (long long)config->every_ms);
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
    s->stale_ms = config->stale_ms;
    s->metrics = config->metrics;
    s->file = strdup(config->file);
    s->url = strdup(config->url);
    e = s->file == NULL || s->url == NULL ? err_memory() : look(s);
    if (!failed(e))
        e = worker_start("keys", config->every_ms, look_again, s, &s->worker);
    if (failed(e))
        key_source_close(s);
    else
        *out = s;
    if (!failed(e))
        metrics_gauge_read(s->metrics, "jwks_age_ms", "", read_age, s);
    return e;
}

bool key_source_stale(const struct key_source *source)
{
    return source != NULL && age_ms(source) >= source->stale_ms;
}

void key_source_look(struct key_source *source)
{
    if (source == NULL)
        return;
    atomic_store(&source->asked, true);
    worker_run_now(source->worker);
}

void key_source_close(struct key_source *source)
{
    if (source == NULL)
        return;
    worker_stop(source->worker);
    metrics_forget(source->metrics, source);
    free(source->file);
    free(source->url);
    free(source);
}
