/* look.c - see look.h. */
#include "cli/look.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli/catalogue.h"
#include "cli/several.h"
#include "proto/orders.pb-c.h"
#include "proto/rpc.pb-c.h"

enum { AGAIN_MS = 500 };

/* ---- reading ------------------------------------------------------------------ */

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

static void read_server(const struct question *q, struct look *look,
                        struct sample *sample)
{
    const Rpc__V1__ReadMetricsReply *reply = (const Rpc__V1__ReadMetricsReply *)q->reply;

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

struct outcome look_take(const struct cli *cli, const struct look *before,
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
            .method = "rpc.v1.Metrics/Read",
            .request = &metrics.base,
            .reply_type = &rpc__v1__read_metrics_reply__descriptor,
            /* Who did not answer before holds up the next look a moment only. */
            .timeout_ms =
                before != NULL && *before->servers[i].trouble != '\0' ? AGAIN_MS : 0};
    checkouts.unfinished = true;
    q[last] = (struct question){
        .place = place_find("orchestrator"),
        .method = "orders.v1.Orders/ListCheckouts",
        .request = &checkouts.base,
        .reply_type = &orders__v1__list_checkouts_reply__descriptor,
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

/* ---- what changed between two looks ------------------------------------------- */

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

struct rate rate_of(const struct sample *before, const struct sample *now,
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

struct rate rate_of_server(const struct sample *before, const struct sample *now,
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

double batch_size(const struct sample *before, const struct sample *now)
{
    bool same = before->started_at_ms == now->started_at_ms;
    int64_t batches = now->batches - (same ? before->batches : 0);
    int64_t batched = now->batched - (same ? before->batched : 0);

    return batches > 0 ? (double)batched / (double)batches : 0;
}
