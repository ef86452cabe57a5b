/*
 * metrics.c - see metrics.h.
 *
 * Entries never move, so a pointer into one is valid as long as the registry.  The lock
 * guards the table, not the numbers.
 *
 * A histogram's buckets: values below 8 have one each; from there an octave [2^n,
 * 2^(n+1)) is cut into eight equal parts.
 */
#include "base/metrics.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = 8, PARTS_BITS = 3 };

struct entry {
    char name[METRIC_NAME_SIZE];
    char labels[METRIC_LABELS_SIZE];
    enum metric_kind kind;
    int64_t (*read)(void *arg); /* for a gauge registered with metrics_gauge_read */
    void *arg;
    union {
        struct counter counter;
        struct gauge gauge;
        struct histogram *histogram;
    } of;
};

struct metrics {
    pthread_mutex_t lock;
    struct entry *entries[METRICS_MAX];
    size_t count;
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);

    if (metrics != NULL)
        pthread_mutex_init(&metrics->lock, NULL);
    return metrics;
}

static void entry_free(struct entry *entry)
{
    if (entry != NULL && entry->kind == METRIC_HISTOGRAM)
        free(entry->of.histogram);
    free(entry);
}

void metrics_free(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (size_t i = 0; i < metrics->count; i++)
        entry_free(metrics->entries[i]);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* ---- registering ---- */

static struct entry *entry_new(enum metric_kind kind, const char *name,
                               const char *labels)
{
    struct entry *entry = calloc(1, sizeof *entry);

    if (entry == NULL)
        return NULL;
    entry->kind = kind;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    snprintf(entry->labels, sizeof entry->labels, "%s", labels);
    if (kind == METRIC_HISTOGRAM &&
        (entry->of.histogram = calloc(1, sizeof *entry->of.histogram)) == NULL) {
        free(entry);
        return NULL;
    }
    return entry;
}

static struct entry *find(const struct metrics *metrics, enum metric_kind kind,
                          const char *name, const char *labels)
{
    for (size_t i = 0; i < metrics->count; i++) {
        struct entry *entry = metrics->entries[i];
        if (entry->kind == kind && strcmp(entry->name, name) == 0 &&
            strcmp(entry->labels, labels) == 0)
            return entry;
    }
    return NULL;
}

static struct entry *enter(struct metrics *metrics, enum metric_kind kind,
                           const char *name, const char *labels,
                           int64_t (*read)(void *arg), void *arg)
{
    if (metrics == NULL)
        return NULL;
    pthread_mutex_lock(&metrics->lock);
    struct entry *entry = find(metrics, kind, name, labels);
    if (entry == NULL && metrics->count < METRICS_MAX &&
        (entry = entry_new(kind, name, labels)) != NULL)
        metrics->entries[metrics->count++] = entry;
    if (entry != NULL && read != NULL) {
        entry->read = read;
        entry->arg = arg;
    }
    pthread_mutex_unlock(&metrics->lock);
    return entry;
}

struct counter *metrics_counter(struct metrics *metrics, const char *name,
                                const char *labels)
{
    struct entry *entry = enter(metrics, METRIC_COUNTER, name, labels, NULL, NULL);

    return entry == NULL ? NULL : &entry->of.counter;
}

struct gauge *metrics_gauge(struct metrics *metrics, const char *name, const char *labels)
{
    struct entry *entry = enter(metrics, METRIC_GAUGE, name, labels, NULL, NULL);

    return entry == NULL ? NULL : &entry->of.gauge;
}

struct histogram *metrics_histogram(struct metrics *metrics, const char *name,
                                    const char *labels)
{
    struct entry *entry = enter(metrics, METRIC_HISTOGRAM, name, labels, NULL, NULL);

    return entry == NULL ? NULL : entry->of.histogram;
}

void metrics_gauge_read(struct metrics *metrics, const char *name, const char *labels,
                        int64_t (*read)(void *arg), void *arg)
{
    enter(metrics, METRIC_GAUGE, name, labels, read, arg);
}

void metrics_forget(struct metrics *metrics, const void *arg)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count; i++)
        if (metrics->entries[i]->read != NULL && metrics->entries[i]->arg == arg) {
            metrics->entries[i]->read = NULL;
            atomic_store(&metrics->entries[i]->of.gauge.value, 0);
        }
    pthread_mutex_unlock(&metrics->lock);
}

/* ---- histograms ---- */

static unsigned bucket_of(uint64_t value)
{
    if (value < PARTS)
        return (unsigned)value;
    unsigned octave = 63U - (unsigned)__builtin_clzll(value);
    unsigned part = (unsigned)(value >> (octave - PARTS_BITS)) & (PARTS - 1);
    unsigned bucket = (octave - PARTS_BITS + 1) * PARTS + part;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The greatest value of a bucket. */
static uint64_t bound_of(unsigned bucket)
{
    if (bucket < PARTS)
        return bucket;
    unsigned octave = bucket / PARTS + PARTS_BITS - 1, part = bucket % PARTS;
    return (((uint64_t)PARTS + part + 1) << (octave - PARTS_BITS)) - 1;
}

void histogram_record(struct histogram *h, uint64_t value)
{
    if (h == NULL)
        return;
    uint_fast64_t most = atomic_load_explicit(&h->most, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->buckets[bucket_of(value)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
    while (value > most && !atomic_compare_exchange_weak(&h->most, &most, value))
        ;
}

/* Counts the buckets once, so that the percentiles belong together. */
static struct histogram_summary sum_up(const struct histogram *h)
{
    uint64_t counts[HISTOGRAM_BUCKETS];
    struct histogram_summary s = {.sum = atomic_load(&h->sum),
                                  .most = atomic_load(&h->most)};
    const struct {
        uint64_t *out;
        unsigned per_mille;
    } wanted[] = {
        {&s.p50, 500}, {&s.p90, 900}, {&s.p95, 950}, {&s.p99, 990}, {&s.p999, 999}};

    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++)
        s.count += counts[b] = atomic_load_explicit(&h->buckets[b], memory_order_relaxed);
    uint64_t below = 0;
    unsigned next = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS && s.count > 0; b++) {
        below += counts[b];
        uint64_t bound = bound_of(b) < s.most ? bound_of(b) : s.most;
        for (; next < 5 && below * 1000 >= s.count * wanted[next].per_mille; next++)
            *wanted[next].out = bound;
    }
    return s;
}

/* ---- reading ---- */

void metrics_each(struct metrics *metrics,
                  void (*each)(void *arg, const struct metric *metric), void *arg)
{
    if (metrics == NULL)
        return;
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->count; i++) {
        struct entry *entry = metrics->entries[i];
        struct metric metric = {
            .name = entry->name, .labels = entry->labels, .kind = entry->kind};
        if (entry->kind == METRIC_COUNTER)
            metric.value = (int64_t)atomic_load(&entry->of.counter.value);
        else if (entry->kind == METRIC_HISTOGRAM)
            metric.histogram = sum_up(entry->of.histogram);
        else
            metric.value = entry->read != NULL ? entry->read(entry->arg)
                                               : atomic_load(&entry->of.gauge.value);
        each(arg, &metric);
    }
    pthread_mutex_unlock(&metrics->lock);
}
