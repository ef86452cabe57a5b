/* remote.c - see remote.h. */
#include "cli/remote.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/output.h"
#include "proto/events.pb-c.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"
#include "proto/rpc.pb-c.h"
#include "rpc/auth/keys.h"
#include "rpc/client/channel.h"

#define ADDRESSES(of) offsetof(struct settings, of##_addresses), #of "_addresses"

const struct place PLACES[] = {
    {"orchestrator", ADDRESSES(orchestrator), {"orders.v1.Orders", "events.v1.Events"}},
    {"inventory", ADDRESSES(inventory), {"inventory.v1.Inventory"}},
    {"payment", ADDRESSES(payment), {"payment.v1.Payment"}},
    {"gateway", ADDRESSES(gateway), {NULL}},
    {"webhook", ADDRESSES(webhook), {NULL}},
};

enum { PLACES_OPTIONAL = 1 }; /* the last: webhook */

const size_t PLACES_COUNT = sizeof PLACES / sizeof *PLACES - PLACES_OPTIONAL;
const size_t PLACES_ALL = sizeof PLACES / sizeof *PLACES;

static const struct place ELSEWHERE = {.name = "server"};

/* ---- where ------------------------------------------------------------------------- */

const struct place *place_find(const char *name)
{
    for (size_t i = 0; i < PLACES_ALL; i++)
        if (strcmp(PLACES[i].name, name) == 0)
            return &PLACES[i];
    return NULL;
}

const struct place *place_serving(const char *service)
{
    for (size_t i = 0; i < PLACES_COUNT; i++)
        for (size_t s = 0; s < PLACE_SERVICES_MAX; s++)
            if (PLACES[i].services[s] != NULL &&
                strcmp(PLACES[i].services[s], service) == 0)
                return &PLACES[i];
    return NULL;
}

struct err place_asked(const struct cli *cli, const struct place **out)
{
    const char *name = cli->options[OPT_SERVICE];

    *out = cli->options[OPT_URL] != NULL ? &ELSEWHERE : NULL;
    if (name == NULL)
        return ERR_NONE;
    *out = place_find(name);
    if (*out != NULL)
        return ERR_NONE;
    return invalid("--service is \"%.80s\"; it must be orchestrator, inventory, payment, "
                   "gateway or webhook (for another server give --url and --service-key)",
                   name);
}

const char *place_addresses(const struct cli *cli, const struct place *place)
{
    const struct settings *s = &cli->settings;

    if (cli->options[OPT_URL] != NULL)
        return cli->options[OPT_URL];
    return place->setting == NULL
               ? ""
               : *(char *const *)(const void *)((const char *)s + place->addresses);
}

#define X(constant, place, package, service, call, reply)                                \
    const struct method constant = {place, #package ".v1." #service "/" #call,           \
                                    &package##__v1__##reply##_reply__descriptor};
METHODS(X)
#undef X

/* ---- a connection ------------------------------------------------------------------ */

enum { GRACE_MS = 1000, CALLS_MAX = 256, HANDSHAKE_MS = 50 };

struct remote {
    struct key *key;
    struct principals *services;
    struct channel *channel; /* NULL once a call outlived its deadline */
    int64_t opened_ms;       /* clock_monotonic_ms */
    atomic_bool answered;    /* whether a call ever was */
    struct rpc_metadata metadata[CLI_HEADERS_MAX];
    size_t metadata_count;
    const char *traceparent; /* of -H traceparent:..., or NULL */
    const char *tracestate;  /* likewise */
    pthread_mutex_t lock;    /* guards the results of calls */
};

/* Our key and the service's: from the settings, or --key and --service-key. */
static struct err read_keys(const struct cli *cli, const struct place *place,
                            struct remote *server)
{
    const struct settings *s = &cli->settings;
    const char *public = cli->options[OPT_SERVICE_KEY], *file = cli->options[OPT_KEY];
    struct err e = file != NULL ? ERR_NONE : cli_need(s->key_file, "key_file (or --key)");

    if (!failed(e))
        e = key_read(file != NULL ? file : s->key_file, &server->key);
    if (!failed(e) && public != NULL)
        return principals_of_service(place->name, public, server->key, &server->services);
    if (!failed(e) && place->setting == NULL)
        e = invalid(
            "whose server is at %.80s? Give its --service-key PUBLIC, or --service NAME "
            "for one of the stack's",
            cli->options[OPT_URL]);
    if (!failed(e))
        e = cli_need(s->services_file, "services_file");
    if (!failed(e))
        e = principals_read(s->services_file, false, server->key, &server->services);
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
                               struct remote *server)
{
    const char *addresses = place_addresses(cli, place);
    struct err e = cli_need(addresses, place->setting != NULL ? place->setting : "--url");

    if (!failed(e))
        e = read_keys(cli, place, server);
    if (!failed(e))
        e = channel_open(&(struct channel_config){.service = place->name,
                                                  .addresses = addresses,
                                                  .key = server->key,
                                                  .services = server->services,
                                                  .tls = tls_files(cli),
                                                  .in_flight_max = CALLS_MAX},
                         &server->channel);
    return e;
}

/* The trace has fields of its own in a request: from there services pass it on. */
static void take_header(struct remote *server, const struct cli_header *header)
{
    if (strcmp(header->name, "traceparent") == 0)
        server->traceparent = header->value;
    else if (strcmp(header->name, "tracestate") == 0)
        server->tracestate = header->value;
    else
        server->metadata[server->metadata_count++] =
            (struct rpc_metadata){header->name, header->value};
}

struct outcome remote_open(const struct cli *cli, const struct place *place,
                           struct remote **out)
{
    struct remote *server = calloc(1, sizeof *server);

    if (server == NULL)
        return local(err_memory());
    pthread_mutex_init(&server->lock, NULL);
    server->opened_ms = clock_monotonic_ms();
    for (int i = 0; i < cli->header_count; i++)
        take_header(server, &cli->headers[i]);
    struct err e = open_channel(cli, place, server);
    if (failed(e))
        remote_close(server);
    else
        *out = server;
    return local(e);
}

/*
 * nng 1.5.2 can hang when a socket is closed during its handshake
 * (https://github.com/nanomsg/nng/issues/1543): with --max-time 0.001 once in 20 calls.
 * So a connection that was given up early is closed only after its handshake is over.
 */
static void outlast_handshake(const struct remote *server)
{
    int64_t ms = clock_remaining_ms(server->opened_ms + HANDSHAKE_MS);

    if (!server->answered && ms > 0)
        nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

static void close_channel(struct remote *server)
{
    if (server->channel == NULL)
        return;
    outlast_handshake(server);
    channel_close(server->channel);
    server->channel = NULL;
}

void remote_close(struct remote *server)
{
    if (server == NULL)
        return;
    close_channel(server);
    principals_free(server->services);
    key_free(server->key);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static void on_reply(void *arg, struct err error, const ProtobufCMessage *reply,
                     bool replayed)
{
    struct pending_call *call = arg;
    struct remote *server = call->server;

    (void)replayed;
    pthread_mutex_lock(&server->lock);
    call->error = error;
    call->reply = reply;
    call->ended = true;
    pthread_cond_signal(&call->end);
    pthread_mutex_unlock(&server->lock);
}

void remote_start(struct remote *server, struct pending_call *call,
                  const struct method *method, const ProtobufCMessage *request,
                  struct arena *arena, int64_t timeout_ms)
{
    *call = (struct pending_call){.server = server,
                                  .deadline_ms = clock_monotonic_ms() + timeout_ms};
    clock_cond_init(&call->end);
    if (server->channel == NULL) {
        on_reply(call, err_unknown(ERR_DEADLINE_EXCEEDED, "An earlier call did not end."),
                 NULL, false);
        return;
    }
    channel_call(server->channel,
                 &(struct channel_call){.method = method->name,
                                        .request = request,
                                        .reply_type = method->reply_type,
                                        .arena = arena,
                                        .deadline_ms = call->deadline_ms,
                                        .traceparent = server->traceparent,
                                        .tracestate = server->tracestate,
                                        .metadata = server->metadata,
                                        .metadata_count = server->metadata_count},
                 on_reply, call);
}

struct outcome remote_wait(struct pending_call *call, const ProtobufCMessage **reply)
{
    struct remote *server = call->server;

    pthread_mutex_lock(&server->lock);
    while (!call->ended &&
           clock_cond_wait(&call->end, &server->lock, call->deadline_ms + GRACE_MS))
        ;
    bool ended = call->ended;
    pthread_mutex_unlock(&server->lock);
    if (!ended)
        close_channel(server); /* ends the call, and waits for that */
    pthread_cond_destroy(&call->end);
    if (!failed(call->error))
        atomic_store(&server->answered, true);
    *reply = call->reply;
    return remote(call->error);
}

/* ---- one call ---------------------------------------------------------------------- */

/* Any answer of the server proves that it is connected, which nng does not report. */
struct outcome remote_connect(const struct cli *cli, struct remote *server)
{
    Rpc__V1__HealthCheckRequest request = RPC__V1__HEALTH_CHECK_REQUEST__INIT;
    const ProtobufCMessage *reply = NULL;
    struct pending_call call;
    int64_t most_ms =
        cli->connect_timeout_ms > 0 ? cli->connect_timeout_ms : cli->max_time_ms;

    remote_start(server, &call, &CHECK_HEALTH, &request.base, cli->arena, most_ms);
    struct outcome end = remote_wait(&call, &reply);
    if (end.error.code != ERR_UNAVAILABLE && end.error.code != ERR_DEADLINE_EXCEEDED)
        return done();
    return remote(err_make(ERR_UNAVAILABLE,
                           "no server answered within %.3f s; is it running, and its "
                           "address right? (checkoutctl ping)",
                           (double)most_ms / 1000));
}

static double ms_since(int64_t us)
{
    return (double)(clock_monotonic_us() - us) / 1000;
}

struct outcome remote_call(const struct cli *cli, const struct place *place,
                           const struct method *method, const ProtobufCMessage *request,
                           const ProtobufCMessage **reply)
{
    bool verbose = cli->options[OPT_VERBOSE] != NULL;
    struct remote *server = NULL;
    struct pending_call call;
    int64_t began_us = clock_monotonic_us();

    if (place == NULL)
        place = place_find(method->place);
    struct outcome end = remote_open(cli, place, &server);
    if (end.status == 0 && (verbose || cli->connect_timeout_ms > 0))
        end = remote_connect(cli, server);
    if (end.status == 0 && verbose)
        fprintf(cli->err, "* %s at %s: connected and a first answer, %.3f ms\n",
                place->name, place_addresses(cli, place), ms_since(began_us));
    if (end.status == 0) {
        began_us = clock_monotonic_us();
        remote_start(server, &call, method, request, cli->arena, cli->max_time_ms);
        end = remote_wait(&call, reply);
        if (verbose)
            fprintf(cli->err, "* %s: %zu bytes asked, %zu answered, %.3f ms\n",
                    method->name, protobuf_c_message_get_packed_size(request),
                    end.status == 0 ? protobuf_c_message_get_packed_size(*reply) : 0,
                    ms_since(began_us));
    }
    remote_close(server);
    return end;
}

struct outcome remote_show(const struct cli *cli, const struct method *method,
                           const ProtobufCMessage *request, reply_printer *print)
{
    const ProtobufCMessage *reply = NULL;
    struct outcome end = remote_call(cli, NULL, method, request, &reply);

    if (end.status == 0 && cli->options[OPT_JSON] == NULL)
        print(cli, reply);
    else if (end.status == 0)
        end = local(output_message(cli, reply));
    return end;
}

struct outcome remote_say(const struct cli *cli, const struct method *method,
                          const ProtobufCMessage *request, const char *format, ...)
{
    const ProtobufCMessage *reply = NULL;
    struct outcome end = remote_call(cli, NULL, method, request, &reply);
    va_list args;

    if (end.status == 0 && cli->options[OPT_JSON] != NULL)
        return local(output_message(cli, reply));
    va_start(args, format);
    if (end.status == 0)
        vfprintf(cli->out, format, args);
    va_end(args);
    return end;
}

/* ---- several services at once ------------------------------------------------------ */

enum { QUESTION_MEMORY_MAX = 32 << 20 };

static int64_t patience(const struct cli *cli)
{
    return cli->options[OPT_MAX_TIME] != NULL ? cli->max_time_ms : SEVERAL_MS;
}

int64_t several_deadline(const struct cli *cli)
{
    return clock_monotonic_ms() + patience(cli);
}

int64_t several_share(int64_t deadline_ms, bool last)
{
    int64_t left = clock_remaining_ms(deadline_ms);
    int64_t share = last ? left : left / 2;

    return share > 0 ? share : 1; /* 0 would mean the default */
}

static void start(const struct cli *cli, struct question *q)
{
    if (q->place == NULL)
        q->place = place_find(q->method->place);
    q->reply = NULL;
    q->started = false;
    q->server = NULL;
    q->arena = arena_new(QUESTION_MEMORY_MAX);
    q->end =
        q->arena == NULL ? local(err_memory()) : remote_open(cli, q->place, &q->server);
    if (q->end.status != 0)
        return;
    remote_start(q->server, &q->call, q->method, q->request, q->arena,
                 q->timeout_ms > 0 ? q->timeout_ms : patience(cli));
    q->started = true;
}

void several_ask(const struct cli *cli, struct question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        start(cli, &questions[i]);
    for (size_t i = 0; i < count; i++) {
        struct question *q = &questions[i];
        const ProtobufCMessage *reply = NULL;
        if (q->started)
            q->end = remote_wait(&q->call, &reply);
        if (q->end.status == 0)
            q->reply = reply;
    }
}

void several_close(struct question *questions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        remote_close(questions[i].server);
        arena_free(questions[i].arena);
        questions[i].server = NULL;
        questions[i].arena = NULL;
    }
}

bool question_missing(const struct question *q)
{
    return q->end.status != 0 && q->end.error.code != ERR_NOT_FOUND;
}

/* Whether it is missing, and the first of its service that is. */
static bool is_first(const struct question *questions, size_t i)
{
    if (!question_missing(&questions[i]))
        return false;
    for (size_t k = 0; k < i; k++)
        if (questions[k].place == questions[i].place && question_missing(&questions[k]))
            return false;
    return true;
}

static struct err reason_of(const struct question *q)
{
    struct err e = q->end.error;

    snprintf(e.message, sizeof e.message, "%s is missing: %.140s", q->place->name,
             q->end.error.message);
    e.subject = NULL; /* may live in the question's memory */
    e.effect = EFFECT_NONE;
    return e;
}

/* Where the next one is, from `at` on; count: there is none. */
static size_t next_missing(const struct question *questions, size_t count, size_t at)
{
    while (at < count && !is_first(questions, at))
        at++;
    return at;
}

struct outcome several_end(const struct question *questions, size_t count)
{
    size_t first = next_missing(questions, count, 0);

    if (first == count)
        return done();
    return (struct outcome){questions[first].end.status, reason_of(&questions[first])};
}

void several_name_others(const struct cli *cli, const struct question *questions,
                         size_t count)
{
    size_t i = next_missing(questions, count, 0);

    while (i < count && (i = next_missing(questions, count, i + 1)) < count)
        fprintf(cli->err, "checkoutctl: %s\n", reason_of(&questions[i]).message);
}

json_t *several_missing_json(const struct question *questions, size_t count)
{
    json_t *missing = json_array();

    for (size_t i = next_missing(questions, count, 0); i < count;
         i = next_missing(questions, count, i + 1))
        json_array_append_new(missing,
                              json_pack("{s:s, s:s}", "service", questions[i].place->name,
                                        "reason", questions[i].end.error.message));
    return missing;
}
