/* runtime.c - see runtime.h. */
#include "rpc/service/runtime.h"

#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/program/process.h"
#include "rpc/auth/reload.h"

/* For closing sockets, files and threads, in addition to what the settings allow; longer
 * than close_in_time may take (nng_defects.h). */
enum { CLOSING_MS = 15000 };

struct err runtime_open(struct runtime *runtime, const struct runtime_settings *settings)
{
    struct err e = key_read(settings->key_file, &runtime->key);

    runtime->key_file = settings->key_file;
    runtime->metrics = metrics_new();
    if (failed(e) || settings->callers_file[0] == '\0')
        return e;
    return principals_read(settings->callers_file, true, runtime->key, &runtime->callers);
}

static struct err use_callers(void *server, const struct principals *callers)
{
    rpc_server_set_callers(server, callers);
    return ERR_NONE;
}

struct err runtime_serve(struct runtime *runtime, const struct runtime_settings *settings,
                         ProtobufCService *service, struct err (*health)(void *arg),
                         void *arg)
{
    return runtime_serve_all(runtime, settings, &service, 1, health, arg);
}

struct err runtime_serve_all(struct runtime *runtime,
                             const struct runtime_settings *settings,
                             ProtobufCService *const *services, size_t count,
                             struct err (*health)(void *arg), void *arg)
{
    const struct rpc_server_config config = {
        .url = settings->listen_url,
        .tls = settings->tls,
        .callers = runtime->callers,
        .services = services,
        .service_count = count,
        .in_flight_max = (size_t)settings->in_flight_max,
        .health = health,
        .health_parts = runtime->health_parts,
        .health_arg = arg,
        .metrics = runtime->metrics,
        .caller_in_flight_max = (size_t)settings->caller_in_flight_max,
        .caller_per_second = (uint32_t)settings->caller_per_second,
        .access_log = settings->access_log,
    };
    struct err e = rpc_server_start(&config, &runtime->server);

    if (!failed(e))
        e = follow_start(&(struct follow_config){.path = settings->callers_file,
                                                 .callers = true,
                                                 .key = runtime->key,
                                                 .settle_ms = FOLLOW_SETTLE_MS,
                                                 .use = use_callers,
                                                 .arg = runtime->server},
                         &runtime->follow);
    if (!failed(e))
        log_info("serving", "url=%s", settings->listen_url);
    return e;
}

static struct err use_certificates(void *arg, const struct tls_pem *pem)
{
    const struct runtime *runtime = arg;
    struct err e =
        runtime->server == NULL ? ERR_NONE : rpc_server_set_tls(runtime->server, pem);

    return failed(e) || runtime->use_tls == NULL
               ? e
               : runtime->use_tls(runtime->use_tls_arg, pem);
}

struct err runtime_follow_tls(struct runtime *runtime,
                              const struct runtime_settings *settings,
                              struct err (*use)(void *arg, const struct tls_pem *pem),
                              void *arg)
{
    runtime->use_tls = use;
    runtime->use_tls_arg = arg;
    return certificates_start(&(struct certificates_config){.files = settings->tls,
                                                            .settle_ms = FOLLOW_SETTLE_MS,
                                                            .use = use_certificates,
                                                            .arg = runtime},
                              &runtime->certificates);
}

/* Reads the key file.  Others know us by our name, so it does not change while we run. */
static struct err read_key(const struct runtime *runtime, struct key **out)
{
    struct key *key = NULL;
    struct err e = key_read(runtime->key_file, &key);

    if (!failed(e) && strcmp(key_name(key), key_name(runtime->key)) != 0)
        e = err_make(ERR_INVALID_ARGUMENT, "%s is for '%s', and we are '%s'",
                     runtime->key_file, key_name(key), key_name(runtime->key));
    if (failed(e))
        key_free(key);
    else
        *out = key;
    return e;
}

/* A new key becomes ours, and callers that still use the one before it are answered, too,
 * until the file is read again and has not changed: the next SIGHUP. */
static bool take_key(struct runtime *runtime, struct key *now)
{
    struct key *before = runtime->key;
    bool changed = memcmp(key_public(now), key_public(before), KEY_PUBLIC_SIZE) != 0;

    if (changed) {
        key_succeed(now, before);
        log_line(
            LOG_INFO, "key_reloaded",
            "path=%s note=\"callers that use the previous key are answered until the "
            "next SIGHUP\"",
            runtime->key_file);
    } else if (key_earlier(before) != NULL) {
        log_line(LOG_INFO, "earlier_key_dropped", "path=%s", runtime->key_file);
    }
    runtime->key = now;
    key_free(before);
    return changed;
}

bool runtime_reload(struct runtime *runtime)
{
    struct key *now = NULL;
    bool changed = false;
    struct err e = read_key(runtime, &now);

    if (failed(e))
        log_line(LOG_ERROR, "key_reload_failed",
                 "error=%s note=\"the previous key stays in use\"", e.message);
    else
        changed = take_key(runtime, now);
    follow_now(runtime->follow, runtime->key);
    certificates_now(runtime->certificates);
    return changed;
}

struct derived {
    struct derived *next;
    uint8_t bytes[KEY_SHARED_SIZE];
};

const uint8_t *runtime_derive(struct runtime *runtime, const char *purpose)
{
    struct derived *derived = sodium_malloc(sizeof *derived);

    if (derived == NULL)
        return NULL;
    key_derive(runtime->key, purpose, derived->bytes);
    derived->next = runtime->derived;
    runtime->derived = derived;
    return derived->bytes;
}

bool runtime_stop_serving(struct runtime *runtime, int64_t drain_ms)
{
    follow_stop(runtime->follow);
    runtime->follow = NULL;
    certificates_stop(runtime->certificates);
    runtime->certificates = NULL;
    bool all_answered = rpc_server_stop(runtime->server, drain_ms);
    runtime->server = NULL;
    return all_answered;
}

void runtime_close(struct runtime *runtime)
{
    struct derived *derived;

    while ((derived = runtime->derived) != NULL) {
        runtime->derived = derived->next;
        sodium_free(derived);
    }
    principals_free(runtime->callers);
    key_free(runtime->key);
    metrics_free(runtime->metrics);
}

/* Waits for the signal, and stops in the time that the settings allow.  False: something
 * was cut off. */
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
        log_line(LOG_ERROR, "start_failed", "error=%s", e.message);
    conf_free(program->table, program->settings);
    return whole ? EXIT_SUCCESS : EXIT_FAILURE;
}
