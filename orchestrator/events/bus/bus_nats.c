/*
 * bus_nats.c - see bus_nats.h.
 *
 *      bus_nats_ready:    connect --> stream_ensure: creates the stream or checks it
 *      bus_nats_publish:  answers_begin --> send each --> answers_wait --> answers_end
 *                                 on_acknowledged, on_error, on_closed: threads of libnats
 */
#include "orchestrator/events/bus/bus_nats.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

/* A call either connects and sends at most two requests, or publishes:
 * BUS_NATS_WAIT_MS. */
enum {
    CONNECT_MS = 1000,
    WRITE_MS = 500,         /* then a server that does not read is disconnected */
    ACKNOWLEDGED_MS = 2000, /* for all that was published together */
    CHECK_EVERY_MS = 10000, /* of the stream, which an operator may change at any time */
    DUPLICATES_MS = 120000, /* how long the server knows a message's id */
    NS_PER_MS = 1000000,
    SUBJECT_SIZE = 128,
    POSITION_SIZE = 24,
    SERVERS_MAX = 16,
    /* Server 2.11 and later: a repeat of a message that is not stored yet. */
    CODE_IN_PROCESS = 10158,
};

/* The header with an event's position, by which an answer is matched to its event. */
static const char POSITION_HEADER[] = "Checkout-Position";

/* The answers to the events that are being published. */
struct answers {
    const char *stream; /* only its acknowledgements count; borrowed */
    const char *prefix; /* of subjects; borrowed */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    /* The lock guards what follows.  `jetstream` NULL: nothing is being published. */
    const jsCtx *jetstream;
    const natsConnection *connection;
    const struct event *events;
    struct bus_delivery *deliveries;
    size_t count, open; /* open: not answered yet */
    bool closed;        /* the connection is */
};

struct bus_nats {
    struct bus_nats_config config;
    char *urls;                       /* a copy, of which the servers are parts */
    const char *servers[SERVERS_MAX]; /* tried one after another */
    size_t server_count, next_server;
    natsOptions *options;
    natsConnection *connection; /* NULL while not connected */
    jsCtx *jetstream;
    int64_t checked_ms; /* when the stream was last checked */
    struct answers answers;
};

/* ---- errors ------------------------------------------------------------------------ */

/*
 * The server's or libnats' text for `status` of this thread's last libnats call, without
 * its prefix "(file.c:123): "; valid until the thread's next call.  The text for an
 * invalid argument is not used, because it may quote a URL with its password.
 */
static const char *nats_words(natsStatus status)
{
    natsStatus last = NATS_OK;
    const char *words = nats_GetLastError(&last);

    if (words == NULL || last != status || status == NATS_INVALID_ARG)
        return natsStatus_GetText(status);
    const char *end = *words == '(' ? strstr(words, "): ") : NULL;
    words = end == NULL ? words : end + strlen("): ");
    return *words == '\0' ? natsStatus_GetText(status) : words;
}

static struct err nats_unavailable(const char *what, natsStatus status)
{
    return err_make(ERR_UNAVAILABLE, "NATS: %s: %s.", what, nats_words(status));
}

/* ---- the stream -------------------------------------------------------------------- */

struct wildcard {
    char text[SUBJECT_SIZE]; /* PREFIX.> */
};

static struct wildcard wildcard_of(const struct bus_nats_config *config)
{
    struct wildcard wildcard;

    snprintf(wildcard.text, sizeof wildcard.text, "%s.>", config->prefix);
    return wildcard;
}

/* The server's duplicate window must not be longer than it keeps messages. */
static int64_t duplicates_ms(const struct bus_nats_config *config)
{
    return config->keep_ms != 0 && config->keep_ms < DUPLICATES_MS ? config->keep_ms
                                                                   : DUPLICATES_MS;
}

static struct err make_stream(jsCtx *jetstream, const struct bus_nats_config *config)
{
    struct wildcard wildcard = wildcard_of(config);
    const char *subjects[] = {wildcard.text};
    jsOptions options;
    jsStreamConfig stream;
    jsErrCode code = 0;

    jsOptions_Init(&options);
    options.Wait = BUS_NATS_ANSWER_MS;
    jsStreamConfig_Init(&stream);
    stream.Name = config->stream;
    stream.Description = "What happened to orders; see docs/events.md of checkout.";
    stream.Subjects = subjects;
    stream.SubjectsLen = 1;
    stream.Storage = js_FileStorage;
    stream.Replicas = config->replicas;
    stream.MaxAge = config->keep_ms * NS_PER_MS;
    stream.Duplicates = duplicates_ms(config) * NS_PER_MS;
    natsStatus status = js_AddStream(NULL, jetstream, &stream, &options, &code);
    if (status != NATS_OK)
        return err_make(ERR_UNAVAILABLE, "NATS: the stream %s cannot be made: %s (%d).",
                        config->stream, nats_words(status), (int)code);
    log_info("nats_stream_created", "stream=%s subjects=%s", config->stream,
             wildcard.text);
    return ERR_NONE;
}

static struct err check_subjects(const jsStreamConfig *stream,
                                 const struct bus_nats_config *config)
{
    struct wildcard wildcard = wildcard_of(config);

    for (int i = 0; i < stream->SubjectsLen; i++)
        if (strcmp(stream->Subjects[i], wildcard.text) == 0 ||
            strcmp(stream->Subjects[i], ">") == 0)
            return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: the stream %s does not take the subjects %s.", config->stream,
                    wildcard.text);
}

static struct err check_age(const jsStreamConfig *stream,
                            const struct bus_nats_config *config)
{
    int64_t keep_ms = stream->MaxAge / NS_PER_MS;

    if (stream->MaxAge <= 0 || (config->keep_ms != 0 && keep_ms >= config->keep_ms))
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: the stream %s keeps events for %" PRId64
                    " ms (max_age), and nats_keep_ms is %" PRId64
                    "; raise the one or lower the other.",
                    config->stream, keep_ms, config->keep_ms);
}

/* Fails when the limit of `most` bytes is below EVENT_SIZE_MAX; `what` is the setting to
 * raise. */
static struct err check_size(int64_t most, const char *what)
{
    if (most >= EVENT_SIZE_MAX)
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: %s is %" PRId64 ", and an event may have %d bytes; raise it.",
                    what, most, EVENT_SIZE_MAX);
}

/*
 * Why a stream would drop events that it acknowledged, or never acknowledge.  Such a
 * stream is not used, because a dropped event would count as published.  With the discard
 * policy "new" a full stream refuses events, and they wait in the outbox.
 * https://docs.nats.io/nats-concepts/jetstream/streams
 */
static const char *find_loss(const jsStreamConfig *stream)
{
    bool drops_old = stream->Discard == js_DiscardOld;

    if (stream->NoAck)
        return "acknowledges nothing (no_ack)";
    if (stream->Sealed)
        return "is sealed and takes nothing";
    if (stream->Retention == js_InterestPolicy)
        return "drops events that no consumer waits for: its retention must be limits, not "
               "interest";
    if (stream->Retention == js_WorkQueuePolicy)
        return "drops events that one consumer has read: its retention must be limits, not "
               "workqueue";
    if (stream->Storage == js_MemoryStorage)
        return "forgets its events with a restart: its storage must be file, not memory";
    if (stream->MaxMsgs > 0 && drops_old)
        return "drops old events at max_msgs: remove that, or set discard to new";
    if (stream->MaxBytes > 0 && drops_old)
        return "drops old events at max_bytes: remove that, or set discard to new";
    if (stream->MaxMsgsPerSubject > 0 && (drops_old || !stream->DiscardNewPerSubject))
        return "drops old events at max_msgs_per_subject: remove that";
    return NULL;
}

static struct err check_stream(const jsStreamConfig *stream,
                               const struct bus_nats_config *config)
{
    const char *loss = find_loss(stream);
    struct err e = check_subjects(stream, config);

    if (!failed(e) && loss != NULL)
        e = err_make(ERR_FAILED_PRECONDITION, "NATS: the stream %s %s.", config->stream,
                     loss);
    if (!failed(e))
        e = check_age(stream, config);
    if (!failed(e) && stream->MaxMsgSize >= 0) /* -1: no limit of its own */
        e = check_size(stream->MaxMsgSize, "the stream's max_msg_size");
    return e;
}

/* Creates the stream, or checks it: at most two requests of BUS_NATS_ANSWER_MS each. */
static struct err stream_ensure(jsCtx *jetstream, const struct bus_nats_config *config)
{
    jsOptions options;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;

    jsOptions_Init(&options);
    options.Wait = BUS_NATS_ANSWER_MS;
    natsStatus status =
        js_GetStreamInfo(&info, jetstream, config->stream, &options, &code);
    if (status == NATS_NOT_FOUND)
        return make_stream(jetstream, config);
    if (status != NATS_OK)
        return nats_unavailable("the stream cannot be read", status);
    struct err e = check_stream(info->Config, config);
    jsStreamInfo_Destroy(info);
    return e;
}

/* ---- the answers ------------------------------------------------------------------- */

/*
 * Answers arrive on threads of libnats, in any order, possibly late: from an earlier
 * connection or for events of an earlier batch.  An answer is matched to its event in the
 * current batch, or else ignored.
 *
 * An event is stored if a PubAck of our stream has a sequence above 0.  Server 2.10 with
 * replicas answers the repeat of a message that it never stored with "duplicate" and
 * sequence 0; that is no acknowledgement.
 * https://docs.nats.io/reference/reference-protocols/nats_api_reference
 */
static void answers_init(struct answers *answers, const char *stream, const char *prefix)
{
    *answers = (struct answers){.stream = stream, .prefix = prefix};
    pthread_mutex_init(&answers->lock, NULL);
    clock_cond_init(&answers->answered);
}

static void answers_destroy(struct answers *answers)
{
    pthread_cond_destroy(&answers->answered);
    pthread_mutex_destroy(&answers->lock);
}

/* Replaces bytes that are not printable ASCII by '?', because the text goes into logs and
 * JSON. */
static void copy_words(char out[BUS_REASON_SIZE], const char *words)
{
    snprintf(out, BUS_REASON_SIZE, "%s", words);
    for (char *at = out; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
}

/* With the lock held.  Only the first answer to an event counts. */
static void note(struct answers *answers, size_t i, enum bus_answer answer,
                 const char *words)
{
    struct bus_delivery *delivery = &answers->deliveries[i];

    if (delivery->answer != BUS_SILENT)
        return;
    delivery->answer = answer;
    copy_words(delivery->reason, words);
    if (--answers->open == 0)
        pthread_cond_signal(&answers->answered);
}

static int by_position(const void *key, const void *item)
{
    int64_t position = *(const int64_t *)key, of = ((const struct event *)item)->position;

    return (position > of) - (position < of);
}

/* The index of the event that this message answers; `count` if none. */
static size_t find(const struct answers *answers, natsMsg *message)
{
    const char *text = NULL;

    if (natsMsgHeader_Get(message, POSITION_HEADER, &text) != NATS_OK)
        return answers->count;
    int64_t position = strtoll(text, NULL, 10);
    const struct event *event = bsearch(&position, answers->events, answers->count,
                                        sizeof *answers->events, by_position);
    return event == NULL ? answers->count : (size_t)(event - answers->events);
}

static void note_ack(struct answers *answers, size_t i, const jsPubAck *ack)
{
    char words[BUS_REASON_SIZE];

    if (ack->Stream == NULL || strcmp(ack->Stream, answers->stream) != 0) {
        snprintf(words, sizeof words, "the stream %.64s answered",
                 ack->Stream == NULL ? "of no name" : ack->Stream);
        note(answers, i, BUS_DOUBTFUL, words);
    } else if (ack->Sequence == 0) {
        note(answers, i, BUS_DOUBTFUL,
             "the server knows its id, but has not stored it (sequence 0)");
    } else {
        note(answers, i, ack->Duplicate ? BUS_STORED_BEFORE : BUS_STORED, "");
    }
}

/* An error without a code is libnats' own: no responder, or the answer was no PubAck. */
static bool is_decision(const jsPubAckErr *refusal)
{
    return refusal->ErrCode != 0 && (int)refusal->ErrCode != CODE_IN_PROCESS;
}

/* We own the message; libnats owns `ack` and `refusal`. */
static void on_acknowledged(jsCtx *jetstream, natsMsg *message, jsPubAck *ack,
                            jsPubAckErr *refusal, void *closure)
{
    struct answers *answers = closure;

    pthread_mutex_lock(&answers->lock);
    size_t i = answers->jetstream == jetstream ? find(answers, message) : answers->count;
    if (i < answers->count && ack != NULL)
        note_ack(answers, i, ack);
    else if (i < answers->count && refusal != NULL)
        note(answers, i, is_decision(refusal) ? BUS_REFUSED : BUS_DOUBTFUL,
             refusal->ErrText != NULL ? refusal->ErrText
                                      : natsStatus_GetText(refusal->Err));
    pthread_mutex_unlock(&answers->lock);
    natsMsg_Destroy(message);
}

/* If we may not publish to a subject, the server answers none of its events, but sends
 * one error, `Permissions Violation for Publish to "SUBJECT"`. */
static void refuse_subject(struct answers *answers, const char *words)
{
    for (size_t i = 0; i < answers->count; i++) {
        char quoted[160];
        snprintf(quoted, sizeof quoted, "\"%s.%s\"", answers->prefix,
                 answers->events[i].type);
        if (strstr(words, quoted) != NULL)
            note(answers, i, BUS_REFUSED, words);
    }
}

static void on_error(natsConnection *connection, natsSubscription *subscription,
                     natsStatus status, void *closure)
{
    struct answers *answers = closure;
    const char *words = NULL;

    (void)subscription;
    natsConnection_GetLastError(connection, &words);
    pthread_mutex_lock(&answers->lock);
    if (answers->jetstream != NULL && answers->connection == connection &&
        status == NATS_NOT_PERMITTED && words != NULL)
        refuse_subject(answers, words);
    pthread_mutex_unlock(&answers->lock);
}

static void on_closed(natsConnection *connection, void *closure)
{
    struct answers *answers = closure;

    pthread_mutex_lock(&answers->lock);
    if (answers->jetstream != NULL && answers->connection == connection) {
        answers->closed = true;
        pthread_cond_signal(&answers->answered);
    }
    pthread_mutex_unlock(&answers->lock);
}

static natsStatus answers_subscribe(struct answers *answers, natsOptions *options)
{
    natsStatus status = natsOptions_SetErrorHandler(options, on_error, answers);

    return status == NATS_OK ? natsOptions_SetClosedCB(options, on_closed, answers)
                             : status;
}

static void answers_set_handler(struct answers *answers, jsOptions *options)
{
    options->PublishAsync.AckHandler = on_acknowledged;
    options->PublishAsync.AckHandlerClosure = answers;
}

/* From here on answers are recorded in `deliveries`, one for each event, at first
 * BUS_SILENT.  Events are sorted by position; both arrays are borrowed until
 * answers_end. */
static void answers_begin(struct answers *answers, const jsCtx *jetstream,
                          const natsConnection *connection, const struct event *events,
                          struct bus_delivery *deliveries, size_t count)
{
    pthread_mutex_lock(&answers->lock);
    answers->jetstream = jetstream;
    answers->connection = connection;
    answers->events = events;
    answers->deliveries = deliveries;
    answers->count = answers->open = count;
    answers->closed = false;
    pthread_mutex_unlock(&answers->lock);
}

/* Records why event `i` cannot be sent. */
static void answers_refuse(struct answers *answers, size_t i, const char *why)
{
    pthread_mutex_lock(&answers->lock);
    note(answers, i, BUS_REFUSED, why);
    pthread_mutex_unlock(&answers->lock);
}

/* Waits until the first `sent` events are answered, the connection is closed, or the
 * monotonic deadline. */
static void answers_wait(struct answers *answers, size_t sent, int64_t deadline_ms)
{
    pthread_mutex_lock(&answers->lock);
    answers->count = sent; /* the others get no answer */
    answers->open = 0;
    for (size_t i = 0; i < sent; i++)
        answers->open += answers->deliveries[i].answer == BUS_SILENT;
    while (answers->open > 0 && !answers->closed &&
           clock_cond_wait(&answers->answered, &answers->lock, deadline_ms))
        ;
    pthread_mutex_unlock(&answers->lock);
}

/* Later answers are ignored. */
static void answers_end(struct answers *answers)
{
    pthread_mutex_lock(&answers->lock);
    answers->jetstream = NULL;
    pthread_mutex_unlock(&answers->lock);
}

/* ---- settings ---------------------------------------------------------------------- */

static struct err check_file(natsStatus status, const char *what, const char *file)
{
    if (status == NATS_OK)
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "%s %s cannot be used: %s.", what, file,
                    nats_words(status));
}

/* Errors never quote the URL, because it may hold a password. */
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
        e = check_file(
            natsOptions_SetUserCredentialsFromFiles(options, c->credentials_file, NULL),
            "nats_credentials_file", c->credentials_file);
    if (!failed(e) && c->ca_file[0] != '\0') {
        e = check_file(natsOptions_LoadCATrustedCertificates(options, c->ca_file),
                       "nats_ca_file", c->ca_file);
        if (!failed(e))
            e = check_file(natsOptions_SetSecure(options, true), "nats_ca_file",
                           c->ca_file);
    }
    if (!failed(e) && c->certificate_file[0] != '\0')
        e = check_file(
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
        status = answers_subscribe(&bus->answers, bus->options);
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
    answers_init(&bus->answers, config->stream, config->prefix);
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
        return; /* a thread may still use it: leak it */
    answers_destroy(&bus->answers);
    free(bus->urls);
    free(bus);
}

/* ---- connecting -------------------------------------------------------------------- */

static struct err check_again(struct bus_nats *bus)
{
    bus->checked_ms = clock_monotonic_ms();
    return stream_ensure(bus->jetstream, &bus->config);
}

static struct err connect_to(struct bus_nats *bus)
{
    jsOptions options;
    const char *server = bus->servers[bus->next_server++ % bus->server_count];
    natsStatus status = natsOptions_SetURL(bus->options, server);

    if (status == NATS_OK)
        status = natsConnection_Connect(&bus->connection, bus->options);
    if (status != NATS_OK)
        return nats_unavailable("the server cannot be reached", status);
    jsOptions_Init(&options);
    answers_set_handler(&bus->answers, &options);
    status = natsConnection_JetStream(&bus->jetstream, bus->connection, &options);
    if (status != NATS_OK)
        return nats_unavailable("JetStream cannot be used", status);
    struct err e = check_size(natsConnection_GetMaxPayload(bus->connection),
                              "the server's max_payload");
    return failed(e) ? e : check_again(bus);
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
    answers_refuse(&bus->answers, i, natsStatus_GetText(status));
    return NATS_OK;
}

/* The error of the first event whose outcome is unknown. */
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

    answers_begin(&bus->answers, bus->jetstream, bus->connection, events, deliveries,
                  count);
    while (sent < count && (status = send_one(bus, events, sent)) == NATS_OK)
        sent++;
    answers_wait(&bus->answers, sent, until_ms);
    answers_end(&bus->answers);
    if (status == NATS_OK)
        status = natsConnection_Status(bus->connection) == NATS_CONN_STATUS_CONNECTED
                     ? NATS_TIMEOUT
                     : NATS_CONNECTION_CLOSED;
    return judge(events, deliveries, count, status);
}

/* Time spent on the check is not available for publishing. */
struct err bus_nats_publish(struct bus_nats *bus, const struct event *events,
                            size_t count, struct bus_delivery *deliveries)
{
    int64_t now = clock_monotonic_ms();
    struct err e = ERR_NONE;

    for (size_t i = 0; i < count; i++)
        deliveries[i] = (struct bus_delivery){.answer = BUS_SILENT};
    if (now - bus->checked_ms >= CHECK_EVERY_MS)
        e = check_again(bus);
    if (!failed(e))
        e = publish(bus, events, count, deliveries, now + ACKNOWLEDGED_MS);
    if (failed(e) || !all_stored(deliveries, count))
        disconnect(bus); /* and check the stream again */
    return e;
}
