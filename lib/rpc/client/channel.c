/* channel.c - a channel, from opening to closing; see channel.h.  call.c runs its calls. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "rpc/client/call.h"

enum {
    IN_FLIGHT_MOST = 65536,
    STRAGGLERS_MS = 100, /* see settle */
};

/* ---------------------------------------------------------- keys and certificates */

/* The service as the list has it, and a new session with it. */
static struct err callee_new(const struct channel *channel,
                             const struct principals *services, struct callee **out)
{
    const struct principal *peer =
        principals_find(services, channel->service, strlen(channel->service));

    if (peer == NULL)
        return err_make(ERR_INVALID_ARGUMENT, "'%s' is not among the known services",
                        channel->service);
    struct callee *callee = calloc(1, sizeof *callee);
    if (callee == NULL)
        return err_memory();
    callee->list = principals_share(services);
    callee->peer = peer;
    callee->users = 1;
    seal_session_start(&callee->session, principals_own(services), peer->public_key);
    *out = callee;
    return ERR_NONE;
}

void callee_release(struct callee *callee)
{
    if (callee == NULL || --callee->users > 0)
        return;
    principals_free(callee->list);
    free(callee);
}

struct err channel_set_services(struct channel *channel,
                                const struct principals *services)
{
    struct callee *callee = NULL;
    struct err e = callee_new(channel, services, &callee);

    if (failed(e))
        return e;
    pthread_mutex_lock(&channel->lock);
    struct callee *before = channel->callee;
    channel->callee = callee;
    callee_release(before);
    pthread_mutex_unlock(&channel->lock);
    return ERR_NONE;
}

struct err channel_set_tls(struct channel *channel, const struct tls_pem *pem)
{
    nng_tls_config *made[ADDRESSES_MAX] = {NULL};
    struct err e = ERR_NONE;

    for (size_t i = 0; i < channel->subchannel_count && !failed(e); i++)
        e = tls_config_of(pem, TLS_CALL, channel->subchannels[i]->url, &made[i]);
    pthread_mutex_lock(&channel->lock);
    for (size_t i = 0; i < channel->subchannel_count; i++) {
        if (made[i] != NULL && failed(e))
            nng_tls_config_free(made[i]);
        else if (made[i] != NULL)
            subchannel_set_tls(channel->subchannels[i], made[i]);
    }
    pthread_mutex_unlock(&channel->lock);
    return e;
}

/* ---------------------------------------------------------- opening */

static struct err open_subchannels(struct channel *channel,
                                   const struct channel_config *config)
{
    char *list = strdup(config->addresses), *rest = list, *url;
    struct err e = list == NULL ? err_memory() : ERR_NONE;

    while (!failed(e) && (url = strsep(&rest, ",")) != NULL) {
        struct subchannel **next = &channel->subchannels[channel->subchannel_count];
        url += strspn(url, " ");
        url[strcspn(url, " ")] = '\0';
        if (channel->subchannel_count == ADDRESSES_MAX) {
            e = err_make(ERR_INVALID_ARGUMENT, "a channel has at most %d addresses",
                         ADDRESSES_MAX);
        } else {
            e = subchannel_open(url, &config->tls, &channel->owner, next);
            channel->subchannel_count += *next != NULL;
        }
    }
    free(list);
    return e;
}

static void open_metrics(struct channel *channel, const struct channel_config *config)
{
    char label[METRIC_LABELS_SIZE];

    snprintf(label, sizeof label, "service=%s", config->service);
    stats_open(&channel->stats, config->metrics, "rpc_client", label);
    channel->retries = metrics_counter(config->metrics, "rpc_client_retries", label);
    channel->failed_attempts =
        metrics_counter(config->metrics, "rpc_client_failed_attempts", label);
}

static int64_t sweep(void *arg)
{
    struct channel *channel = arg;
    int64_t next_ms = INT64_MAX;

    for (size_t i = 0; i < channel->subchannel_count; i++) {
        int64_t ms =
            subchannel_sweep(channel->subchannels[i], atomic_load(&channel->closing));
        if (ms < next_ms)
            next_ms = ms;
    }
    return next_ms;
}

static struct channel *channel_new(const struct channel_config *config)
{
    struct channel *channel = calloc(1, sizeof *channel);

    if (channel == NULL)
        return NULL;
    pthread_mutex_init(&channel->lock, NULL);
    clock_cond_init(&channel->idle);
    atomic_init(&channel->closing, false);
    snprintf(channel->own_name, sizeof channel->own_name, "%s", key_name(config->key));
    snprintf(channel->service, sizeof channel->service, "%s", config->service);
    channel->in_flight_max = config->in_flight_max;
    channel->owner = (struct subchannel_owner){.sweeper = &channel->sweeper,
                                               .inside = &channel->inside,
                                               .answered = client_call_answered,
                                               .unsent = client_call_unsent,
                                               .lost = client_call_lost};
    open_metrics(channel, config);
    channel->calls = calloc(config->in_flight_max + CANCELS_MAX, sizeof(struct call *));
    return channel;
}

struct err channel_open(const struct channel_config *config, struct channel **out)
{
    if (config->in_flight_max < 1 || config->in_flight_max > IN_FLIGHT_MOST)
        return err_make(ERR_INVALID_ARGUMENT, "a channel has 1 to %d calls in flight",
                        IN_FLIGHT_MOST);
    struct channel *channel = channel_new(config);
    if (channel == NULL)
        return err_memory();
    struct err e = channel->calls == NULL
                       ? err_memory()
                       : callee_new(channel, config->services, &channel->callee);
    if (!failed(e))
        e = sweeper_open(&channel->sweeper, sweep, channel);
    if (!failed(e))
        e = open_subchannels(channel, config);
    if (failed(e)) {
        channel_close(channel);
        return e;
    }
    *out = channel;
    return ERR_NONE;
}

bool channel_connected_besides(const struct channel *channel,
                               const struct subchannel *except)
{
    for (size_t i = 0; i < channel->subchannel_count; i++)
        if (channel->subchannels[i] != except &&
            subchannel_connected(channel->subchannels[i]))
            return true;
    return false;
}

bool channel_connected(const struct channel *channel)
{
    return channel_connected_besides(channel, NULL);
}

/* ---------------------------------------------------------- closing */

/* Ends every call.  One that is between two waits is missed, so wait_idle repeats this. */
static void abort_all(struct channel *channel)
{
    for (size_t i = 0; i < channel->call_count; i++)
        nng_aio_cancel(channel->calls[i]->pause);
    sweeper_want(&channel->sweeper, 0);
}

static void wait_idle(struct channel *channel)
{
    const int64_t step_ms = 10;

    pthread_mutex_lock(&channel->lock);
    while (channel->in_flight > 0) {
        pthread_mutex_unlock(&channel->lock);
        abort_all(channel);
        pthread_mutex_lock(&channel->lock);
        if (channel->in_flight > 0)
            clock_cond_wait(&channel->idle, &channel->lock,
                            clock_monotonic_ms() + step_ms);
    }
    pthread_mutex_unlock(&channel->lock);
}

/*
 * Waits a moment for answers that no call waits for any more.  nng 1.5.2 waits for ever for
 * the rest of an answer if the connection is closed when only its length was read; then
 * nothing else of nng in the process can be closed.
 */
static void settle(const struct channel *channel)
{
    if (atomic_load(&channel->stragglers))
        nanosleep(&(struct timespec){.tv_nsec = STRAGGLERS_MS * 1000000}, NULL);
}

void channel_close(struct channel *channel)
{
    if (channel == NULL)
        return;
    pthread_mutex_lock(&channel->lock);
    atomic_store(&channel->closing, true);
    if (channel->in_flight > 0)
        atomic_store(&channel->stragglers, true);
    pthread_mutex_unlock(&channel->lock);
    wait_idle(channel);
    settle(channel);
    while (atomic_load(&channel->inside) > 0) /* a caller on its way out */
        sched_yield();
    sweeper_stop(&channel->sweeper);
    for (size_t i = 0; i < channel->subchannel_count; i++)
        subchannel_close(channel->subchannels[i]);
    sweeper_close(&channel->sweeper);
    for (size_t i = 0; i < channel->call_count; i++)
        client_call_free(channel->calls[i]);
    free(channel->calls);
    callee_release(channel->callee);
    pthread_cond_destroy(&channel->idle);
    pthread_mutex_destroy(&channel->lock);
    free(channel);
}
