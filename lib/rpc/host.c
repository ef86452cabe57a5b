/* host.c - see host.h. */
#include "rpc/host.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/process.h"
#include "rpc/follow.h"

enum { STOP_SECONDS = 25 }; /* less than the supervisor's patience */

struct err host_open(struct host *host, const struct host_settings *settings)
{
    struct err e = key_read(settings->key_file, &host->key);

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

struct err host_serve(struct host *host, const struct host_settings *settings,
                      ProtobufCService *service, struct err (*health)(void *arg),
                      void *arg)
{
    return host_serve_all(host, settings, &service, 1, health, arg);
}

struct err host_serve_all(struct host *host, const struct host_settings *settings,
                          ProtobufCService *const *services, size_t count,
                          struct err (*health)(void *arg), void *arg)
{
    const struct rpc_server_config config = {
        .url = settings->listen_url,
        .tls = settings->tls,
        .key = host->key,
        .callers = host->callers,
        .services = services,
        .service_count = count,
        .in_flight_max = (size_t)settings->in_flight_max,
        .health = health,
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
                                                 .every_ms = FOLLOW_EVERY_MS,
                                                 .use = use_callers,
                                                 .arg = host->server},
                         &host->follow);
    if (!failed(e))
        log_info("serving", "url=%s", settings->listen_url);
    return e;
}

void host_stop_serving(struct host *host, int64_t drain_ms)
{
    follow_stop(host->follow);
    host->follow = NULL;
    rpc_server_stop(host->server, drain_ms);
    host->server = NULL;
}

void host_close(struct host *host)
{
    peers_free(host->callers);
    key_free(host->key);
    metrics_free(host->metrics);
}

int host_main(const struct conf_table *table, int argc, char **argv, void *settings,
              struct err (*start)(void *environment), void (*stop)(void *environment),
              void *environment)
{
    process_start();
    log_start(table->program, LOG_INFO);
    struct err e = conf_read(table, argc, argv, settings);
    if (!failed(e))
        e = log_use_format(conf_text(table, "log_format", settings));
    if (!failed(e)) {
        e = start(environment);
        if (!failed(e))
            log_info("stopping", "signal=%d", process_wait_stop());
        process_end_within(STOP_SECONDS);
        stop(environment);
    }
    if (failed(e))
        log_error("cannot_start", "error=%s", e.message);
    conf_free(table, settings);
    return failed(e) ? EXIT_FAILURE : EXIT_SUCCESS;
}
