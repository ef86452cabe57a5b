/* host.c - see host.h. */
#include "rpc/service/runtime.h"

#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program/process.h"
#include "rpc/auth/certificates.h"
#include "rpc/auth/follow.h"
#include "rpc/auth/key.h"

/* For closing sockets, files and threads, beyond what the settings allow for; above the time
 * that a socket of nng's is given (closing.h). */
enum { CLOSING_MS = 15000 };

struct err runtime_open(struct runtime *host, const struct runtime_settings *settings)
{
    struct err e = key_read(settings->key_file, &host->key);

    host->key_file = settings->key_file;
    host->metrics = metrics_new();
    if (failed(e) || settings->callers_file[0] == '\0')
        return e;
    return peers_read(settings->callers_file, true, host->key, &host->callers);
}

static struct err use_callers(void *server, const struct peers *callers)
{
    rpc_server_set_callers(server, callers);
    return ERR_NONE;
}

struct err runtime_serve(struct runtime *host, const struct runtime_settings *settings,
                         ProtobufCService *service, struct err (*health)(void *arg),
                         void *arg)
{
    return runtime_serve_all(host, settings, &service, 1, health, arg);
}

struct err runtime_serve_all(struct runtime *host,
                             const struct runtime_settings *settings,
                             ProtobufCService *const *services, size_t count,
                             struct err (*health)(void *arg), void *arg)
{
    const struct rpc_server_config config = {
        .url = settings->listen_url,
        .tls = settings->tls,
        .callers = host->callers,
        .services = services,
        .service_count = count,
        .in_flight_max = (size_t)settings->in_flight_max,
        .health = health,
        .health_parts = host->health_parts,
        .health_arg = arg,
        .metrics = host->metrics,
        .caller_in_flight_max = (size_t)settings->caller_in_flight_max,
        .caller_per_second = (uint32_t)settings->caller_per_second,
        .access_log = settings->access_log,
    };
    struct err e = rpc_server_start(&config, &host->server);

    if (!failed(e))
        e = follow_start(&(struct follow_config){.path = settings->callers_file,
                                                 .callers = true,
                                                 .key = host->key,
                                                 .settle_ms = FOLLOW_SETTLE_MS,
                                                 .use = use_callers,
                                                 .arg = host->server},
                         &host->follow);
    if (!failed(e))
        log_info("serving", "url=%s", settings->listen_url);
    return e;
}

static struct err use_certificates(void *arg, const struct tls_pem *pem)
{
    const struct runtime *host = arg;
    struct err e =
        host->server == NULL ? ERR_NONE : rpc_server_set_tls(host->server, pem);

    return failed(e) || host->use_tls == NULL ? e : host->use_tls(host->use_tls_arg, pem);
}

struct err runtime_follow_tls(struct runtime *host,
                              const struct runtime_settings *settings,
                              struct err (*use)(void *arg, const struct tls_pem *pem),
                              void *arg)
{
    host->use_tls = use;
    host->use_tls_arg = arg;
    return certificates_start(&(struct certificates_config){.files = settings->tls,
                                                            .settle_ms = FOLLOW_SETTLE_MS,
                                                            .use = use_certificates,
                                                            .arg = host},
                              &host->certificates);
}

/* The file's.  A name is another's in every list, so it does not change while we run. */
static struct err read_key(const struct runtime *host, struct key **out)
{
    struct key *key = NULL;
    struct err e = key_read(host->key_file, &key);

    if (!failed(e) && strcmp(key_name(key), key_name(host->key)) != 0)
        e = err_make(ERR_INVALID_ARGUMENT, "%s is for '%s', and we are '%s'",
                     host->key_file, key_name(key), key_name(host->key));
    if (failed(e))
        key_free(key);
    else
        *out = key;
    return e;
}

/* A new one is answered beside the one before it, which is forgotten when the file is found
 * unchanged: by the next SIGHUP. */
static bool take_key(struct runtime *host, struct key *now)
{
    struct key *before = host->key;
    bool another = memcmp(key_public(now), key_public(before), KEY_PUBLIC_SIZE) != 0;

    if (another) {
        key_succeed(now, before);
        log_line(LOG_INFO, "key_taken",
                 "path=%s note=\"who calls by the one before is answered until the next "
                 "SIGHUP\"",
                 host->key_file);
    } else if (key_earlier(before) != NULL) {
        log_line(LOG_INFO, "earlier_key_forgotten", "path=%s", host->key_file);
    }
    host->key = now;
    key_free(before);
    return another;
}

bool runtime_reload(struct runtime *host)
{
    struct key *now = NULL;
    bool another = false;
    struct err e = read_key(host, &now);

    if (failed(e))
        log_line(LOG_ERROR, "key_not_read_again",
                 "error=%s note=\"the one that was read stays\"", e.message);
    else
        another = take_key(host, now);
    follow_now(host->follow, host->key);
    certificates_now(host->certificates);
    return another;
}

struct derived {
    struct derived *next;
    uint8_t bytes[KEY_SHARED_SIZE];
};

const uint8_t *runtime_derive(struct runtime *host, const char *purpose)
{
    struct derived *derived = sodium_malloc(sizeof *derived);

    if (derived == NULL)
        return NULL;
    key_derive(host->key, purpose, derived->bytes);
    derived->next = host->derived;
    host->derived = derived;
    return derived->bytes;
}

bool runtime_stop_serving(struct runtime *host, int64_t drain_ms)
{
    follow_stop(host->follow);
    host->follow = NULL;
    certificates_stop(host->certificates);
    host->certificates = NULL;
    bool all_answered = rpc_server_stop(host->server, drain_ms);
    host->server = NULL;
    return all_answered;
}

void runtime_close(struct runtime *host)
{
    struct derived *derived;

    while ((derived = host->derived) != NULL) {
        host->derived = derived->next;
        sodium_free(derived);
    }
    peers_free(host->callers);
    key_free(host->key);
    metrics_free(host->metrics);
}

/* Waits for the signal, and ends in the time that the settings allow.  False: failed. */
static bool serve_and_stop(const struct runtime_program *program)
{
    const int64_t within_ms = program->stop_ms(program->environment) + CLOSING_MS;
    int signal;

    while ((signal = process_wait_signal()) == SIGHUP) {
        log_info("reloading", "signal=%d", signal);
        program->reload(program->environment);
    }
    log_info("stopping", "signal=%d within_ms=%" PRId64, signal, within_ms);
    process_end_within(within_ms);
    return program->stop(program->environment);
}

int runtime_main(const struct runtime_program *program, int argc, char **argv)
{
    bool whole = false;

    process_start();
    log_start(program->table->program, LOG_INFO);
    struct err e = conf_read(program->table, argc, argv, program->settings);
    if (!failed(e))
        e = log_use_format(conf_text(program->table, "log_format", program->settings));
    if (!failed(e)) {
        e = program->start(program->environment);
        if (failed(e)) {
            process_end_within(CLOSING_MS);
            (void)program->stop(program->environment);
        } else {
            whole = serve_and_stop(program);
        }
    }
    if (failed(e))
        log_line(LOG_ERROR, "cannot_start", "error=%s", e.message);
    conf_free(program->table, program->settings);
    return whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
