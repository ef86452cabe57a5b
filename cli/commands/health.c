/*
 * health.c - checkoutctl health, ping and top: health, round-trip times and load of the
 * servers.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/commands/commands.h"
#include "cli/output.h"
#include "cli/remote.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

enum {
    PLACES_MAX = 8,
    PING_MAX = 1000,
    ROW_NAME_SIZE = 64,
    ROWS_MAX = 256, /* that a watch remembers */
};

/* The servers asked: that of --service or --url, else all that the stack has. */
static struct err places_asked(const struct cli *cli, const struct place **out,
                               size_t *count)
{
    struct err e = place_asked(cli, &out[0]);

    *count = out[0] != NULL;
    if (failed(e) || *count > 0)
        return e;
    for (size_t i = 0; i < PLACES_ALL; i++)
        if (i < PLACES_COUNT || place_addresses(cli, &PLACES[i])[0] != '\0')
            out[(*count)++] = &PLACES[i];
    return e;
}

/* ---- health ------------------------------------------------------------------------ */

/* A row of the output: a server, or a part of one. */
struct row {
    const char *name, *part; /* part: NULL for the server itself */
    const char *state;       /* SERVING, NOT_SERVING, UNREACHABLE */
    const char *detail;
};

static const char *state_name(Rpc__V1__HealthCheckReply__Status status)
{
    return status == RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING ? "SERVING"
                                                                  : "NOT_SERVING";
}

/* The rows of what a server answered, one after another; false when there is no i-th. */
static bool health_row(const struct question *check, size_t i, struct row *out)
{
    const Rpc__V1__HealthCheckReply *reply = check->reply;

    if (reply == NULL) {
        *out = (struct row){check->place->name, NULL, "UNREACHABLE",
                            check->end.error.message};
        return i == 0;
    }
    if (i == 0)
        *out = (struct row){check->place->name, NULL, state_name(reply->status),
                            reply->detail};
    else if (i <= reply->n_parts)
        *out = (struct row){check->place->name, reply->parts[i - 1]->name,
                            state_name(reply->parts[i - 1]->status),
                            reply->parts[i - 1]->detail};
    return i <= reply->n_parts;
}

static bool is_well(const struct row *row)
{
    return strcmp(row->state, "SERVING") == 0;
}

static void name_row(const struct row *row, char out[ROW_NAME_SIZE])
{
    snprintf(out, ROW_NAME_SIZE, "%s%s%s", row->name, row->part == NULL ? "" : ".",
             row->part == NULL ? "" : row->part);
}

static void print_row(const struct cli *cli, const struct row *row, int64_t at_ms)
{
    char time[TIME_SIZE], name[ROW_NAME_SIZE];

    name_row(row, name);
    if (cli->options[OPT_JSON] != NULL) {
        json_t *line = json_pack("{s:s, s:s*, s:s, s:s}", "service", row->name, "part",
                                 row->part, "status", row->state, "detail", row->detail);
        if (at_ms > 0)
            json_object_set_new(line, "at_ms", json_integer(at_ms));
        output_line(cli, line);
        return;
    }
    if (at_ms > 0)
        fprintf(cli->out, "%s  ", time_text(at_ms, time));
    output_text(cli->out, name);
    fprintf(cli->out, "%*s %s%-12s%s ", (int)(strlen(name) < 19 ? 19 - strlen(name) : 0),
            "", output_style(cli->out, is_well(row) ? STYLE_GOOD : STYLE_BAD), row->state,
            output_style(cli->out, STYLE_PLAIN));
    output_text(cli->out, row->detail);
    fputc('\n', cli->out);
}

/* The outcome for the exit status. */
static struct outcome end_of(const struct question *check, const struct row *row)
{
    struct outcome end = check->end;
    char name[ROW_NAME_SIZE];

    end.error.subject = NULL; /* freed with the question */
    if (is_well(row) || end.status != 0)
        return end;
    name_row(row, name);
    return local(err_make(ERR_UNAVAILABLE, "%s is not serving", name));
}

/* Asks all at once, so the slowest determines the duration.  Free with several_close. */
static void check_all(const struct cli *cli, const struct place *const *places,
                      size_t count, struct question *checks)
{
    static const Rpc__V1__HealthCheckRequest REQUEST =
        RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    for (size_t i = 0; i < count; i++)
        checks[i] = (struct question){
            .place = places[i], .method = &CHECK_HEALTH, .request = &REQUEST.base};
    several_ask(cli, checks, count);
}

/* The exit status is that of the first that is not serving. */
static struct outcome check_once(const struct cli *cli, const struct place *const *places,
                                 size_t count)
{
    struct question checks[PLACES_MAX];
    struct outcome first = done();
    struct row row;

    check_all(cli, places, count, checks);
    for (size_t i = 0; i < count; i++)
        for (size_t r = 0; health_row(&checks[i], r, &row); r++) {
            print_row(cli, &row, 0);
            if (first.status == 0)
                first = end_of(&checks[i], &row);
        }
    fflush(cli->out);
    several_close(checks, count);
    return first;
}

/* The last printed state of each row. */
struct memory {
    struct {
        char name[ROW_NAME_SIZE];
        const char *state;
    } rows[ROWS_MAX];
    size_t count;
};

/* Whether the row has changed, or there is no room to remember it. */
static bool has_changed(struct memory *memory, const struct row *row)
{
    char name[ROW_NAME_SIZE];
    size_t i = 0;

    name_row(row, name);
    while (i < memory->count && strcmp(memory->rows[i].name, name) != 0)
        i++;
    if (i == ROWS_MAX)
        return true;
    bool changed = i == memory->count || strcmp(memory->rows[i].state, row->state) != 0;
    if (i == memory->count) {
        memcpy(memory->rows[i].name, name, sizeof name);
        memory->count++;
    }
    memory->rows[i].state = row->state; /* a literal */
    return changed;
}

static void print_changes(const struct cli *cli, const struct question *check,
                          struct memory *memory)
{
    struct row row;

    for (size_t r = 0; health_row(check, r, &row); r++)
        if (has_changed(memory, &row))
            print_row(cli, &row, clock_wall_ms());
}

/* Prints a line for each change: --count times, or until the output is closed. */
static struct outcome watch(const struct cli *cli, const struct place *const *places,
                            size_t count, int64_t interval_ms, int64_t times)
{
    struct memory *memory = arena_alloc(cli->arena, sizeof *memory);
    struct question checks[PLACES_MAX];
    struct timespec pause = {.tv_sec = interval_ms / 1000,
                             .tv_nsec = interval_ms % 1000 * 1000000};

    if (memory == NULL)
        return local(err_memory());
    memory->count = 0;
    for (int64_t round = 0; times == 0 || round < times; round++) {
        if (round > 0)
            nanosleep(&pause, NULL);
        check_all(cli, places, count, checks);
        for (size_t i = 0; i < count; i++)
            print_changes(cli, &checks[i], memory);
        several_close(checks, count);
        if (fflush(cli->out) != 0)
            break;
    }
    return done();
}

struct outcome command_health(struct cli *cli)
{
    const struct place *places[PLACES_MAX];
    int64_t seconds = 1, rounds = 0;
    size_t count = 0;
    struct err e = places_asked(cli, places, &count);

    if (!failed(e))
        e = cli_option(cli, OPT_INTERVAL, 1, 3600, &seconds);
    if (!failed(e))
        e = cli_option(cli, OPT_TIMES, 1, 1000000, &rounds);
    if (failed(e))
        return misused(e);
    return cli->options[OPT_WATCH] != NULL
               ? watch(cli, places, count, seconds * 1000, rounds)
               : check_once(cli, places, count);
}

/* ---- ping -------------------------------------------------------------------------- */

static int compare_times(const void *a, const void *b)
{
    int64_t l = *(const int64_t *)a, r = *(const int64_t *)b;

    return (l > r) - (l < r);
}

/* Round trips on one connection, the first with the connecting. */
static struct outcome measure(const struct cli *cli, const struct place *place,
                              int64_t *us, int64_t count)
{
    struct remote *server = NULL;
    int64_t began_us = clock_monotonic_us();
    struct outcome end = remote_open(cli, place, &server);

    for (int64_t i = 0; end.status == 0 && i <= count; i++) {
        end = remote_connect(cli, server);
        us[i] = clock_monotonic_us() - began_us;
        began_us = clock_monotonic_us();
    }
    remote_close(server);
    return end;
}

static void print_ping(const struct cli *cli, const struct place *place, int64_t *us,
                       int64_t count)
{
    double first = (double)us[0] / 1000;

    qsort(us + 1, (size_t)count, sizeof *us, compare_times);
    double least = (double)us[1] / 1000, most = (double)us[count] / 1000;
    double median = (double)us[1 + count / 2] / 1000;
    if (cli->options[OPT_JSON] != NULL)
        fprintf(cli->out,
                "{\"service\":\"%s\",\"connect_ms\":%.3f,\"count\":%" PRId64
                ",\"least_ms\":%.3f,\"median_ms\":%.3f,\"most_ms\":%.3f}\n",
                place->name, first, count, least, median, most);
    else
        fprintf(cli->out,
                "%-13s connected in %.3f ms; %" PRId64
                " round trips: least %.3f, median %.3f, most %.3f ms\n",
                place->name, first, count, least, median, most);
}

struct outcome command_ping(struct cli *cli)
{
    const struct place *places[PLACES_MAX];
    struct question checks[PLACES_MAX];
    struct outcome first = done();
    size_t places_count = 0;
    int64_t count = 5;
    struct err e = cli_option(cli, OPT_TIMES, 1, PING_MAX, &count);

    if (!failed(e))
        e = places_asked(cli, places, &places_count);
    if (failed(e))
        return misused(e);
    int64_t *us = arena_alloc(cli->arena, ((size_t)count + 1) * sizeof *us);
    check_all(cli, places, places_count, checks);
    for (size_t i = 0; us != NULL && i < places_count; i++) {
        struct outcome end =
            checks[i].reply != NULL ? measure(cli, places[i], us, count) : checks[i].end;
        end.error.subject = NULL; /* may live in the question's memory */
        if (end.status == 0)
            print_ping(cli, places[i], us, count);
        else
            fprintf(cli->err, "%-13s %s\n", places[i]->name, end.error.message);
        if (first.status == 0)
            first = end;
    }
    several_close(checks, places_count);
    return us == NULL ? local(err_memory()) : first;
}

/* ---- top: samples ------------------------------------------------------------------ */

/*
 * A look (a sample) reads rpc.v1.Metrics of every server and counts the unfinished
 * checkouts.  The gateway's routes are shown like methods.  Rates are differences between
 * two looks; a server that restarted in between starts from zero.
 */
enum { AGAIN_MS = 500 /* for a server that did not answer */ };

enum { SERVERS_MAX = 8, METHODS_MAX = 48, NAME_SIZE = 80 };

struct method_sample {
    char name[NAME_SIZE];
    int64_t calls, failed, in_flight;
    uint64_t count, sum_us, p50_us, p99_us;
};

struct sample {
    char trouble[sizeof((struct err *)NULL)->message]; /* why there is none; "" */
    int64_t started_at_ms, now_ms;
    int64_t queue, batches, batched, batch_most;
    struct method_sample methods[METHODS_MAX];
    size_t count;
};

/* One reading of every server. */
struct look {
    struct sample servers[SERVERS_MAX];
    int64_t unfinished; /* -1: not known */
    int64_t sagas;
};

struct rate {
    double calls, failed; /* a second */
    double mean_ms;       /* of the calls in between; 0 when there were none */
    int64_t in_flight;
};

/* ---- top: reading ------------------------------------------------------------------ */

static const char *label_of(const Rpc__V1__Metric *metric, const char *name)
{
    for (size_t i = 0; i < metric->n_labels; i++)
        if (strcmp(metric->labels[i]->name, name) == 0)
            return metric->labels[i]->value;
    return "";
}

/* The row of a method or of an HTTP route, made when it is new; NULL past METHODS_MAX,
 * and for what is counted of all together. */
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

static bool is_success(const char *status)
{
    return strcmp(status, "OK") == 0 || strcmp(status, "2xx") == 0 ||
           strcmp(status, "3xx") == 0;
}

/* `what` is the metric's name without its prefix: "calls" of rpc_server_calls. */
static void take_of_row(struct method_sample *row, const Rpc__V1__Metric *metric,
                        const char *what)
{
    if (row == NULL)
        return;
    if (strcmp(what, "calls") == 0) {
        row->calls += metric->value;
        if (!is_success(label_of(metric, "status")))
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

static void read_server(const struct question *q, struct look *look,
                        struct sample *sample)
{
    const Rpc__V1__ReadMetricsReply *reply = q->reply;

    *sample = (struct sample){.count = 0};
    if (reply == NULL) {
        snprintf(sample->trouble, sizeof sample->trouble, "%s", q->end.error.message);
        return;
    }
    sample->started_at_ms = reply->started_at_ms;
    sample->now_ms = reply->now_ms;
    for (size_t i = 0; i < reply->n_metrics; i++)
        take_metric(look, sample, reply->metrics[i]);
}

/* Reads all servers at once.  The outcome is that of the first server that could not be
 * read; the other answers are kept.  `before` is the previous look, or NULL: a server
 * that did not answer then gets less time. */
static struct outcome look_take(const struct cli *cli, const struct look *before,
                                struct look *look)
{
    Rpc__V1__ReadMetricsRequest metrics = RPC__V1__READ_METRICS_REQUEST__INIT;
    Orders__V1__ListCheckoutsRequest checkouts = ORDERS__V1__LIST_CHECKOUTS_REQUEST__INIT;
    struct question q[SERVERS_MAX + 1];
    const size_t last = PLACES_COUNT, count = PLACES_COUNT + 1;

    assert(PLACES_COUNT <= SERVERS_MAX);
    for (size_t i = 0; i < PLACES_COUNT; i++)
        q[i] = (struct question){
            .place = &PLACES[i],
            .method = &READ_METRICS,
            .request = &metrics.base,
            /* A server that did not answer before must not delay this look. */
            .timeout_ms =
                before != NULL && *before->servers[i].trouble != '\0' ? AGAIN_MS : 0};
    checkouts.unfinished = true;
    q[last] = (struct question){
        .method = &LIST_CHECKOUTS,
        .request = &checkouts.base,
        .timeout_ms = before != NULL && before->unfinished < 0 ? AGAIN_MS : 0};
    several_ask(cli, q, count);
    look->sagas = 0;
    for (size_t i = 0; i < PLACES_COUNT; i++)
        read_server(&q[i], look, &look->servers[i]);
    look->unfinished =
        q[last].reply == NULL
            ? -1
            : (int64_t)((const Orders__V1__ListCheckoutsReply *)q[last].reply)
                  ->n_checkouts;
    struct outcome end = several_end(q, count);
    several_close(q, count);
    return end;
}

/* ---- top: rates -------------------------------------------------------------------- */

/* The row as it was, or one of zeros: it is new, or its server restarted. */
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

/* Of one row of `now`, over the `seconds` since `before`. */
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

/* All methods of a server together, except those of rpc.v1. */
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

/* ---- top: the screen --------------------------------------------------------------- */

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

static struct err print_json(const struct cli *cli, const struct look *before,
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

/* ---- top: the loop ----------------------------------------------------------------- */

static void sleep_until(int64_t us)
{
    int64_t left = us - clock_monotonic_us();

    if (left > 0)
        nanosleep(&(struct timespec){.tv_sec = left / 1000000,
                                     .tv_nsec = left % 1000000 * 1000},
                  NULL);
}

/* Samples repeatedly; the first look is only the base of the second. */
static struct outcome loop(const struct cli *cli, struct look looks[2],
                           int64_t interval_s, int64_t times)
{
    int64_t looked_us = clock_monotonic_us();
    struct outcome end = look_take(cli, NULL, &looks[0]);
    struct err e = ERR_NONE;

    for (int64_t round = 0; !failed(e) && (times == 0 || round < times); round++) {
        const struct look *before = &looks[round % 2];
        struct look *now = &looks[(round + 1) % 2];
        sleep_until(looked_us + interval_s * 1000000);
        double seconds = (double)(clock_monotonic_us() - looked_us) / 1e6;
        looked_us = clock_monotonic_us();
        end = look_take(cli, before, now);
        if (cli->options[OPT_JSON] != NULL)
            e = print_json(cli, before, now, seconds);
        else
            print_screen(cli, before, now, seconds);
        if (fflush(cli->out) != 0)
            break;
    }
    return failed(e) ? local(e) : end;
}

struct outcome command_top(struct cli *cli)
{
    int64_t seconds = 1, rounds = 0;
    struct err e = cli_option(cli, OPT_INTERVAL, 1, 3600, &seconds);

    if (!failed(e))
        e = cli_option(cli, OPT_TIMES, 1, 1000000, &rounds);
    if (failed(e))
        return misused(e);
    struct look *looks = calloc(2, sizeof *looks);
    struct outcome end =
        looks == NULL ? local(err_memory()) : loop(cli, looks, seconds, rounds);
    free(looks);
    return end;
}
