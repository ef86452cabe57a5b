/* builtin.c - the services that every server has: rpc.v1's Health, Reflection, Metrics
 * and Calls (proto/rpc.proto). */
#include "rpc/server/server_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "proto/rpc.pb-c.h"

enum {
    DIGEST_BYTES = 16,
    /* Bytes of packed metrics in one answer; the rest of a message is for the
     * envelope. */
    METRICS_SIZE_MAX = RPC_MESSAGE_MAX - (64 << 10),
    LABELS_MAX = 8, /* of one metric */
};

/* Made at build time from proto/ (cmake/Checkout.cmake). */
extern const unsigned char rpc_descriptors[];
extern const size_t rpc_descriptors_size;

struct builtin {
    const struct rpc_server *server;
    Rpc__V1__Health_Service health;
    Rpc__V1__Reflection_Service reflection;
    Rpc__V1__Metrics_Service metrics;
    Rpc__V1__Calls_Service calls;
    int64_t started_ms;
    char digest[2 * DIGEST_BYTES + 1];
};

/* A handler of protobuf-c is given its service: this is what the service is a member
 * of. */
#define BUILTIN_OF(service, member)                                                      \
    ((const struct builtin *)(const void *)((const char *)(service)-offsetof(            \
        struct builtin, member)))

/* ---- Health ---- */

static Rpc__V1__HealthCheckReply__Status health_status(struct err health)
{
    return failed(health) ? RPC__V1__HEALTH_CHECK_REPLY__STATUS__NOT_SERVING
                          : RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING;
}

/* What they say lives in the arena.  False: memory is short. */
static bool put_parts(const struct rpc_server *server, struct arena *arena,
                      Rpc__V1__HealthCheckReply *answer)
{
    const size_t most = RPC_HEALTH_PARTS_MAX;

    if (server->health_parts == NULL)
        return true;
    struct rpc_health_part *parts = arena_alloc(arena, most * sizeof *parts);
    Rpc__V1__HealthPart *messages = arena_alloc(arena, most * sizeof *messages);
    answer->parts = arena_alloc(arena, most * sizeof *answer->parts);
    if (parts == NULL || messages == NULL || answer->parts == NULL)
        return false;
    answer->n_parts = server->health_parts(server->health_arg, parts);
    for (size_t i = 0; i < answer->n_parts; i++) {
        rpc__v1__health_part__init(&messages[i]);
        messages[i].name = (char *)parts[i].name;
        messages[i].status = health_status(parts[i].health);
        messages[i].detail = parts[i].health.message;
        answer->parts[i] = &messages[i];
    }
    return true;
}

static void health_check(Rpc__V1__Health_Service *service,
                         const Rpc__V1__HealthCheckRequest *request,
                         Rpc__V1__HealthCheckReply_Closure closure, void *closure_data)
{
    const struct rpc_server *server = BUILTIN_OF(service, health)->server;
    Rpc__V1__HealthCheckReply answer = RPC__V1__HEALTH_CHECK_REPLY__INIT;
    struct err e = server->health == NULL ? ERR_NONE : server->health(server->health_arg);

    (void)request;
    answer.status = health_status(e);
    answer.detail = e.message;
    if (e.subject != NULL)
        answer.summary = (char *)e.subject;
    if (put_parts(server, rpc_call_arena(closure_data), &answer))
        closure(&answer, closure_data);
    else
        rpc_call_fail(closure_data, err_memory());
}

/* ---- Reflection ---- */

static void reflection_describe(Rpc__V1__Reflection_Service *service,
                                const Rpc__V1__DescribeRequest *request,
                                Rpc__V1__DescribeReply_Closure closure,
                                void *closure_data)
{
    const struct builtin *builtin = BUILTIN_OF(service, reflection);
    const struct rpc_server *server = builtin->server;
    const struct rpc_call *call = closure_data;
    Rpc__V1__DescribeReply answer = RPC__V1__DESCRIBE_REPLY__INIT;

    answer.n_services = server->service_count;
    answer.services =
        arena_alloc(rpc_call_arena(closure_data), answer.n_services * sizeof(char *));
    if (answer.services == NULL) {
        rpc_call_fail(closure_data, err_memory());
        return;
    }
    for (size_t i = 0; i < answer.n_services; i++)
        answer.services[i] = (char *)server->served[i].service->descriptor->name;
    if (strcmp(request->have_digest, builtin->digest) != 0) {
        answer.file_descriptor_set.data = (uint8_t *)rpc_descriptors;
        answer.file_descriptor_set.len = rpc_descriptors_size;
    }
    answer.digest = (char *)builtin->digest;
    answer.program = (char *)log_program();
    answer.n_allowed_methods = call->opened.caller->method_count;
    answer.allowed_methods = call->opened.caller->methods;
    closure(&answer, closure_data);
}

/* ---- Metrics ---- */

struct reading {
    const Rpc__V1__ReadMetricsRequest *request;
    Rpc__V1__ReadMetricsReply *answer;
    struct arena *arena;
    size_t size; /* bytes, packed, so far */
    bool memory_short;
};

static bool wanted(const Rpc__V1__ReadMetricsRequest *request,
                   const struct metric *metric)
{
    bool zero = metric->kind == METRIC_COUNTER     ? metric->value == 0
                : metric->kind == METRIC_HISTOGRAM ? metric->histogram.count == 0
                                                   : false;

    return strncmp(metric->name, request->prefix, strlen(request->prefix)) == 0 &&
           (!zero || request->with_zeros);
}

/* "a=1,b=2" into labels.  A value may have '=' in it. */
static bool put_labels(struct arena *arena, const char *text, Rpc__V1__Metric *out)
{
    char *rest = arena_strdup(arena, text), *pair;

    out->labels = arena_alloc(arena, LABELS_MAX * sizeof *out->labels);
    if (rest == NULL || out->labels == NULL)
        return false;
    while (*text != '\0' && out->n_labels < LABELS_MAX &&
           (pair = strsep(&rest, ",")) != NULL) {
        Rpc__V1__MetricLabel *label = arena_alloc(arena, sizeof *label);
        if (label == NULL)
            return false;
        rpc__v1__metric_label__init(label);
        label->name = strsep(&pair, "=");
        if (pair != NULL)
            label->value = pair;
        out->labels[out->n_labels++] = label;
    }
    return true;
}

static bool put_histogram(struct arena *arena, const struct histogram_summary *s,
                          Rpc__V1__Metric *out)
{
    Rpc__V1__Histogram *h = arena_alloc(arena, sizeof *h);

    if (h == NULL)
        return false;
    rpc__v1__histogram__init(h);
    h->count = s->count;
    h->sum = s->sum;
    h->most = s->most;
    h->p50 = s->p50;
    h->p90 = s->p90;
    h->p95 = s->p95;
    h->p99 = s->p99;
    h->p999 = s->p999;
    out->histogram = h;
    return true;
}

static Rpc__V1__Metric *to_message(struct arena *arena, const struct metric *metric)
{
    Rpc__V1__Metric *out = arena_alloc(arena, sizeof *out);

    if (out == NULL)
        return NULL;
    rpc__v1__metric__init(out);
    out->name = (char *)metric->name;
    out->kind = (Rpc__V1__Metric__Kind)metric->kind;
    out->value = metric->value;
    if (!put_labels(arena, metric->labels, out))
        return NULL;
    if (metric->kind == METRIC_HISTOGRAM &&
        !put_histogram(arena, &metric->histogram, out))
        return NULL;
    return out;
}

static void read_one(void *arg, const struct metric *metric)
{
    struct reading *r = arg;

    if (!wanted(r->request, metric) || r->memory_short || r->answer->truncated)
        return;
    Rpc__V1__Metric *message = to_message(r->arena, metric);
    if (message == NULL) {
        r->memory_short = true;
        return;
    }
    r->size += rpc__v1__metric__get_packed_size(message) + 8;
    if (r->size > METRICS_SIZE_MAX)
        r->answer->truncated = true;
    else
        r->answer->metrics[r->answer->n_metrics++] = message;
}

static void metrics_read(Rpc__V1__Metrics_Service *service,
                         const Rpc__V1__ReadMetricsRequest *request,
                         Rpc__V1__ReadMetricsReply_Closure closure, void *closure_data)
{
    const struct builtin *builtin = BUILTIN_OF(service, metrics);
    Rpc__V1__ReadMetricsReply answer = RPC__V1__READ_METRICS_REPLY__INIT;
    struct reading reading = {request, &answer, rpc_call_arena(closure_data), 0, false};

    answer.metrics = arena_alloc(reading.arena, METRICS_MAX * sizeof *answer.metrics);
    if (answer.metrics != NULL)
        metrics_each(builtin->server->metrics, read_one, &reading);
    if (answer.metrics == NULL || reading.memory_short) {
        rpc_call_fail(closure_data, err_memory());
        return;
    }
    answer.program = (char *)log_program();
    answer.started_at_ms = builtin->started_ms;
    answer.now_ms = clock_wall_ms();
    closure(&answer, closure_data);
}

/* ---- Calls ---- */

static void calls_cancel(Rpc__V1__Calls_Service *service,
                         const Rpc__V1__CancelRequest *request,
                         Rpc__V1__CancelReply_Closure closure, void *closure_data)
{
    Rpc__V1__CancelReply answer = RPC__V1__CANCEL_REPLY__INIT;

    (void)service;
    answer.cancelled = call_cancel(closure_data, request->id);
    closure(&answer, closure_data);
}

/* ---- all of them ---- */

static void make_digest(char out[2 * DIGEST_BYTES + 1])
{
    unsigned char hash[DIGEST_BYTES];

    crypto_generichash(hash, sizeof hash, rpc_descriptors, rpc_descriptors_size, NULL, 0);
    sodium_bin2hex(out, 2 * DIGEST_BYTES + 1, hash, sizeof hash);
}

struct builtin *builtin_new(const struct rpc_server *server,
                            ProtobufCService *out[BUILTIN_SERVICES])
{
    struct builtin *b = calloc(1, sizeof *b);

    if (b == NULL)
        return NULL;
    b->server = server;
    b->started_ms = clock_wall_ms();
    make_digest(b->digest);
    b->health = (Rpc__V1__Health_Service)RPC__V1__HEALTH__INIT(health_);
    b->reflection = (Rpc__V1__Reflection_Service)RPC__V1__REFLECTION__INIT(reflection_);
    b->metrics = (Rpc__V1__Metrics_Service)RPC__V1__METRICS__INIT(metrics_);
    b->calls = (Rpc__V1__Calls_Service)RPC__V1__CALLS__INIT(calls_);
    out[0] = &b->health.base;
    out[1] = &b->reflection.base;
    out[2] = &b->metrics.base;
    out[3] = &b->calls.base;
    return b;
}

void builtin_free(struct builtin *builtin)
{
    free(builtin);
}

bool builtin_is_free(const char *method)
{
    return strcmp(method, "rpc.v1.Health/Check") == 0 ||
           strcmp(method, "rpc.v1.Calls/Cancel") == 0;
}

bool builtin_is_open(const char *method)
{
    return builtin_is_free(method) || strcmp(method, "rpc.v1.Reflection/Describe") == 0;
}
