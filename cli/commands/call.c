/*
 * call.c - checkoutctl call and bench: calls any method of any server once, or repeatedly
 * to measure it.
 *
 * bench has a thread for each call in flight, all on one connection.  Each waits for its
 * answer before it calls again, so this measures latency at that concurrency (a closed
 * loop).  Latencies go into a histogram of fixed size, whose values are at most 1/32 too
 * large.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "cli/catalogue.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/schema/json.h"

/* ---- call -------------------------------------------------------------------------- */

static struct outcome call(struct cli *cli, const struct found_method *method)
{
    const char *text = NULL;
    size_t size = 0;
    ProtobufCMessage *request = NULL;
    const ProtobufCMessage *reply = NULL;

    struct err e = request_text(cli, &text, &size);
    if (!failed(e))
        e = message_from_json(text, size, method->input, cli->arena, &request);
    if (failed(e))
        return misused(e);
    struct outcome end =
        method_reads(method) ? done() : cli_confirm(cli, method->method.name);
    if (end.status == 0)
        end = remote_call(cli, method->place, &method->method, request, &reply);
    return end.status != 0 ? end : local(output_message(cli, reply));
}

struct outcome command_call(struct cli *cli)
{
    struct found_method method;
    struct outcome end = request_method(cli, &method);

    if (end.status == 0 && cli->options[OPT_TEMPLATE] != NULL)
        return local(output_json(cli, template_of(method.input)));
    if (end.status == 0)
        end = misused(method_place(&method));
    return end.status != 0 ? end : call(cli, &method);
}

/* ---- bench ------------------------------------------------------------------------- */

enum {
    BUCKETS = 1024,
    FINE = 32, /* buckets for each doubling */
    STATUSES = 17,
    CONCURRENCY_MAX = 256,
    CALL_MEMORY_MAX = 16 << 20,
};

static const char PLACEHOLDER[] = "{{ulid}}";

struct bench {
    const struct cli *cli;
    struct found_method method;
    const char *text; /* the request's JSON, with placeholders */
    struct remote *server;
    int64_t end_us;
};

struct worker {
    const struct bench *bench;
    pthread_t thread;
    struct arena *arena;             /* of one call */
    const ProtobufCMessage *request; /* the same for all calls; NULL: made for each */
    uint64_t histogram[BUCKETS];
    uint64_t statuses[STATUSES];
    uint64_t calls;
    int64_t most_us;
    struct outcome failure; /* the last */
};

/* ---- the histogram ----------------------------------------------------------------- */

static size_t bucket_of(int64_t us)
{
    uint64_t value = us < 0 ? 0 : (uint64_t)us;
    int bits = 64 - __builtin_clzll(value | 1);
    int shift = bits > 6 ? bits - 6 : 0;
    size_t bucket = (size_t)shift * FINE + (size_t)(value >> shift);

    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* The greatest value of a bucket. */
static int64_t bucket_top(size_t bucket)
{
    size_t shift = bucket < 2 * FINE ? 0 : bucket / FINE - 1;

    return (int64_t)(((bucket - shift * FINE + 1) << shift) - 1);
}

static int64_t percentile_us(const struct worker *sum, double part)
{
    uint64_t wanted = (uint64_t)((double)sum->calls * part), seen = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        seen += sum->histogram[i];
        if (seen > wanted || (seen == sum->calls && seen > 0)) {
            int64_t top = bucket_top(i);
            return top < sum->most_us ? top : sum->most_us;
        }
    }
    return 0;
}

/* ---- calling ----------------------------------------------------------------------- */

/* The JSON with a new ULID in place of each placeholder. */
static char *fill(const struct bench *bench, struct arena *arena)
{
    size_t size = strlen(bench->text) + 1, length = 0;
    size_t placeholder = sizeof PLACEHOLDER - 1;
    const char *from = bench->text;

    for (const char *p = from; (p = strstr(p, PLACEHOLDER)) != NULL; p += placeholder)
        size += ULID_SIZE;
    char *out = arena_alloc(arena, size);
    while (out != NULL && *from != '\0') {
        if (strncmp(from, PLACEHOLDER, placeholder) == 0) {
            ulid_make(out + length);
            length += ULID_LENGTH;
            from += placeholder;
        } else {
            out[length++] = *from++;
        }
    }
    return out;
}

static struct err make_request(const struct bench *bench, struct arena *arena,
                               const ProtobufCMessage **out)
{
    ProtobufCMessage *message = NULL;
    char *text = fill(bench, arena);
    struct err e = text == NULL ? err_memory()
                                : message_from_json(text, strlen(text),
                                                    bench->method.input, arena, &message);

    *out = message;
    return e;
}

static struct outcome ask_once(struct worker *w)
{
    const struct bench *b = w->bench;
    const ProtobufCMessage *request = w->request, *reply = NULL;
    struct pending_call call;
    struct err e = ERR_NONE;

    arena_reset(w->arena);
    if (request == NULL)
        e = make_request(b, w->arena, &request);
    if (failed(e))
        return local(e);
    remote_start(b->server, &call, &b->method.method, request, w->arena,
                 b->cli->max_time_ms);
    return remote_wait(&call, &reply);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    int64_t now_us = clock_monotonic_us();

    while (now_us < w->bench->end_us) {
        struct outcome end = ask_once(w);
        int64_t after_us = clock_monotonic_us(), us = after_us - now_us;
        w->histogram[bucket_of(us)]++;
        w->calls++;
        w->most_us = us > w->most_us ? us : w->most_us;
        w->statuses[err_grpc_status(end.error.code)]++;
        if (end.status != 0) {
            w->failure = end;
            w->failure.error.subject = NULL; /* lives in an arena that is reset */
        }
        now_us = after_us;
    }
    return NULL;
}

/* ---- the result -------------------------------------------------------------------- */

static void add(struct worker *sum, const struct worker *w)
{
    for (size_t i = 0; i < BUCKETS; i++)
        sum->histogram[i] += w->histogram[i];
    for (size_t i = 0; i < STATUSES; i++)
        sum->statuses[i] += w->statuses[i];
    sum->calls += w->calls;
    sum->most_us = w->most_us > sum->most_us ? w->most_us : sum->most_us;
    if (w->failure.status != 0)
        sum->failure = w->failure;
}

static const struct {
    const char *name, *json;
    double part;
} PERCENTILES[] = {{"p50", "p50_us", 0.5},
                   {"p90", "p90_us", 0.9},
                   {"p95", "p95_us", 0.95},
                   {"p99", "p99_us", 0.99},
                   {"p99.9", "p999_us", 0.999}};

static struct err print_json(const struct bench *b, const struct worker *sum,
                             int64_t concurrency, double seconds)
{
    json_t *statuses = json_object(), *all;

    for (unsigned i = 0; i < STATUSES; i++)
        if (sum->statuses[i] > 0)
            json_object_set_new(statuses, status_name(i),
                                json_integer((json_int_t)sum->statuses[i]));
    all = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o}", "method", b->method.method.name,
                    "concurrency", (json_int_t)concurrency, "elapsed_ms",
                    (json_int_t)(seconds * 1000), "calls", (json_int_t)sum->calls,
                    "calls_per_second", (json_int_t)((double)sum->calls / seconds),
                    "statuses", statuses);
    for (size_t i = 0; i < sizeof PERCENTILES / sizeof *PERCENTILES; i++)
        json_object_set_new(all, PERCENTILES[i].json,
                            json_integer(percentile_us(sum, PERCENTILES[i].part)));
    json_object_set_new(all, "most_us", json_integer(sum->most_us));
    return output_json(b->cli, all);
}

static void print_words(const struct bench *b, const struct worker *sum,
                        int64_t concurrency, double seconds)
{
    FILE *out = b->cli->out;

    fprintf(out, "%s, %" PRId64 " at once for %.1f s\n\n", b->method.method.name,
            concurrency, seconds);
    fprintf(out, "  %" PRIu64 " calls, %.1f a second, %" PRIu64 " failed\n", sum->calls,
            (double)sum->calls / seconds, sum->calls - sum->statuses[0]);
    fprintf(out, "  latency in ms:");
    for (size_t i = 0; i < sizeof PERCENTILES / sizeof *PERCENTILES; i++)
        fprintf(out, "  %s %.3f", PERCENTILES[i].name,
                (double)percentile_us(sum, PERCENTILES[i].part) / 1000);
    fprintf(out, "  most %.3f\n", (double)sum->most_us / 1000);
    for (unsigned i = 1; i < STATUSES; i++)
        if (sum->statuses[i] > 0)
            fprintf(out, "  %-20s %" PRIu64 "\n", status_name(i), sum->statuses[i]);
    if (sum->failure.status != 0) {
        fprintf(out, "  the last failure: ");
        output_text(out, sum->failure.error.message);
        fputc('\n', out);
    }
}

/* Fails if every call failed. */
static struct outcome report(const struct bench *b, const struct worker *sum,
                             int64_t concurrency, double seconds)
{
    struct err e = ERR_NONE;

    if (b->cli->options[OPT_JSON] != NULL)
        e = print_json(b, sum, concurrency, seconds);
    else
        print_words(b, sum, concurrency, seconds);
    return failed(e) ? local(e) : sum->statuses[0] == 0 ? sum->failure : done();
}

/* ---- the run ----------------------------------------------------------------------- */

static struct outcome run_workers(struct bench *b, struct worker *workers,
                                  int64_t concurrency, int64_t seconds)
{
    struct worker *sum = &workers[concurrency];
    int64_t began_us = clock_monotonic_us(), started = 0;
    struct err e = ERR_NONE;

    b->end_us = began_us + seconds * 1000000;
    for (; started < concurrency; started++) {
        struct worker *w = &workers[started];
        if (pthread_create(&w->thread, NULL, work, w) != 0) {
            e = err_make(ERR_RESOURCE_EXHAUSTED, "no thread could be started");
            b->end_us = 0;
            break;
        }
    }
    for (int64_t i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        add(sum, &workers[i]);
    }
    return failed(e) ? local(e)
                     : report(b, sum, concurrency,
                              (double)(clock_monotonic_us() - began_us) / 1e6);
}

/* Workers with memory each; without placeholders they share one request. */
static struct outcome with_workers(struct bench *b, int64_t concurrency, int64_t seconds)
{
    struct worker *workers = calloc((size_t)concurrency + 1, sizeof *workers);
    const ProtobufCMessage *request = NULL;
    struct err e = workers == NULL ? err_memory() : ERR_NONE;
    bool fixed = strstr(b->text, PLACEHOLDER) == NULL;

    if (!failed(e))
        e = make_request(b, b->cli->arena, &request); /* an invalid request fails here */
    for (int64_t i = 0; !failed(e) && i < concurrency; i++) {
        workers[i] = (struct worker){.bench = b, .request = fixed ? request : NULL};
        workers[i].arena = arena_new(CALL_MEMORY_MAX);
        if (workers[i].arena == NULL)
            e = err_memory();
    }
    struct outcome end =
        failed(e) ? misused(e) : remote_open(b->cli, b->method.place, &b->server);
    if (end.status == 0)
        end = remote_connect(b->cli, b->server);
    if (end.status == 0)
        end = run_workers(b, workers, concurrency, seconds);
    remote_close(b->server);
    for (int64_t i = 0; workers != NULL && i < concurrency; i++)
        arena_free(workers[i].arena);
    free(workers);
    return end;
}

struct outcome command_bench(struct cli *cli)
{
    struct bench bench = {.cli = cli};
    int64_t concurrency = 8, seconds = 5;
    size_t size = 0;
    struct outcome end = request_method(cli, &bench.method);
    struct err e = ERR_NONE;

    if (end.status != 0)
        return end;
    e = cli_option(cli, OPT_CONCURRENCY, 1, CONCURRENCY_MAX, &concurrency);
    if (!failed(e))
        e = cli_option(cli, OPT_SECONDS, 1, 3600, &seconds);
    if (!failed(e))
        e = method_place(&bench.method);
    if (!failed(e))
        e = request_text(cli, &bench.text, &size);
    if (failed(e))
        return misused(e);
    end =
        method_reads(&bench.method) ? done() : cli_confirm(cli, bench.method.method.name);
    return end.status == 0 ? with_workers(&bench, concurrency, seconds) : end;
}
