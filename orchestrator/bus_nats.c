/* bus_nats.c - see bus_nats.h. */
#include "orchestrator/bus_nats.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

enum {
    CONNECT_MS = 1500,
    ANSWER_MS = 1500,         /* for one request about the stream */
    ACKNOWLEDGED_MS = 3000,   /* for all that was published together */
    DUPLICATES_SECONDS = 120, /* how long the server knows a message's id */
    SUBJECT_SIZE = 128,
    POSITION_SIZE = 24,
    SERVERS_MAX = 16,
};

struct bus_nats {
    struct bus_nats_config config;
    natsOptions *options;
    natsConnection *connection; /* NULL while not connected */
    jsCtx *jetstream;
    char wildcard[SUBJECT_SIZE]; /* PREFIX.> */
    /* Messages refused since it was last cleared.  A word of an earlier connection may
     * still come: then something is published once more, for nothing. */
    atomic_int refused;
};

static struct err unavailable(const char *what, natsStatus status)
{
    return err_make(ERR_UNAVAILABLE, "NATS: %s: %s.", what, natsStatus_GetText(status));
}

/* ---- settings ---------------------------------------------------------------------- */

static struct err check(natsStatus status, const char *what, const char *file)
{
    if (status == NATS_OK)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "%s %s cannot be used: %s.", what, file,
                    natsStatus_GetText(status));
}

/* The URL is not told: it may hold a password. */
static struct err set_servers(natsOptions *options, const char *url)
{
    char *copy = strdup(url), *rest = copy, *part;
    const char *servers[SERVERS_MAX];
    int count = 0;

    if (copy == NULL)
        return err_memory();
    while ((part = strsep(&rest, ",")) != NULL && count < SERVERS_MAX)
        servers[count++] = part;
    natsStatus status = natsOptions_SetServers(options, servers, count);
    free(copy);
    return check(status, "nats_url", "as it is");
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

static struct err set_options(struct bus_nats *bus)
{
    natsStatus status = natsOptions_Create(&bus->options);

    if (status == NATS_OK)
        status = natsOptions_SetName(bus->options, "checkout orchestrator");
    if (status == NATS_OK)
        status = natsOptions_SetTimeout(bus->options, CONNECT_MS);
    if (status == NATS_OK)
        status = natsOptions_SetAllowReconnect(bus->options, false);
    if (status != NATS_OK)
        return unavailable("the options cannot be set", status);
    struct err e = set_servers(bus->options, bus->config.url);
    return failed(e) ? e : set_files(bus->options, &bus->config);
}

struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
{
    struct bus_nats *bus = calloc(1, sizeof *bus);

    if (bus == NULL)
        return err_memory();
    bus->config = *config;
    snprintf(bus->wildcard, sizeof bus->wildcard, "%s.>", config->prefix);
    struct err e = set_options(bus);
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
    free(bus);
}

/* ---- the stream -------------------------------------------------------------------- */

static struct err make_stream(struct bus_nats *bus)
{
    const char *subjects[] = {bus->wildcard};
    jsOptions options;
    jsStreamConfig stream;
    jsErrCode code = 0;

    jsOptions_Init(&options);
    options.Wait = ANSWER_MS;
    jsStreamConfig_Init(&stream);
    stream.Name = bus->config.stream;
    stream.Description = "What happened to orders; see docs/events.md of checkout.";
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    stream.Storage = js_FileStorage;
    stream.Replicas = bus->config.replicas;
    stream.MaxAge = bus->config.keep_ms * 1000000;
    stream.Duplicates = (int64_t)DUPLICATES_SECONDS * 1000000000;
    natsStatus status = js_AddStream(NULL, bus->jetstream, &stream, &options, &code);
    if (status != NATS_OK)
        return err_make(ERR_UNAVAILABLE, "NATS: the stream %s cannot be made: %s (%d).",
                        bus->config.stream, natsStatus_GetText(status), (int)code);
    log_info("nats_stream_made", "stream=%s subjects=%s", bus->config.stream,
             bus->wildcard);
    return ERR_NONE;
}

/* One that was there already must take our subjects and acknowledge what it stored. */
static struct err check_stream(const struct bus_nats *bus, const jsStreamInfo *info)
{
    const jsStreamConfig *stream = info->Config;
    bool ours = false;

    for (int i = 0; i < stream->SubjectsLen; i++)
        ours |= strcmp(stream->Subjects[i], bus->wildcard) == 0 ||
                strcmp(stream->Subjects[i], ">") == 0;
    if (!ours)
        return err_make(ERR_FAILED_PRECONDITION,
                        "NATS: the stream %s does not take the subjects %s.",
                        bus->config.stream, bus->wildcard);
    if (stream->NoAck)
        return err_make(ERR_FAILED_PRECONDITION,
                        "NATS: the stream %s acknowledges nothing (no_ack).",
                        bus->config.stream);
    return ERR_NONE;
}

static struct err have_stream(struct bus_nats *bus)
{
    jsOptions options;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;

    jsOptions_Init(&options);
    options.Wait = ANSWER_MS;
    natsStatus status =
        js_GetStreamInfo(&info, bus->jetstream, bus->config.stream, &options, &code);
    if (status == NATS_NOT_FOUND)
        return make_stream(bus);
    if (status != NATS_OK)
        return unavailable("the stream cannot be looked at", status);
    struct err e = check_stream(bus, info);
    jsStreamInfo_Destroy(info);
    return e;
}

/* ---- connecting -------------------------------------------------------------------- */

static void on_refused(jsCtx *jetstream, jsPubAckErr *refusal, void *closure)
{
    struct bus_nats *bus = closure;

    (void)jetstream;
    if (atomic_fetch_add(&bus->refused, 1) == 0)
        log_warn("nats_refused", "error=\"%s\"",
                 refusal->ErrText != NULL ? refusal->ErrText
                                          : natsStatus_GetText(refusal->Err));
}

static struct err connect_to(struct bus_nats *bus)
{
    jsOptions options;
    natsStatus status = natsConnection_Connect(&bus->connection, bus->options);

    if (status != NATS_OK)
        return unavailable("no server can be reached", status);
    jsOptions_Init(&options);
    options.PublishAsync.ErrHandler = on_refused;
    options.PublishAsync.ErrHandlerClosure = bus;
    status = natsConnection_JetStream(&bus->jetstream, bus->connection, &options);
    if (status != NATS_OK)
        return unavailable("JetStream cannot be used", status);
    return have_stream(bus);
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
        status = natsMsgHeader_Set(*out, "Checkout-Position", position);
    return status;
}

static natsStatus send_one(struct bus_nats *bus, const struct event *event)
{
    natsMsg *message = NULL;
    jsPubOptions options;
    natsStatus status = make_message(bus, event, &message);

    jsPubOptions_Init(&options);
    options.MsgId = event->id;
    options.ExpectStream = bus->config.stream;
    if (status == NATS_OK)
        status = js_PublishMsgAsync(bus->jetstream, &message, &options);
    natsMsg_Destroy(message);
    return status;
}

static natsStatus wait_acknowledged(struct bus_nats *bus)
{
    jsPubOptions options;

    jsPubOptions_Init(&options);
    options.MaxWait = ACKNOWLEDGED_MS;
    return js_PublishAsyncComplete(bus->jetstream, &options);
}

struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count)
{
    struct err e = bus_nats_ready(bus);
    natsStatus status = NATS_OK;

    if (failed(e))
        return e;
    atomic_store(&bus->refused, 0);
    for (size_t i = 0; i < count && status == NATS_OK; i++)
        status = send_one(bus, &events[i]);
    if (status == NATS_OK)
        status = wait_acknowledged(bus);
    if (status != NATS_OK)
        e = unavailable("what was published is not acknowledged", status);
    else if (atomic_load(&bus->refused) > 0)
        e = err_make(ERR_UNAVAILABLE, "NATS: the server refused what was published.");
    if (failed(e))
        disconnect(bus);
    return e;
}
