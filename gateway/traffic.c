/* traffic.c - see traffic.h. */
#include "gateway/traffic.h"

#include <stdio.h>
#include <stdlib.h>

#include "gateway/routes.h"

enum { CLASSES = 4 }; /* 2xx to 5xx */

struct traffic_of_route {
    struct counter *answers[CLASSES];
    struct histogram *latency;
    struct gauge *in_flight;
};

struct traffic {
    struct counter *left, *dropped;
    struct traffic_of_route routes[]; /* the last is of requests without one */
};

static void open_route(struct traffic_of_route *of, struct metrics *metrics,
                       const char *name)
{
    char label[METRIC_LABELS_SIZE];

    for (int i = 0; i < CLASSES; i++) {
        snprintf(label, sizeof label, "route=%s,status=%dxx", name, i + 2);
        of->answers[i] = metrics_counter(metrics, "http_server_calls", label);
    }
    snprintf(label, sizeof label, "route=%s", name);
    of->latency = metrics_histogram(metrics, "http_server_latency_us", label);
    of->in_flight = metrics_gauge(metrics, "http_server_in_flight", label);
}

struct traffic *traffic_new(struct metrics *metrics)
{
    size_t count = routes_count();
    struct traffic *traffic =
        calloc(1, sizeof *traffic + (count + 1) * sizeof *traffic->routes);

    if (traffic == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++)
        open_route(&traffic->routes[i], metrics, routes_at(i)->name);
    open_route(&traffic->routes[count], metrics, "none");
    traffic->left = metrics_counter(metrics, "http_server_left", "");
    traffic->dropped = metrics_counter(metrics, "http_server_dropped", "");
    return traffic;
}

void traffic_free(struct traffic *traffic)
{
    free(traffic);
}

static struct traffic_of_route *row(struct traffic *traffic, const struct route *route)
{
    return &traffic
                ->routes[route == NULL ? routes_count() : (size_t)(route - routes_at(0))];
}

void traffic_begin(struct traffic *traffic, const struct route *route)
{
    if (traffic != NULL)
        gauge_add(row(traffic, route)->in_flight, 1);
}

void traffic_end(struct traffic *traffic, const struct route *route)
{
    if (traffic != NULL)
        gauge_add(row(traffic, route)->in_flight, -1);
}

void traffic_answered(struct traffic *traffic, const struct route *route, unsigned status,
                      int64_t us)
{
    if (traffic == NULL || status < 200 || status >= 600)
        return;
    counter_add(row(traffic, route)->answers[status / 100 - 2], 1);
    histogram_record(row(traffic, route)->latency, (uint64_t)us);
}

void traffic_left(struct traffic *traffic)
{
    if (traffic != NULL)
        counter_add(traffic->left, 1);
}

void traffic_dropped(struct traffic *traffic)
{
    if (traffic != NULL)
        counter_add(traffic->dropped, 1);
}
