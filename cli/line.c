/* line.c - see line.h. */
#include "cli/line.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rpc/auth/principals.h"
#include "rpc/client/channel.h"

enum { GRACE_MS = 1000, CALLS_MAX = 256, HANDSHAKE_MS = 50 };

struct line {
    struct key *key;
    struct principals *services;
    struct channel *channel; /* NULL once a call outlived its deadline */
    int64_t opened_ms;       /* clock_monotonic_ms */
    atomic_bool answered;    /* whether a call ever was */
    struct rpc_metadata metadata[CLI_HEADERS_MAX];
    size_t metadata_count;
    const char *traceparent; /* of -H traceparent:..., or NULL */
    const char *tracestate;  /* likewise */
    pthread_mutex_t lock;    /* guards what calls came to */
};

/* Who we are, and whom we call: from the settings, or --key and --service-key. */
static struct err read_keys(const struct cli *cli, const struct place *place,
                            struct line *line)
{
    const struct settings *s = &cli->settings;
    const char *public = cli->options[OPT_SERVICE_KEY], *file = cli->options[OPT_KEY];
    struct err e = file != NULL ? ERR_NONE : cli_need(s->key_file, "key_file (or --key)");

    if (!failed(e))
        e = key_read(file != NULL ? file : s->key_file, &line->key);
    if (!failed(e) && public != NULL)
        return principals_of_service(place->name, public, line->key, &line->services);
    if (!failed(e) && place->setting == NULL)
        e = err_make(
            ERR_INVALID_ARGUMENT,
            "whose server is at %.80s? Give its --service-key PUBLIC, or --service "
            "NAME for one of the stack's",
            cli->options[OPT_URL]);
    if (!failed(e))
        e = cli_need(s->services_file, "services_file");
    if (!failed(e))
        e = principals_read(s->services_file, false, line->key, &line->services);
    return e;
}

static const char *option_or(const struct cli *cli, enum option option,
                             const char *setting)
{
    return cli->options[option] != NULL ? cli->options[option] : setting;
}

static struct tls_files tls_files(const struct cli *cli)
{
    const struct settings *s = &cli->settings;

    return (struct tls_files){
        .cert = option_or(cli, OPT_TLS_CERT, s->tls_cert),
        .key = option_or(cli, OPT_TLS_KEY, s->tls_key),
        .ca = option_or(cli, OPT_TLS_CA, s->tls_ca),
    };
}

static struct err open_channel(const struct cli *cli, const struct place *place,
                               struct line *line)
{
    const char *addresses = place_addresses(cli, place);
    struct err e = cli_need(addresses, place->setting != NULL ? place->setting : "--url");

    if (!failed(e))
        e = read_keys(cli, place, line);
    if (!failed(e))
        e = channel_open(&(struct channel_config){.service = place->name,
                                                  .addresses = addresses,
                                                  .key = line->key,
                                                  .services = line->services,
                                                  .tls = tls_files(cli),
                                                  .in_flight_max = CALLS_MAX},
                         &line->channel);
    return e;
}

/* The trace has a place of its own in a request: from there services hand it on. */
static void take_header(struct line *line, const struct cli_header *header)
{
    if (strcmp(header->name, "traceparent") == 0)
        line->traceparent = header->value;
    else if (strcmp(header->name, "tracestate") == 0)
        line->tracestate = header->value;
    else
        line->metadata[line->metadata_count++] =
            (struct rpc_metadata){header->name, header->value};
}

struct outcome line_open(const struct cli *cli, const struct place *place,
                         struct line **out)
{
    struct line *line = calloc(1, sizeof *line);

    if (line == NULL)
        return local(err_memory());
    pthread_mutex_init(&line->lock, NULL);
    line->opened_ms = clock_monotonic_ms();
    for (int i = 0; i < cli->header_count; i++)
        take_header(line, &cli->headers[i]);
    struct err e = open_channel(cli, place, line);
    if (failed(e))
        line_close(line);
    else
        *out = line;
    return local(e);
}

/*
 * nng 1.5.2 can wait for ever when a socket is closed in the middle of its handshake
 * (https://github.com/nanomsg/nng/issues/1543): measured, with --max-time 0.001, once in
 * 20 calls.  So a line that was given up at once is left alone until that is over.
 */
static void outlast_handshake(const struct line *line)
{
    int64_t ms = clock_remaining_ms(line->opened_ms + HANDSHAKE_MS);

    if (!line->answered && ms > 0)
        nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void close_channel(struct line *line)
{
    if (line->channel == NULL)
        return;
    outlast_handshake(line);
    channel_close(line->channel);
    line->channel = NULL;
}

void line_close(struct line *line)
{
    if (line == NULL)
        return;
    close_channel(line);
    principals_free(line->services);
    key_free(line->key);
    pthread_mutex_destroy(&line->lock);
    free(line);
}

static void on_reply(void *arg, struct err error, const ProtobufCMessage *reply,
                     bool replayed)
{
    struct line_call *call = arg;
    struct line *line = call->line;

    (void)replayed;
    pthread_mutex_lock(&line->lock);
    call->error = error;
    call->reply = reply;
    call->ended = true;
    pthread_cond_signal(&call->end);
    pthread_mutex_unlock(&line->lock);
}

void line_start(struct line *line, struct line_call *call, const char *method,
                const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, struct arena *arena,
                int64_t timeout_ms)
{
    *call = (struct line_call){.line = line,
                               .deadline_ms = clock_monotonic_ms() + timeout_ms};
    clock_cond_init(&call->end);
    if (line->channel == NULL) {
        on_reply(call, err_unknown(ERR_DEADLINE_EXCEEDED, "An earlier call did not end."),
                 NULL, false);
        return;
    }
    channel_call(line->channel,
                 &(struct channel_call){.method = method,
                                        .request = request,
                                        .reply_type = reply_type,
                                        .arena = arena,
                                        .deadline_ms = call->deadline_ms,
                                        .traceparent = line->traceparent,
                                        .tracestate = line->tracestate,
                                        .metadata = line->metadata,
                                        .metadata_count = line->metadata_count},
                 on_reply, call);
}

struct outcome line_wait(struct line_call *call, const ProtobufCMessage **reply)
{
    struct line *line = call->line;

    pthread_mutex_lock(&line->lock);
    while (!call->ended &&
           clock_cond_wait(&call->end, &line->lock, call->deadline_ms + GRACE_MS))
        ;
    bool ended = call->ended;
    pthread_mutex_unlock(&line->lock);
    if (!ended)
        close_channel(line); /* ends the call, and waits for that */
    pthread_cond_destroy(&call->end);
    if (!failed(call->error))
        atomic_store(&line->answered, true);
    *reply = call->reply;
    return remote(call->error);
}
