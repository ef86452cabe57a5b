/*
 * metrics.h - a process's counters, gauges and histograms, by name.
 *
 * main creates a registry and passes it down; each module registers its metrics when it
 * is opened and keeps the pointers.  Counting is one or a few relaxed atomic additions:
 * no lock, no allocation, any thread.  Reading resets nothing and takes no snapshot, so
 * one of two related numbers may be slightly older than the other.
 *
 * Registering never fails a caller: past METRICS_MAX, when memory is short or when the
 * registry is NULL, it returns NULL, and counting into NULL does nothing.  The same name
 * and labels return the same metric.  Names are lower case with underscores, the unit
 * last ("rpc_server_latency_us").
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_MAX = 4096,
    METRIC_NAME_SIZE = 64,
    METRIC_LABELS_SIZE = 192,
    /* Eight buckets per octave: a value is exact to an eighth of itself. */
    HISTOGRAM_BUCKETS = 8 * 40,
};

struct metrics;

struct counter {
    atomic_uint_fast64_t value; /* only grows, from 0 at process start */
};

struct gauge {
    atomic_int_fast64_t value;
};

struct histogram {
    atomic_uint_fast64_t count, sum, most;
    atomic_uint_fast64_t buckets[HISTOGRAM_BUCKETS];
};

/* NULL when memory is short: a process without metrics still runs. */
struct metrics *metrics_new(void);
/* Call after everything that counts into it has ended.  NULL is allowed. */
void metrics_free(struct metrics *metrics);

/*
 * Register.  `labels` distinguishes metrics of one name: "method=a.B/C,status=ok", or "".
 * metrics_each calls the `read` of metrics_gauge_read on any thread: it must not wait,
 * and must be safe to call until metrics_forget.
 */
struct counter *metrics_counter(struct metrics *metrics, const char *name,
                                const char *labels);
struct gauge *metrics_gauge(struct metrics *metrics, const char *name,
                            const char *labels);
struct histogram *metrics_histogram(struct metrics *metrics, const char *name,
                                    const char *labels);
void metrics_gauge_read(struct metrics *metrics, const char *name, const char *labels,
                        int64_t (*read)(void *arg), void *arg);

/* Once this returns, no function registered with that argument is called any more. */
void metrics_forget(struct metrics *metrics, const void *arg);

static inline void counter_add(struct counter *counter, uint64_t n)
{
    if (counter != NULL)
        atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

static inline void gauge_add(struct gauge *gauge, int64_t n)
{
    if (gauge != NULL)
        atomic_fetch_add_explicit(&gauge->value, n, memory_order_relaxed);
}

static inline void gauge_set(struct gauge *gauge, int64_t n)
{
    if (gauge != NULL)
        atomic_store_explicit(&gauge->value, n, memory_order_relaxed);
}

void histogram_record(struct histogram *histogram, uint64_t value);

/* ---- reading ---- */

enum metric_kind { METRIC_COUNTER = 1, METRIC_GAUGE, METRIC_HISTOGRAM };

/* `most` is exact; percentiles are the upper bounds of their buckets, at most an eighth
 * too large and never above `most`.  All 0 when count is 0. */
struct histogram_summary {
    uint64_t count, sum, most, p50, p90, p95, p99, p999;
};

struct metric {
    const char *name, *labels; /* live as long as the registry */
    enum metric_kind kind;
    int64_t value; /* for a counter or gauge */
    struct histogram_summary histogram;
};

/* Calls `each` for every metric, in the order of registration. */
void metrics_each(struct metrics *metrics,
                  void (*each)(void *arg, const struct metric *metric), void *arg);
