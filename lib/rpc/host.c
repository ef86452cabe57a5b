/* host.c - see host.h. */
#include "rpc/host.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/process.h"
#include "rpc/callbacks.h"

struct err host_open(struct host *host, const struct host_settings *settings)
{
    struct err e = key_read(settings->key_file, &host->key);

    return failed(e)
               ? e
               : peers_read(settings->callers_file, true, host->key, &host->callers);
}

struct err host_serve(struct host *host, const struct host_settings *settings,
                      ProtobufCService *service, struct err (*health)(void *arg),
                      void *arg)
{
    const struct rpc_server_config config = {
        .url = settings->listen_url,
        .key = host->key,
        .callers = host->callers,
        .services = &service,
        .service_count = 1,
        .in_flight_max = (size_t)settings->in_flight_max,
        .health = health,
        .health_arg = arg,
    };
    struct err e = rpc_server_start(&config, &host->server);

    if (!failed(e))
        log_info("serving", "url=%s", settings->listen_url);
    return e;
}

void host_stop_serving(struct host *host, int64_t drain_ms)
{
    rpc_server_stop(host->server, drain_ms);
    host->server = NULL;
}

void host_close(struct host *host)
{
    peers_free(host->callers);
    key_free(host->key);
}

int host_main(const struct conf_table *table, int argc, char **argv, void *settings,
              struct err (*start)(void *environment), void (*stop)(void *environment),
              void *environment)
{
    process_start();
    log_start(table->program, LOG_INFO);
    struct err e = conf_read(table, argc, argv, settings);
    if (!failed(e)) {
        struct callbacks *callbacks = callbacks_on_one_thread();
        e = start(environment);
        if (!failed(e))
            log_info("stopping", "signal=%d", process_wait_stop());
        stop(environment);
        callbacks_release(callbacks);
    }
    if (failed(e))
        log_error("cannot_start", "error=\"%s\"", e.message);
    conf_free(table, settings);
    return failed(e) ? EXIT_FAILURE : EXIT_SUCCESS;
}
