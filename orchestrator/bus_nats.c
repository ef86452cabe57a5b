/* bus_nats.c - see bus_nats.h. */
#include "orchestrator/bus_nats.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

/* A call connects and asks twice at most, or it publishes: BUS_NATS_WAIT_MS. */
enum {
    CONNECT_MS = 1000,
    ANSWER_MS = 750,          /* for one request about the stream */
    WRITE_MS = 500,           /* until a server that reads nothing is given up */
    ACKNOWLEDGED_MS = 2000,   /* for all that was published together */
    DUPLICATES_SECONDS = 120, /* how long the server knows a message's id */
    SUBJECT_SIZE = 128,
    POSITION_SIZE = 24,
    REASON_SIZE = 128,
    SERVERS_MAX = 16,
};

static const char POSITION_HEADER[] = "Checkout-Position";

/* The first of what was refused since it was last cleared.  A word of an earlier
 * connection may still come: then something is published once more, for nothing. */
struct refusal {
    int64_t position; /* INT64_MAX: none */
    bool final;       /* the server's own decision, not that nobody was there */
    char reason[REASON_SIZE];
};

struct bus_nats {
    struct bus_nats_config config;
    char *urls;                       /* a copy, of which the servers are parts */
    const char *servers[SERVERS_MAX]; /* tried one a time, in turn */
    size_t server_count, turn;
    natsOptions *options;
    natsConnection *connection; /* NULL while not connected */
    jsCtx *jetstream;
    char wildcard[SUBJECT_SIZE]; /* PREFIX.> */
    pthread_mutex_t lock;        /* of the refusal: libnats tells it in its own thread */
    struct refusal refusal;
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
    if (status != NATS_OK)
        return unavailable("the options cannot be set", status);
    struct err e = read_servers(bus);
    return failed(e) ? e : set_files(bus->options, &bus->config);
}

struct err bus_nats_open(const struct bus_nats_config *config, struct bus_nats **out)
{
    struct bus_nats *bus = calloc(1, sizeof *bus);

    if (bus == NULL)
        return err_memory();
    bus->config = *config;
    pthread_mutex_init(&bus->lock, NULL);
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
    pthread_mutex_destroy(&bus->lock);
    free(bus->urls);
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

/* Whatever may carry so many bytes must carry every event.  `what` says what to change. */
static struct err check_size(int64_t most, const char *what)
{
    if (most >= EVENT_SIZE_MAX)
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: %s is %" PRId64 ", and an event may have %d bytes; raise it.",
                    what, most, EVENT_SIZE_MAX);
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
    /* -1: no limit of its own. */
    return stream->MaxMsgSize < 0
               ? ERR_NONE
               : check_size(stream->MaxMsgSize, "the stream's max_msg_size");
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

static int64_t position_of(natsMsg *message)
{
    const char *text = NULL;

    if (natsMsgHeader_Get(message, POSITION_HEADER, &text) != NATS_OK)
        return 0; /* none of ours: nothing is known to be stored then */
    return strtoll(text, NULL, 10);
}

static void note_refusal(struct bus_nats *bus, int64_t position, bool final,
                         const char *reason)
{
    pthread_mutex_lock(&bus->lock);
    if (position < bus->refusal.position) {
        bus->refusal = (struct refusal){.position = position, .final = final};
        snprintf(bus->refusal.reason, sizeof bus->refusal.reason, "%s", reason);
    }
    pthread_mutex_unlock(&bus->lock);
}

/* Of one message, before js_PublishAsyncComplete returns. */
static void on_refused(jsCtx *jetstream, jsPubAckErr *refusal, void *closure)
{
    (void)jetstream;
    note_refusal(closure, position_of(refusal->Msg), refusal->ErrCode != 0,
                 refusal->ErrText != NULL ? refusal->ErrText
                                          : natsStatus_GetText(refusal->Err));
}

static struct err connect_to(struct bus_nats *bus)
{
    jsOptions options;
    const char *server = bus->servers[bus->turn++ % bus->server_count];
    natsStatus status = natsOptions_SetURL(bus->options, server);

    if (status == NATS_OK)
        status = natsConnection_Connect(&bus->connection, bus->options);
    if (status != NATS_OK)
        return unavailable("the server cannot be reached", status);
    jsOptions_Init(&options);
    options.PublishAsync.ErrHandler = on_refused;
    options.PublishAsync.ErrHandlerClosure = bus;
    status = natsConnection_JetStream(&bus->jetstream, bus->connection, &options);
    if (status != NATS_OK)
        return unavailable("JetStream cannot be used", status);
    struct err e = check_size(natsConnection_GetMaxPayload(bus->connection),
                              "the server's max_payload");
    return failed(e) ? e : have_stream(bus);
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
        status = natsMsgHeader_Set(*out, POSITION_HEADER, position);
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
    if (status == NATS_MAX_PAYLOAD)
        note_refusal(bus, event->position, true, natsStatus_GetText(status));
    return status;
}

static natsStatus wait_acknowledged(struct bus_nats *bus)
{
    jsPubOptions options;

    jsPubOptions_Init(&options);
    options.MaxWait = ACKNOWLEDGED_MS;
    return js_PublishAsyncComplete(bus->jetstream, &options);
}

/* The first position that was sent, and neither acknowledged nor refused; or INT64_MAX. */
static int64_t first_unanswered(struct bus_nats *bus)
{
    natsMsgList pending = {NULL, 0};
    int64_t first = INT64_MAX;
    natsStatus status = js_PublishAsyncGetPendingList(&pending, bus->jetstream);

    if (status == NATS_NOT_FOUND)
        return first;
    if (status != NATS_OK)
        return 0; /* not known: then nothing is */
    for (int i = 0; i < pending.Count; i++)
        if (position_of(pending.Msgs[i]) < first)
            first = position_of(pending.Msgs[i]);
    natsMsgList_Destroy(&pending);
    return first;
}

static size_t count_stored(const struct event *events, size_t sent, int64_t unanswered,
                           int64_t refused)
{
    int64_t first = unanswered < refused ? unanswered : refused;

    if (sent == 0 || first <= events[0].position)
        return 0;
    return first - events[0].position < (int64_t)sent
               ? (size_t)(first - events[0].position)
               : sent;
}

/* What is to be said of the first that is not stored. */
static struct err explain(const struct event *event, const struct refusal *refusal,
                          natsStatus status)
{
    if (refusal->position != event->position)
        return unavailable("what was published is not acknowledged", status);
    return err_make(refusal->final ? ERR_FAILED_PRECONDITION : ERR_UNAVAILABLE,
                    "NATS: the event %s at position %" PRId64 " is refused: %s.",
                    event->id, event->position, refusal->reason);
}

struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, size_t *stored)
{
    natsStatus status = NATS_OK;
    size_t sent = 0;

    pthread_mutex_lock(&bus->lock);
    bus->refusal = (struct refusal){.position = INT64_MAX};
    pthread_mutex_unlock(&bus->lock);
    while (sent < count && status == NATS_OK)
        if ((status = send_one(bus, &events[sent])) == NATS_OK)
            sent++;
    natsStatus waited =
        status == NATS_OK || status == NATS_MAX_PAYLOAD ? wait_acknowledged(bus) : status;
    int64_t unanswered = first_unanswered(bus);
    pthread_mutex_lock(&bus->lock);
    struct refusal refusal = bus->refusal;
    pthread_mutex_unlock(&bus->lock);
    *stored = count_stored(events, sent, unanswered, refusal.position);
    if (*stored == count)
        return ERR_NONE;
    disconnect(bus);
    return explain(&events[*stored], &refusal, waited);
}
