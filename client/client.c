/* client.c - opening and closing a client: checkout_client_open in checkout/client.h. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "client/calls.h"
#include "rpc/auth/reload.h"
#include "rpc/client/channel.h"

enum {
    IN_FLIGHT_DEFAULT = 1024,
    TIMEOUT_DEFAULT_MS = 10000,
};

/* A library says nothing on standard error: what matters is in the errors. */
static void be_quiet(void)
{
    log_start("checkout-client", (enum log_level)(LOG_ERROR + 1));
}

static struct err open_channel(checkout_client *client,
                               const struct checkout_client_config *config,
                               enum callee callee, const char *service,
                               const char *addresses)
{
    if (addresses == NULL)
        return ERR_NONE;
    return channel_open(
        &(struct channel_config){
            .service = service,
            .addresses = addresses,
            .key = client->key,
            .services = client->services,
            .in_flight_max =
                config->in_flight_max != 0 ? config->in_flight_max : IN_FLIGHT_DEFAULT,
            .tls = {config->tls_cert, config->tls_key, config->tls_ca},
        },
        &client->channels[callee]);
}

static struct err use_services(void *arg, const struct principals *services)
{
    checkout_client *client = arg;
    struct err e = ERR_NONE;

    for (int c = 0; c < CALL_CALLEES && !failed(e); c++)
        if (client->channels[c] != NULL)
            e = channel_set_services(client->channels[c], services);
    return e;
}

static struct err open_parts(checkout_client *client,
                             const struct checkout_client_config *config)
{
    struct err e = key_read(config->key_file, &client->key);

    if (!failed(e))
        e = principals_read(config->services_file, false, client->key, &client->services);
    if (!failed(e))
        e = open_channel(client, config, CALL_ORCHESTRATOR, "orchestrator",
                         config->orchestrator_addresses);
    if (!failed(e))
        e = open_channel(client, config, CALL_INVENTORY, "inventory",
                         config->inventory_addresses);
    if (failed(e))
        return e;
    return follow_start(&(struct follow_config){.path = config->services_file,
                                                .key = client->key,
                                                .settle_ms = FOLLOW_SETTLE_MS,
                                                .use = use_services,
                                                .arg = client},
                        &client->follow);
}

enum checkout_status checkout_client_open(const struct checkout_client_config *config,
                                          checkout_client **out,
                                          struct checkout_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct checkout_client_config whole = {0};

    *out = NULL;
    pthread_once(&once, be_quiet);
    /* A program built with an older header has fewer fields; the others are zero. */
    memcpy(&whole, config, config->size < sizeof whole ? config->size : sizeof whole);
    if (whole.key_file == NULL || whole.services_file == NULL ||
        whole.orchestrator_addresses == NULL)
        return put_status(error, err_make(ERR_INVALID_ARGUMENT,
                                          "a client needs key_file, services_file and "
                                          "orchestrator_addresses"));
    checkout_client *client = calloc(1, sizeof *client);
    if (client == NULL)
        return put_status(error, err_memory());
    client->timeout_ms = whole.timeout_ms != 0 ? whole.timeout_ms : TIMEOUT_DEFAULT_MS;
    struct err e = open_parts(client, &whole);
    if (failed(e))
        checkout_client_close(client);
    else
        *out = client;
    return put_status(error, e);
}

void checkout_client_close(checkout_client *client)
{
    if (client == NULL)
        return;
    follow_stop(client->follow);
    for (int c = 0; c < CALL_CALLEES; c++)
        channel_close(client->channels[c]);
    principals_free(client->services);
    key_free(client->key);
    free(client);
}
