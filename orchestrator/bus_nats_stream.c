/* bus_nats_stream.c - see bus_nats_stream.h. */
#include "orchestrator/bus_nats_stream.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "orchestrator/bus_nats_words.h"
#include "orchestrator/event.h"

enum {
    DUPLICATES_MS = 120000, /* how long the server knows a message's id */
    WILDCARD_SIZE = 128,
    NS_PER_MS = 1000000,
};

struct wildcard {
    char text[WILDCARD_SIZE]; /* PREFIX.> */
};

static struct wildcard wildcard_of(const struct bus_nats_config *config)
{
    struct wildcard wildcard;

    snprintf(wildcard.text, sizeof wildcard.text, "%s.>", config->prefix);
    return wildcard;
}

/* ---- making ------------------------------------------------------------------------ */

/* The server refuses to know ids for longer than it keeps messages. */
static int64_t duplicates_ms(const struct bus_nats_config *config)
{
    return config->keep_ms != 0 && config->keep_ms < DUPLICATES_MS ? config->keep_ms
                                                                   : DUPLICATES_MS;
}

static struct err make(jsCtx *jetstream, const struct bus_nats_config *config)
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
    log_info("nats_stream_made", "stream=%s subjects=%s", config->stream, wildcard.text);
    return ERR_NONE;
}

/* ---- checking ---------------------------------------------------------------------- */

static struct err unfit(const struct bus_nats_config *config, const char *why)
{
    return err_make(ERR_FAILED_PRECONDITION, "NATS: the stream %s %s.", config->stream,
                    why);
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

struct err stream_check_size(int64_t most, const char *what)
{
    if (most >= EVENT_SIZE_MAX)
        return ERR_NONE;
    return err_make(ERR_FAILED_PRECONDITION,
                    "NATS: %s is %" PRId64 ", and an event may have %d bytes; raise it.",
                    what, most, EVENT_SIZE_MAX);
}

/* What makes a stream lose what it acknowledged, or not acknowledge.  With the discard
 * policy "new" a full stream refuses, and events wait in the outbox. */
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

static struct err check(const jsStreamConfig *stream,
                        const struct bus_nats_config *config)
{
    const char *loss = find_loss(stream);
    struct err e = check_subjects(stream, config);

    if (!failed(e) && loss != NULL)
        e = unfit(config, loss);
    if (!failed(e))
        e = check_age(stream, config);
    if (!failed(e) && stream->MaxMsgSize >= 0) /* -1: no limit of its own */
        e = stream_check_size(stream->MaxMsgSize, "the stream's max_msg_size");
    return e;
}

struct err stream_ensure(jsCtx *jetstream, const struct bus_nats_config *config)
{
    jsOptions options;
    jsStreamInfo *info = NULL;
    jsErrCode code = 0;

    jsOptions_Init(&options);
    options.Wait = BUS_NATS_ANSWER_MS;
    natsStatus status =
        js_GetStreamInfo(&info, jetstream, config->stream, &options, &code);
    if (status == NATS_NOT_FOUND)
        return make(jetstream, config);
    if (status != NATS_OK)
        return nats_unavailable("the stream cannot be looked at", status);
    struct err e = check(info->Config, config);
    jsStreamInfo_Destroy(info);
    return e;
}
