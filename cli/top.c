/*
 * top.c - checkoutctl top: a live screen of what the servers are doing.
 *
 * Each look reads rpc.v1.Metrics of every server and counts the unfinished checkouts.  The
 * gateway's routes stand beside the methods of the others.  Rates are differences between two looks; a server that began anew in between starts
 * from zero.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/catalogue.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

enum { SERVERS_MAX = 8, METHODS_MAX = 48, NAME_SIZE = 80, LOOK_MEMORY_MAX = 16 << 20 };

struct method_sample {
    char name[NAME_SIZE];
    int64_t calls, failed, in_flight;
    uint64_t count, sum_us, p50_us, p99_us;
};

struct sample {
    char trouble[192]; /* why there is none; "" */
    int64_t started_at_ms, now_ms;
    int64_t queue, batches, batched, batch_most;
    struct method_sample methods[METHODS_MAX];
    size_t count;
};

/* One look at everything. */
struct look {
    struct sample servers[SERVERS_MAX];
    int64_t unfinished; /* -1: not known */
    int64_t sagas;
};

/* ---- reading -------------------------------------------------------------------------
 */

static const char *label_of(const Rpc__V1__Metric *metric, const char *name)
{
    for (size_t i = 0; i < metric->n_labels; i++)
        if (strcmp(metric->labels[i]->name, name) == 0)
            return metric->labels[i]->value;
    return "";
}

/* The row of a method or of an HTTP route, made when it is new; NULL past METHODS_MAX, and
 * for what is counted of all together. */
static struct method_sample *method_row(struct sample *sample, const char *of,
                                        const char *kind)
{
    char name[NAME_SIZE];

    if (*of == '\0' || snprintf(name, sizeof name, "%s%s", kind, of) >= NAME_SIZE)
        return NULL;
    for (size_t i = 0; i < sample->count; i++)
        if (strcmp(sample->methods[i].name, name) == 0)
            return &sample->methods[i];
    if (sample->count == METHODS_MAX)
        return NULL;
    struct method_sample *row = &sample->methods[sample->count++];
    snprintf(row->name, sizeof row->name, "%s", name);
    return row;
}

static bool is_well(const char *status)
{
    return strcmp(status, "OK") == 0 || strcmp(status, "2xx") == 0 ||
           strcmp(status, "3xx") == 0;
}

/* `what` is the metric's name without the side it is of: "calls" of rpc_server_calls. */
static void take_of_row(struct method_sample *row, const Rpc__V1__Metric *metric,
                        const char *what)
{
    if (row == NULL)
        return;
    if (strcmp(what, "calls") == 0) {
        row->calls += metric->value;
        if (!is_well(label_of(metric, "status")))
            row->failed += metric->value;
    } else if (strcmp(what, "in_flight") == 0) {
        row->in_flight = metric->value;
    } else if (strcmp(what, "latency_us") == 0 && metric->histogram != NULL) {
        row->count = metric->histogram->count;
        row->sum_us = metric->histogram->sum;
        row->p50_us = metric->histogram->p50;
        row->p99_us = metric->histogram->p99;
    }
}

static void take_metric(struct look *look, struct sample *sample,
                        const Rpc__V1__Metric *metric)
{
    if (strncmp(metric->name, "rpc_server_", 11) == 0)
        take_of_row(method_row(sample, label_of(metric, "method"), ""), metric,
                    metric->name + 11);
    else if (strncmp(metric->name, "http_server_", 12) == 0)
        take_of_row(method_row(sample, label_of(metric, "route"), "http "), metric,
                    metric->name + 12);
    else if (strcmp(metric->name, "db_queue_operations") == 0)
        sample->queue += metric->value;
    else if (strcmp(metric->name, "sagas_running") == 0)
        look->sagas = metric->value;
    else if (strcmp(metric->name, "db_batch_operations") == 0 &&
             metric->histogram != NULL) {
        sample->batches += (int64_t)metric->histogram->count;
        sample->batched += (int64_t)metric->histogram->sum;
        if ((int64_t)metric->histogram->most > sample->batch_most)
            sample->batch_most = (int64_t)metric->histogram->most;
    }
}

static struct outcome read_server(const struct cli *cli, const struct place *place,
                                  struct look *look, struct sample *sample)
{
    Rpc__V1__ReadMetricsRequest request = RPC__V1__READ_METRICS_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;
    struct outcome end = remote_call(cli, place, "rpc.v1.Metrics/Read", &request.base,
                                     &rpc__v1__read_metrics_reply__descriptor, &message);

    *sample = (struct sample){.count = 0};
    if (end.status != 0) {
        snprintf(sample->trouble, sizeof sample->trouble, "%s", end.error.message);
        return end;
    }
    const Rpc__V1__ReadMetricsReply *reply = (const Rpc__V1__ReadMetricsReply *)message;
    sample->started_at_ms = reply->started_at_ms;
    sample->now_ms = reply->now_ms;
    for (size_t i = 0; i < reply->n_metrics; i++)
        take_metric(look, sample, reply->metrics[i]);
    return end;
}

static int64_t count_unfinished(const struct cli *cli)
{
    Orders__V1__ListCheckoutsRequest request = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;
    const ProtobufCMessage *message = NULL;

    request.unfinished = true;
    struct outcome end = remote_call(
        cli, place_find("orchestrator"), "orders.v1.Orders/ListCheckouts", &request.base,
        &orders__v1__list_checkouts_reply__descriptor, &message);
    return end.status != 0
               ? -1
               : (int64_t)((const Orders__V1__ListCheckoutsReply *)message)->n_checkouts;
}

/* The outcome is the first server's that could not be read. */
static struct outcome take_look(const struct cli *cli, struct look *look)
{
    struct outcome first = done();

    look->sagas = 0;
    for (size_t i = 0; i < PLACES_COUNT; i++) {
        struct outcome end = read_server(cli, &PLACES[i], look, &look->servers[i]);
        if (first.status == 0)
            first = end;
    }
    look->unfinished = count_unfinished(cli);
    first.error.subject = NULL; /* lives in memory of this look */
    return first;
}

/* ---- what changed between two looks
 * ---------------------------------------------------- */

struct rate {
    double calls, failed; /* a second */
    double mean_ms;       /* of the calls in between; 0 when there were none */
    int64_t in_flight;
};

/* The row as it was, or one of zeros: it is new, or its server began anew. */
static const struct method_sample *row_before(const struct sample *before,
                                              const struct sample *now, const char *name)
{
    static const struct method_sample none;

    for (size_t i = 0; i < before->count; i++)
        if (before->started_at_ms == now->started_at_ms &&
            strcmp(before->methods[i].name, name) == 0)
            return &before->methods[i];
    return &none;
}

static struct rate rate_of(const struct sample *before, const struct sample *now,
                           const struct method_sample *row, double seconds)
{
    const struct method_sample *was = row_before(before, now, row->name);
    uint64_t count = row->count - was->count;

    return (struct rate){.calls = (double)(row->calls - was->calls) / seconds,
                         .failed = (double)(row->failed - was->failed) / seconds,
                         .mean_ms = count == 0 ? 0
                                               : (double)(row->sum_us - was->sum_us) /
                                                     (double)count / 1000,
                         .in_flight = row->in_flight};
}

/* All methods of a server together; what it answers about itself is left out. */
static struct rate rate_of_server(const struct sample *before, const struct sample *now,
                                  double seconds)
{
    struct rate sum = {.calls = 0};
    double ms = 0;

    for (size_t i = 0; i < now->count; i++) {
        if (strncmp(now->methods[i].name, "rpc.v1.", 7) == 0)
            continue;
        struct rate one = rate_of(before, now, &now->methods[i], seconds);
        sum.calls += one.calls;
        sum.failed += one.failed;
        sum.in_flight += one.in_flight;
        ms += one.mean_ms * one.calls;
    }
    sum.mean_ms = sum.calls > 0 ? ms / sum.calls : 0;
    return sum;
}

/* Operations a batch between the looks; 0 when there was no batch. */
static double batch_size(const struct sample *before, const struct sample *now)
{
    bool same = before->started_at_ms == now->started_at_ms;
    int64_t batches = now->batches - (same ? before->batches : 0);
    int64_t batched = now->batched - (same ? before->batched : 0);

    return batches > 0 ? (double)batched / (double)batches : 0;
}

/* ---- showing -------------------------------------------------------------------------
 */

static const char *age_text(int64_t ms, char out[TIME_SIZE])
{
    int64_t s = ms / 1000;

    if (s < 3600)
        snprintf(out, TIME_SIZE, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
    else
        snprintf(out, TIME_SIZE, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
    return out;
}

static void print_server(FILE *out, const char *name, const struct sample *before,
                         const struct sample *now, double seconds)
{
    char age[TIME_SIZE];

    if (*now->trouble != '\0') {
        fprintf(out, "%-13s %s", name, output_style(out, STYLE_BAD));
        output_text(out, now->trouble);
        fprintf(out, "%s\n", output_style(out, STYLE_PLAIN));
        return;
    }
    struct rate rate = rate_of_server(before, now, seconds);
    fprintf(out,
            "%-13s %8s %9.1f %9.1f %9.2f %9" PRId64 " %7" PRId64 " %7.1f %7" PRId64 "\n",
            name, age_text(now->now_ms - now->started_at_ms, age), rate.calls,
            rate.failed, rate.mean_ms, rate.in_flight, now->queue,
            batch_size(before, now), now->batch_most);
}

static void print_methods(FILE *out, const struct sample *before,
                          const struct sample *now, double seconds)
{
    for (size_t i = 0; i < now->count; i++) {
        const struct method_sample *row = &now->methods[i];
        struct rate rate = rate_of(before, now, row, seconds);
        if (row->calls == 0 || strncmp(row->name, "rpc.v1.", 7) == 0)
            continue;
        fprintf(out, "%-40s %9.1f %9.1f %9.2f %9" PRId64 " %9.2f %9.2f\n", row->name,
                rate.calls, rate.failed, rate.mean_ms, rate.in_flight,
                (double)row->p50_us / 1000, (double)row->p99_us / 1000);
    }
}

static void print_screen(const struct cli *cli, const struct look *before,
                         const struct look *now, double seconds)
{
    FILE *out = cli->out;
    char time[TIME_SIZE];
    const char *bold = output_style(out, STYLE_BOLD),
               *plain = output_style(out, STYLE_PLAIN);

    if (output_for_people(cli))
        fprintf(out, "\033[H\033[J"); /* home, clear to the end */
    fprintf(out, "%s", time_text(clock_wall_ms(), time));
    if (now->unfinished >= 0)
        fprintf(out, "   %s%" PRId64 " unfinished checkouts, %" PRId64 " sagas running",
                now->unfinished >= 1000 ? "at least " : "", now->unfinished, now->sagas);
    fprintf(out, "\n\n%s%-13s %8s %9s %9s %9s %9s %7s %7s %7s%s\n", bold, "server", "up",
            "calls/s", "failed/s", "mean ms", "in flight", "queue", "batch", "largest",
            plain);
    for (size_t i = 0; i < PLACES_COUNT; i++)
        print_server(out, PLACES[i].name, &before->servers[i], &now->servers[i], seconds);
    fprintf(out, "\n%s%-40s %9s %9s %9s %9s %9s %9s%s\n", bold, "method", "calls/s",
            "failed/s", "mean ms", "in flight", "p50 ms", "p99 ms", plain);
    for (size_t i = 0; i < PLACES_COUNT; i++)
        print_methods(out, &before->servers[i], &now->servers[i], seconds);
    fputc('\n', out);
}

/* Whole numbers only: microseconds, thousandths of a call a second. */
static json_t *json_of_rate(const struct rate *rate)
{
    return json_pack(
        "{s:I, s:I, s:I, s:I}", "calls_per_1000s", (json_int_t)(rate->calls * 1000),
        "failed_per_1000s", (json_int_t)(rate->failed * 1000), "mean_us",
        (json_int_t)(rate->mean_ms * 1000), "in_flight", (json_int_t)rate->in_flight);
}

static json_t *json_of_server(const char *name, const struct sample *before,
                              const struct sample *now, double seconds)
{
    struct rate all = rate_of_server(before, now, seconds);
    json_t *json = json_of_rate(&all), *methods = json_array();

    for (size_t i = 0; i < now->count; i++) {
        const struct method_sample *row = &now->methods[i];
        struct rate rate = rate_of(before, now, row, seconds);
        if (row->calls == 0)
            continue;
        json_t *one = json_of_rate(&rate);
        json_object_set_new(one, "method", json_string(row->name));
        json_object_set_new(one, "calls", json_integer(row->calls));
        json_object_set_new(one, "p50_us", json_integer((json_int_t)row->p50_us));
        json_object_set_new(one, "p99_us", json_integer((json_int_t)row->p99_us));
        json_array_append_new(methods, one);
    }
    json_object_set_new(json, "server", json_string(name));
    json_object_set_new(json, "trouble", json_string(now->trouble));
    json_object_set_new(json, "queue", json_integer(now->queue));
    json_object_set_new(json, "batch_most", json_integer(now->batch_most));
    json_object_set_new(json, "methods", methods);
    return json;
}

static struct err print_line(const struct cli *cli, const struct look *before,
                             const struct look *now, double seconds)
{
    json_t *servers = json_array();

    for (size_t i = 0; i < PLACES_COUNT; i++)
        json_array_append_new(servers, json_of_server(PLACES[i].name, &before->servers[i],
                                                      &now->servers[i], seconds));
    return output_json(cli, json_pack("{s:I, s:I, s:I, s:o}", "at_ms",
                                      (json_int_t)clock_wall_ms(), "unfinished",
                                      (json_int_t)now->unfinished, "sagas",
                                      (json_int_t)now->sagas, "servers", servers));
}

/* ---- the loop -------------------------------------------------------------------------
 */

/* Looks again and again; the first look is only what the second is compared with. */
static struct outcome loop(const struct cli *cli, struct look looks[2],
                           int64_t interval_s, int64_t times)
{
    int64_t looked_us = clock_monotonic_us();
    struct outcome end = take_look(cli, &looks[0]);
    struct err e = ERR_NONE;

    for (int64_t round = 0; !failed(e) && (times == 0 || round < times); round++) {
        const struct look *before = &looks[round % 2];
        struct look *now = &looks[(round + 1) % 2];
        nanosleep(&(struct timespec){.tv_sec = interval_s}, NULL);
        arena_reset(cli->arena);
        double seconds = (double)(clock_monotonic_us() - looked_us) / 1e6;
        looked_us = clock_monotonic_us();
        end = take_look(cli, now);
        if (cli->options[OPT_JSON] != NULL)
            e = print_line(cli, before, now, seconds);
        else
            print_screen(cli, before, now, seconds);
        if (fflush(cli->out) != 0)
            break;
    }
    return failed(e) ? local(e) : end;
}

struct outcome command_top(struct cli *cli)
{
    const char *interval = cli->options[OPT_INTERVAL], *times = cli->options[OPT_TIMES];
    int64_t seconds = 1, rounds = 0;
    struct cli own = *cli; /* with memory of one look */
    struct err e = interval == NULL
                       ? ERR_NONE
                       : cli_number(interval, "--interval", 1, 3600, &seconds);

    if (!failed(e) && times != NULL)
        e = cli_number(times, "--count", 1, 1000000, &rounds);
    if (failed(e))
        return misused(e);
    struct look *looks = calloc(2, sizeof *looks);
    own.arena = arena_new(LOOK_MEMORY_MAX);
    struct outcome end = looks == NULL || own.arena == NULL
                             ? local(err_memory())
                             : loop(&own, looks, seconds, rounds);
    arena_free(own.arena);
    free(looks);
    return end;
}
