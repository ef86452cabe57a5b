/*
 * metrics.h - what a process counts of itself: counters, gauges and histograms by name.
 *
 * A registry is made by main and passed down; each part registers what it counts when it
 * is opened and keeps the pointer.  Counting is one relaxed atomic addition or a few: no
 * lock, no allocation, any thread.  Reading takes no part of it away, so a reading may
 * show one of two numbers that belong together a moment older than the other.
 *
 * Registering never fails a caller: past METRICS_MAX, or without memory, or in no
 * registry (NULL), it gives NULL, and counting in NULL does nothing.  The same name and
 * label give the same metric again.  Names are the field's: lower case with underscores,
 * the unit last ("rpc_server_latency_us").
 */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum {
    METRICS_MAX = 4096,
    METRIC_NAME_SIZE = 64,
    METRIC_LABELS_SIZE = 192,
    /* Eight buckets an octave: a value is known to within an eighth of itself. */
    HISTOGRAM_BUCKETS = 8 * 40,
};

struct metrics;

struct counter {
    atomic_uint_fast64_t value; /* only grows, from 0 at the process's start */
};

struct gauge {
    atomic_int_fast64_t value;
};

struct histogram {
    atomic_uint_fast64_t count, sum, most;
    atomic_uint_fast64_t buckets[HISTOGRAM_BUCKETS];
};

/* NULL when memory is short, which counts nothing but is no reason to stop. */
struct metrics *metrics_new(void);
/* After everything that counts in it has ended.  NULL is allowed. */
void metrics_free(struct metrics *metrics);

/*
 * Registers.  `labels` tells metrics of one name apart: "method=a.B/C,status=ok", or "".
 * What metrics_gauge_read is given is called by metrics_each, on any thread: it must not
 * wait, and be safe to call until metrics_forget.
 */
struct counter *metrics_counter(struct metrics *metrics, const char *name,
                                const char *labels);
struct gauge *metrics_gauge(struct metrics *metrics, const char *name,
                            const char *labels);
struct histogram *metrics_histogram(struct metrics *metrics, const char *name,
                                    const char *labels);
void metrics_gauge_read(struct metrics *metrics, const char *name, const char *labels,
                        int64_t (*read)(void *arg), void *arg);

/* No function registered with that argument is called any more once this returns. */
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

/* What was recorded, summed up.  `most` is exact; the others are the upper bounds of
 * their buckets, at most an eighth too large and never above `most`.  All 0 when count is
 * 0. */
struct histogram_summary {
    uint64_t count, sum, most, p50, p90, p95, p99, p999;
};

struct metric {
    const char *name, *labels; /* live as long as the registry */
    enum metric_kind kind;
    int64_t value; /* of a counter or gauge */
    struct histogram_summary histogram;
};

/* Calls `each` for every metric, in the order they were registered. */
void metrics_each(struct metrics *metrics,
                  void (*each)(void *arg, const struct metric *metric), void *arg);
