/* bus_nats.c - see bus_nats.h. */
#include "orchestrator/bus_nats.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/bus_nats_flight.h"
#include "orchestrator/bus_nats_stream.h"
#include "orchestrator/bus_nats_words.h"

/* A call connects and asks twice at most, or it publishes: BUS_NATS_WAIT_MS. */
enum {
    CONNECT_MS = 1000,
    WRITE_MS = 500,         /* until a server that reads nothing is given up */
    ACKNOWLEDGED_MS = 2000, /* for all that was published together */
    LOOK_EVERY_MS = 10000,  /* at the stream, which an operator may change at any time */
    SUBJECT_SIZE = 128,
    POSITION_SIZE = 24,
    SERVERS_MAX = 16,
};

struct bus_nats {
    struct bus_nats_config config;
    char *urls;                       /* a copy, of which the servers are parts */
    const char *servers[SERVERS_MAX]; /* tried one a time, in turn */
    size_t server_count, turn;
    natsOptions *options;
    natsConnection *connection; /* NULL while not connected */
    jsCtx *jetstream;
    int64_t looked_ms; /* when the stream was last looked at */
    struct flight flight;
};

/* ---- settings ---------------------------------------------------------------------- */

static struct err check(natsStatus status, const char *what, const char *file)
{
    if (status == NATS_OK)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "%s %s cannot be used: %s.", what, file,
                    nats_words(status));
}

/* The URL is not told: it may hold a password. */
static struct err read_servers(struct bus_nats *bus)
{
    char *rest = bus->urls = strdup(bus->config.url), *part;

    if (bus->urls == NULL)
        return err_memory();
    while ((part = strsep(&rest, ",")) != NULL && bus->server_count < SERVERS_MAX)
        if (*part != '\0')
            bus->servers[bus->server_count++] = part;
    return bus->server_count > 0
               ? ERR_NONE
               : err_make(ERR_INVALID_ARGUMENT, "nats_url names no server.");
}

static struct err set_files(natsOptions *options, const struct bus_nats_config *c)
{
    struct err e = ERR_NONE;

    if (c->credentials_file[0] != '\0')
        e = check(
            natsOptions_SetUserCredentialsFromFiles(options, c->credentials_file, NULL),
            "nats_credentials_file", c->credentials_file);
    if (!failed(e) && c->ca_file[0] != '\0') {
        e = check(natsOptions_LoadCATrustedCertificates(options, c->ca_file),
                  "nats_ca_file", c->ca_file);
        if (!failed(e))
            e = check(natsOptions_SetSecure(options, true), "nats_ca_file", c->ca_file);
    }
    if (!failed(e) && c->certificate_file[0] != '\0')
        e = check(
            natsOptions_LoadCertificatesChain(options, c->certificate_file, c->key_file),
            "nats_certificate_file", c->certificate_file);
    return e;
}

static struct err check_keep(int64_t keep_ms)
{
    if (keep_ms == 0 || keep_ms >= BUS_NATS_KEEP_LEAST_MS)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "nats_keep_ms must be 0, or %d or more, not %" PRId64 ".",
                    BUS_NATS_KEEP_LEAST_MS, keep_ms);
}

static struct err set_options(struct bus_nats *bus)
{
    natsStatus status = natsOptions_Create(&bus->options);

    if (status == NATS_OK)
        status = natsOptions_SetName(bus->options, "checkout orchestrator");
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(bus->options, CONNECT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(bus->options, false);
    if (status == NATS_OK)
        status = natsOptions_SetIgnoreDiscoveredServers(bus->options, true);
    if (status == NATS_OK)
        status = natsOptions_SetWriteDeadline(bus->options, WRITE_MS);
    if (status == NATS_OK)
        status = flight_listen(&bus->flight, bus->options);
    if (status != NATS_OK)
        return nats_unavailable("the options cannot be set", status);
    struct err e = read_servers(bus);
    return failed(e) ? e : set_files(bus->options, &bus->config);
}

struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
{
    struct bus_nats *bus = calloc(1, sizeof *bus);

    if (bus == NULL)
        return err_memory();
    bus->config = *config;
    flight_init(&bus->flight, config->stream, config->prefix);
    struct err e = check_keep(config->keep_ms);
    if (!failed(e))
        e = set_options(bus);
    if (failed(e))
        bus_nats_close(bus);
    else
        *out = bus;
    return e;
}

static void disconnect(struct bus_nats *bus)
{
    jsCtx_Destroy(bus->jetstream);
    natsConnection_Destroy(bus->connection);
    bus->jetstream = NULL;
    bus->connection = NULL;
}

void bus_nats_close(struct bus_nats *bus)
{
    if (bus == NULL)
        return;
    disconnect(bus);
    natsOptions_Destroy(bus->options);
    if (nats_CloseAndWait(BUS_NATS_WAIT_MS) != NATS_OK)
        return; /* a thread may still come here: rather leave it all */
    flight_destroy(&bus->flight);
    free(bus->urls);
    free(bus);
}

/* ---- connecting -------------------------------------------------------------------- */

static struct err look_at_stream(struct bus_nats *bus)
{
    bus->looked_ms = clock_monotonic_ms();
    return stream_ensure(bus->jetstream, &bus->config);
}

static struct err connect_to(struct bus_nats *bus)
{
    jsOptions options;
    const char *server = bus->servers[bus->turn++ % bus->server_count];
    natsStatus status = natsOptions_SetURL(bus->options, server);

    if (status == NATS_OK)
        status = natsConnection_Connect(&bus->connection, bus->options);
    if (status != NATS_OK)
        return nats_unavailable("the server cannot be reached", status);
    jsOptions_Init(&options);
    flight_take_answers(&bus->flight, &options);
    status = natsConnection_JetStream(&bus->jetstream, bus->connection, &options);
    if (status != NATS_OK)
        return nats_unavailable("JetStream cannot be used", status);
    struct err e = stream_check_size(natsConnection_GetMaxPayload(bus->connection),
                                     "the server's max_payload");
    return failed(e) ? e : look_at_stream(bus);
}

struct err bus_nats_ready(struct bus_nats *bus)
{
    if (bus->connection != NULL &&
        natsConnection_Status(bus->connection) == NATS_CONN_STATUS_CONNECTED)
        return ERR_NONE;
    disconnect(bus);
    struct err e = connect_to(bus);
    if (failed(e))
        disconnect(bus);
    else
        log_info("nats_connected", "stream=%s", bus->config.stream);
    return e;
}

/* ---- publishing -------------------------------------------------------------------- */

static natsStatus make_message(const struct bus_nats *bus, const struct event *event,
                               natsMsg **out)
{
    char subject[SUBJECT_SIZE], position[POSITION_SIZE];
    size_t size = event_json_size(event);
    char *json = malloc(size + 1);

    if (json == NULL)
        return NATS_NO_MEMORY;
    event_json(event, json, size + 1);
    snprintf(subject, sizeof subject, "%s.%s", bus->config.prefix, event->type);
    snprintf(position, sizeof position, "%" PRId64, event->position);
    natsStatus status = natsMsg_Create(out, subject, NULL, json, (int)size);
    free(json);
    if (status == NATS_OK)
        status = natsMsgHeader_Set(*out, "content-type", "application/cloudevents+json");
    if (status == NATS_OK)
        status = natsMsgHeader_Set(*out, FLIGHT_POSITION_HEADER, position);
    return status;
}

static natsStatus send_one(struct bus_nats *bus, const struct event *events, size_t i)
{
    natsMsg *message = NULL;
    jsPubOptions options;
    natsStatus status = make_message(bus, &events[i], &message);

    jsPubOptions_Init(&options);
    options.MsgId = events[i].id;
    options.ExpectStream = bus->config.stream;
    if (status == NATS_OK)
        status = js_PublishMsgAsync(bus->jetstream, &message, &options);
    natsMsg_Destroy(message);
    if (status != NATS_MAX_PAYLOAD)
        return status;
    flight_refuse(&bus->flight, i, natsStatus_GetText(status));
    return NATS_OK;
}

/* Of the first event of which it is not known whether it is stored, if there is one. */
static struct err judge(const struct event *events, const struct bus_delivery *deliveries,
                        size_t count, natsStatus status)
{
    for (size_t i = 0; i < count; i++)
        if (deliveries[i].answer == BUS_SILENT || deliveries[i].answer == BUS_DOUBTFUL)
            return err_make(ERR_UNAVAILABLE,
                            "NATS: the event %s at position %" PRId64
                            " is not acknowledged: %s.",
                            events[i].id, events[i].position,
                            deliveries[i].answer == BUS_DOUBTFUL ? deliveries[i].reason
                                                                 : nats_words(status));
    return ERR_NONE;
}

static bool all_stored(const struct bus_delivery *deliveries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!bus_stored(&deliveries[i]))
            return false;
    return true;
}

static struct err publish(struct bus_nats *bus, const struct event *events, size_t count,
                          struct bus_delivery *deliveries, int64_t until_ms)
{
    natsStatus status = NATS_OK;
    size_t sent = 0;

    flight_begin(&bus->flight, bus->jetstream, bus->connection, events, deliveries,
                 count);
    while (sent < count && (status = send_one(bus, events, sent)) == NATS_OK)
        sent++;
    flight_wait(&bus->flight, sent, until_ms);
    flight_end(&bus->flight);
    if (status == NATS_OK)
        status = natsConnection_Status(bus->connection) == NATS_CONN_STATUS_CONNECTED
                     ? NATS_TIMEOUT
                     : NATS_CONNECTION_CLOSED;
    return judge(events, deliveries, count, status);
}

/* Looking at the stream takes its time from what is left for publishing. */
struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, struct bus_delivery *deliveries)
{
    int64_t now = clock_monotonic_ms();
    struct err e = ERR_NONE;

    for (size_t i = 0; i < count; i++)
        deliveries[i] = (struct bus_delivery){.answer = BUS_SILENT};
    if (now - bus->looked_ms >= LOOK_EVERY_MS)
        e = look_at_stream(bus);
    if (!failed(e))
        e = publish(bus, events, count, deliveries, now + ACKNOWLEDGED_MS);
    if (failed(e) || !all_stored(deliveries, count))
        disconnect(bus); /* and look at the stream again */
    return e;
}
