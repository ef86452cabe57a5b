/* line.c - see line.h. */
#include "cli/line.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "rpc/channel.h"
#include "rpc/keys.h"

enum { GRACE_MS = 1000, CALLS_MAX = 8 };

struct line {
    struct key *key;
    struct peers *services;
    struct channel *channel; /* NULL once a call outlived its deadline */
    pthread_mutex_t lock;    /* guards what calls came to */
    pthread_cond_t ended;
};

static struct err open_channel(const struct cli *cli, const struct place *place,
                               struct line *line)
{
    const struct settings *s = &cli->settings;
    const char *addresses =
        *(char *const *)(const void *)((const char *)s + place->addresses);

    struct err e = cli_need(addresses, place->setting);
    if (!failed(e))
        e = cli_need(s->key_file, "key_file");
    if (!failed(e))
        e = cli_need(s->services_file, "services_file");
    if (!failed(e))
        e = key_read(s->key_file, &line->key);
    if (!failed(e))
        e = peers_read(s->services_file, false, line->key, &line->services);
    if (!failed(e))
        e = channel_open(&(struct channel_config){.service = place->name,
                                                  .addresses = addresses,
                                                  .key = line->key,
                                                  .services = line->services,
                                                  .in_flight_max = CALLS_MAX},
                         &line->channel);
    return e;
}

struct outcome line_open(const struct cli *cli, const struct place *place,
                         struct line **out)
{
    struct line *line = calloc(1, sizeof *line);

    if (line == NULL)
        return local(err_memory());
    pthread_mutex_init(&line->lock, NULL);
    clock_cond_init(&line->ended);
    struct err e = open_channel(cli, place, line);
    if (failed(e))
        line_close(line);
    else
        *out = line;
    return local(e);
}

void line_close(struct line *line)
{
    if (line == NULL)
        return;
    if (line->channel != NULL)
        channel_close(line->channel);
    peers_free(line->services);
    key_free(line->key);
    pthread_cond_destroy(&line->ended);
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
    pthread_cond_broadcast(&line->ended);
    pthread_mutex_unlock(&line->lock);
}

void line_start(struct line *line, struct line_call *call, const char *method,
                const ProtobufCMessage *request,
                const ProtobufCMessageDescriptor *reply_type, struct arena *arena,
                int64_t timeout_ms)
{
    *call = (struct line_call){.line = line,
                               .deadline_ms = clock_monotonic_ms() + timeout_ms};
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
                                        .deadline_ms = call->deadline_ms},
                 on_reply, call);
}

struct outcome line_wait(struct line_call *call, const ProtobufCMessage **reply)
{
    struct line *line = call->line;

    pthread_mutex_lock(&line->lock);
    while (!call->ended &&
           clock_cond_wait(&line->ended, &line->lock, call->deadline_ms + GRACE_MS))
        ;
    bool ended = call->ended;
    pthread_mutex_unlock(&line->lock);
    if (!ended) {
        channel_close(line->channel); /* ends the call, and waits for that */
        line->channel = NULL;
    }
    *reply = call->reply;
    return remote(call->error);
}
