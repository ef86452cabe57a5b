/*
 * client.c - opening a client, and making its calls (calls.h).
 *
 *   blocking:  wait_for() -> channel -> on_reply_waited  -> wakes the waiting thread
 *   started:   start()    -> channel -> on_reply_started -> deliver -> the user's done
 */
#include "client/calls.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "rpc/auth/keys.h"
#include "rpc/auth/reload.h"
#include "rpc/client/channel.h"

/* ---- errors ------------------------------------------------------------------- */

/* Copies what fits, to the last whole item. */
static void put_subject(char *out, size_t room, const char *subject)
{
    if (subject == NULL)
        return;
    snprintf(out, room, "%s", subject);
    if (strlen(subject) < room)
        return;
    char *comma = strrchr(out, ',');
    if (comma != NULL)
        *comma = '\0';
}

static void put_error(struct checkout_error *out, struct err e)
{
    memset(out, 0, sizeof *out);
    out->status = (enum checkout_status)err_grpc_status(e.code);
    out->effect = (enum checkout_effect)e.effect;
    out->retryable = err_retryable(e.code) || e.effect == EFFECT_UNKNOWN;
    out->retry_after_ms = e.retry_after_ms;
    snprintf(out->reason, sizeof out->reason, "%s", err_reason(e.code));
    snprintf(out->message, sizeof out->message, "%.*s", (int)sizeof out->message - 1,
             e.message);
    put_subject(out->subject, sizeof out->subject, e.subject);
    if (e.money != MONEY_UNKNOWN)
        snprintf(out->money, sizeof out->money, "%s", err_money_text(e.money));
}

enum checkout_status put_status(struct checkout_error *out, struct err e)
{
    if (out != NULL)
        put_error(out, e);
    return (enum checkout_status)err_grpc_status(e.code);
}

/* ---- replies ------------------------------------------------------------------ */

struct reply_head {
    struct arena *arena;
    max_align_t object[];
};

void *reply_new(struct arena *arena, size_t size)
{
    struct reply_head *head = arena_alloc(arena, sizeof *head + size);

    if (head == NULL)
        return NULL;
    head->arena = arena;
    return head->object;
}

void checkout_free(const void *reply)
{
    if (reply == NULL)
        return;
    const char *head = (const char *)reply - offsetof(struct reply_head, object);
    struct arena *arena;
    memcpy(&arena, head + offsetof(struct reply_head, arena), sizeof(struct arena *));
    arena_free(arena);
}

/* ---- calling ------------------------------------------------------------------ */

/* One call in progress. */
struct pending {
    const struct kind *kind;
    struct arena *arena;
    any_done *done; /* NULL: a blocking call */
    void *arg;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool over;
    struct err error;
    char subject[sizeof((struct checkout_error *)0)->subject]; /* error.subject */
    void *reply;
};

/* Fills in the reply that the caller will own, or the error. */
static void take_reply(struct pending *p, struct err e, const ProtobufCMessage *message,
                       bool replayed)
{
    if (!failed(e) && p->kind->refusal != NULL)
        e = p->kind->refusal(message);
    if (!failed(e)) {
        p->reply = p->kind->convert(p->arena, message, replayed);
        if (p->reply == NULL) {
            e = arena_memory_short(p->arena)
                    ? err_memory()
                    : err_make(ERR_DATA_LOSS,
                               "the answer of %s lacks a required field, or is too large",
                               p->kind->method);
            e.effect = EFFECT_APPLIED;
        }
    }
    p->error = e;
    if (!failed(e))
        return;
    put_subject(p->subject, sizeof p->subject, e.subject);
    p->error.subject = p->subject;
    arena_free(p->arena);
}

static void on_reply_waited(void *arg, struct err e, const ProtobufCMessage *message,
                            bool replayed)
{
    struct pending *p = arg;

    take_reply(p, e, message, replayed);
    pthread_mutex_lock(&p->lock);
    p->over = true;
    pthread_cond_signal(&p->ended);
    pthread_mutex_unlock(&p->lock);
}

static void on_reply_started(void *arg, struct err e, const ProtobufCMessage *message,
                             bool replayed)
{
    struct pending *p = arg;
    struct checkout_error error;

    take_reply(p, e, message, replayed);
    if (failed(p->error))
        put_error(&error, p->error);
    p->kind->deliver(p->done, p->arg, failed(p->error) ? &error : NULL, p->reply);
    checkout_free(p->reply);
    free(p);
}

/* Starts the call of `p`; on_reply runs when it ends. */
static checkout_call begin(checkout_client *client, struct pending *p,
                           const ProtobufCMessage *request,
                           const struct checkout_options *options, channel_done *on_reply)
{
    struct channel *channel = client->channels[p->kind->callee];
    static const struct checkout_options NONE = {0};

    if (options == NULL)
        options = &NONE;
    p->arena = arena_new(ARENA_MAX);
    if (p->arena == NULL || channel == NULL) {
        on_reply(p,
                 channel != NULL ? err_memory()
                                 : err_make(ERR_INVALID_ARGUMENT,
                                            "no inventory_addresses were given"),
                 NULL, false);
        return 0;
    }
    uint32_t ms = options->timeout_ms != 0 ? options->timeout_ms : client->timeout_ms;
    const struct channel_call call = {
        .method = p->kind->method,
        .request = request,
        .reply_type = p->kind->reply_type,
        .arena = p->arena,
        .deadline_ms = clock_monotonic_ms() + ms,
        .id = options->id,
        .traceparent = options->traceparent,
    };
    return channel_call(channel, &call, on_reply, p);
}

enum checkout_status wait_for(checkout_client *client, const struct kind *kind,
                              const ProtobufCMessage *request,
                              const struct checkout_options *options, void **reply,
                              struct checkout_error *error)
{
    struct pending p = {.kind = kind};

    pthread_mutex_init(&p.lock, NULL);
    pthread_cond_init(&p.ended, NULL);
    begin(client, &p, request, options, on_reply_waited);
    pthread_mutex_lock(&p.lock);
    while (!p.over) /* the channel ends it at its deadline */
        pthread_cond_wait(&p.ended, &p.lock);
    pthread_mutex_unlock(&p.lock);
    pthread_cond_destroy(&p.ended);
    pthread_mutex_destroy(&p.lock);
    if (reply != NULL)
        *reply = p.reply;
    else
        checkout_free(p.reply);
    return put_status(error, p.error);
}

checkout_call start(checkout_client *client, const struct kind *kind,
                    const ProtobufCMessage *request,
                    const struct checkout_options *options, any_done *done, void *arg)
{
    struct pending *p = calloc(1, sizeof *p);

    if (p == NULL)
        return start_nothing(kind, done, arg);
    p->kind = kind;
    p->done = done;
    p->arg = arg;
    /* The lowest bit says which channel, for checkout_cancel. */
    checkout_call ticket = begin(client, p, request, options, on_reply_started);
    return ticket == 0 ? 0 : ticket << 1 | (kind->callee == CALL_INVENTORY);
}

enum checkout_status wait_for_nothing(struct checkout_error *error)
{
    return put_status(error, err_memory());
}

checkout_call start_nothing(const struct kind *kind, any_done *done, void *arg)
{
    struct checkout_error error;

    put_error(&error, err_memory());
    kind->deliver(done, arg, &error, NULL);
    return 0;
}

void checkout_cancel(checkout_client *client, checkout_call call)
{
    struct channel *channel =
        client->channels[(call & 1) != 0 ? CALL_INVENTORY : CALL_ORCHESTRATOR];

    if (call != 0 && channel != NULL)
        channel_cancel(channel, call >> 1);
}

/* ---- opening and closing a client --------------------------------------------- */

enum {
    IN_FLIGHT_DEFAULT = 1024,
    TIMEOUT_DEFAULT_MS = 10000,
};

/* A library writes nothing to standard error; callers get errors. */
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
