/* metrics_test.c - what is counted is read back, whoever counts, and nothing is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/metrics.h"

struct wanted {
    const char *name, *labels;
    struct metric found;
    int times;
};

static void look(void *arg, const struct metric *metric)
{
    struct wanted *w = arg;

    if (strcmp(metric->name, w->name) == 0 && strcmp(metric->labels, w->labels) == 0) {
        w->found = *metric;
        w->times++;
    }
}

static struct metric read_metric(struct metrics *m, const char *name, const char *labels)
{
    struct wanted w = {.name = name, .labels = labels};

    metrics_each(m, look, &w);
    assert_int_equal(w.times, 1);
    return w.found;
}

static void the_same_name_and_label_is_the_same_metric(void **state)
{
    struct metrics *m = metrics_new();
    struct counter *a = metrics_counter(m, "calls", "method=a");

    (void)state;
    assert_ptr_equal(a, metrics_counter(m, "calls", "method=a"));
    assert_ptr_not_equal(a, metrics_counter(m, "calls", "method=b"));
    counter_add(a, 3);
    assert_int_equal(read_metric(m, "calls", "method=a").value, 3);
    assert_int_equal(read_metric(m, "calls", "method=b").value, 0);
    metrics_free(m);
}

static void counting_without_a_registry_or_past_its_room_does_nothing(void **state)
{
    struct metrics *m = metrics_new();
    char label[32];

    (void)state;
    counter_add(metrics_counter(NULL, "a", ""), 1);
    gauge_set(metrics_gauge(NULL, "a", ""), 1);
    histogram_record(metrics_histogram(NULL, "a", ""), 1);
    metrics_each(NULL, look, NULL);
    for (int i = 0; i < METRICS_MAX; i++) {
        snprintf(label, sizeof label, "i=%d", i);
        assert_non_null(metrics_counter(m, "a", label));
    }
    assert_null(metrics_counter(m, "a", "one=more"));
    assert_non_null(metrics_counter(m, "a", "i=7"));
    metrics_free(m);
}

static int64_t seven(void *arg)
{
    return *(int64_t *)arg;
}

static void a_gauge_is_read_until_it_is_forgotten(void **state)
{
    struct metrics *m = metrics_new();
    int64_t depth = 7;

    (void)state;
    metrics_gauge_read(m, "queue", "", seven, &depth);
    assert_int_equal(read_metric(m, "queue", "").value, 7);
    depth = 8;
    assert_int_equal(read_metric(m, "queue", "").value, 8);
    metrics_forget(m, &depth);
    assert_int_equal(read_metric(m, "queue", "").value, 0);
    metrics_free(m);
}

/* Every value up to a million, and beyond by doublings: never under, an eighth over. */
static void a_percentile_is_at_most_an_eighth_too_large(void **state)
{
    (void)state;
    for (uint64_t v = 1; v < UINT64_C(1) << 40; v += v < 2000 ? 1 : v / 3) {
        struct metrics *m = metrics_new();
        struct histogram *h = metrics_histogram(m, "h", "");
        histogram_record(h, v);
        histogram_record(h, UINT64_C(1) << 41);
        uint64_t p50 = read_metric(m, "h", "").histogram.p50;
        if (p50 < v || p50 - v > v / 8)
            fail_msg("%llu is told as %llu", (unsigned long long)v,
                     (unsigned long long)p50);
        metrics_free(m);
    }
}

static void percentiles_are_where_they_belong(void **state)
{
    struct metrics *m = metrics_new();
    struct histogram *h = metrics_histogram(m, "h", "");

    (void)state;
    for (uint64_t v = 1; v <= 1000; v++)
        histogram_record(h, v);
    struct histogram_summary s = read_metric(m, "h", "").histogram;
    assert_int_equal(s.count, 1000);
    assert_int_equal(s.sum, 500500);
    assert_int_equal(s.most, 1000);
    assert_true(s.p50 >= 500 && s.p50 <= 563);
    assert_true(s.p90 >= 900 && s.p90 <= 1000);
    assert_true(s.p99 >= 990 && s.p99 <= 1000);
    assert_int_equal(s.p999, 1000);
    metrics_free(m);
}

enum { THREADS = 4, EACH = 50000 };

static void *count_up(void *arg)
{
    struct metrics *m = arg;
    struct counter *c = metrics_counter(m, "shared", "");
    struct histogram *h = metrics_histogram(m, "times", "");

    for (int i = 0; i < EACH; i++) {
        counter_add(c, 1);
        histogram_record(h, (uint64_t)i);
    }
    return NULL;
}

static void nothing_counted_by_several_threads_is_lost(void **state)
{
    struct metrics *m = metrics_new();
    pthread_t threads[THREADS];

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, m), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(read_metric(m, "shared", "").value, THREADS * EACH);
    assert_int_equal(read_metric(m, "times", "").histogram.count, THREADS * EACH);
    assert_int_equal(read_metric(m, "times", "").histogram.most, EACH - 1);
    metrics_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_name_and_label_is_the_same_metric),
        cmocka_unit_test(counting_without_a_registry_or_past_its_room_does_nothing),
        cmocka_unit_test(a_gauge_is_read_until_it_is_forgotten),
        cmocka_unit_test(a_percentile_is_at_most_an_eighth_too_large),
        cmocka_unit_test(percentiles_are_where_they_belong),
        cmocka_unit_test(nothing_counted_by_several_threads_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
