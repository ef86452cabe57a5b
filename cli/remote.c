/*
 * remote.c - see remote.h.
 *
 *      channel_call --> (nng's thread) on_reply: store, signal --> waiter wakes
 *
 * The channel promises an answer by the deadline.  Should it ever not keep that, closing
 * the channel ends the call, so the waiter never waits without a bound.
 */
#include "cli/remote.h"

#include <pthread.h>
#include <time.h>

#include "base/clock.h"
#include "rpc/channel.h"
#include "rpc/keys.h"

enum { GRACE_MS = 1000 };

struct waiter {
    pthread_mutex_t mutex;
    pthread_cond_t ended;
    bool has_ended;
    struct err error;
    const ProtobufCMessage *reply;
};

struct line {
    struct key *key;
    struct peers *services;
    struct channel *channel;
};

static struct err line_open(const struct cli *cli, const struct place *place,
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
                                                  .in_flight_max = 1},
                         &line->channel);
    return e;
}

static void line_close(struct line *line)
{
    if (line->channel != NULL)
        channel_close(line->channel);
    peers_free(line->services);
    key_free(line->key);
}

static void on_reply(void *arg, struct err error, const ProtobufCMessage *reply,
                     bool replayed)
{
    struct waiter *waiter = arg;

    (void)replayed;
    pthread_mutex_lock(&waiter->mutex);
    waiter->error = error;
    waiter->reply = reply;
    waiter->has_ended = true;
    pthread_cond_signal(&waiter->ended);
    pthread_mutex_unlock(&waiter->mutex);
}

/* Whether the call ended before the deadline and its grace. */
static bool wait_for(struct waiter *waiter, int64_t deadline_ms)
{
    int64_t until = deadline_ms + GRACE_MS;
    struct timespec time = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
    int rc = 0;

    pthread_mutex_lock(&waiter->mutex);
    while (!waiter->has_ended && rc == 0)
        rc = pthread_cond_timedwait(&waiter->ended, &waiter->mutex, &time);
    bool ended = waiter->has_ended;
    pthread_mutex_unlock(&waiter->mutex);
    return ended;
}

static void waiter_init(struct waiter *waiter)
{
    pthread_condattr_t attributes;

    pthread_mutex_init(&waiter->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&waiter->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void waiter_destroy(struct waiter *waiter)
{
    pthread_cond_destroy(&waiter->ended);
    pthread_mutex_destroy(&waiter->mutex);
}

struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const char *method, const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *reply_type,
                           const ProtobufCMessage **reply)
{
    struct line line = {0};
    struct waiter waiter = {0};
    int64_t deadline = clock_monotonic_ms() + cli->max_time_ms;

    struct err e = line_open(cli, place, &line);
    if (failed(e)) {
        line_close(&line);
        return local(e);
    }
    waiter_init(&waiter);
    channel_call(line.channel,
                 &(struct channel_call){.method = method,
                                        .request = request,
                                        .reply_type = reply_type,
                                        .arena = cli->arena,
                                        .deadline_ms = deadline},
                 on_reply, &waiter);
    wait_for(&waiter, deadline);
    line_close(&line); /* ends the call if it has not, and waits for that */
    *reply = waiter.reply;
    e = waiter.error;
    waiter_destroy(&waiter);
    return remote(e);
}
