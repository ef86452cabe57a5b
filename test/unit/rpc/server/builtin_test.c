/*
 * builtin_test.c - what every server has beside its own service: reflection from which a
 * stranger could call it, counts that are true, and cancellation of what nobody waits
 * for.
 */
#include "unit/rpc/fixture.h"

#include "base/contract/ids.h"

#define DESCRIBE     "rpc.v1.Reflection/Describe"
#define READ_METRICS "rpc.v1.Metrics/Read"
#define CANCEL       "rpc.v1.Calls/Cancel"

struct scene {
    struct world w;
    struct shop shop;
    const char *url;
    struct metrics *metrics;
    struct rpc_server *server;
    struct channel *channel;
    bool sick;
};

static struct err health_of(void *arg)
{
    const struct scene *s = arg;
    struct err e = ERR_NONE;

    if (s->sick) {
        e = err_make(ERR_UNAVAILABLE, "host=db7 is away");
        e.subject = "the database cannot be reached";
    }
    return e;
}

static size_t parts_of(void *arg, struct rpc_health_part *parts)
{
    const struct scene *s = arg;

    parts[0] = (struct rpc_health_part){.name = "well"};
    parts[1] = (struct rpc_health_part){.name = "other", .health = health_of(arg)};
    return s->sick ? 2 : 1;
}

static void scene_make(struct scene *s)
{
    world_make(&s->w);
    shop_make(&s->shop);
    s->url = in(&s->w.folder, "ipc://", "shop.sock");
    s->metrics = metrics_new();
    s->sick = false;
    ProtobufCService *services[] = {&s->shop.service.base};
    s->server = serve(&(struct rpc_server_config){.url = s->url,
                                                  .callers = s->w.callers,
                                                  .services = services,
                                                  .service_count = 1,
                                                  .in_flight_max = 8,
                                                  .health = health_of,
                                                  .health_parts = parts_of,
                                                  .health_arg = s,
                                                  .metrics = s->metrics});
    s->channel = open_channel(&s->w, s->url, 16);
}

static void scene_end(struct scene *s)
{
    channel_close(s->channel);
    rpc_server_stop(s->server, 1000);
    metrics_free(s->metrics);
    world_end(&s->w);
}

/* Calls any method and waits. */
static void call(struct scene *s, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *reply_type, struct answer *a)
{
    answer_make(a);
    channel_call(s->channel,
                 &(struct channel_call){.method = method,
                                        .request = request,
                                        .reply_type = reply_type,
                                        .arena = a->arena,
                                        .deadline_ms = clock_monotonic_ms() + 10000},
                 on_answer, a);
    answer_wait(a);
}

static const Rpc__V1__DescribeReply *describe(struct scene *s, const char *have,
                                              struct answer *a)
{
    Rpc__V1__DescribeRequest request = RPC__V1__DESCRIBE_REQUEST__INIT;

    request.have_digest = (char *)have;
    call(s, DESCRIBE, &request.base, &rpc__v1__describe_reply__descriptor, a);
    assert_ok(a->error);
    return (const Rpc__V1__DescribeReply *)(const void *)a->reply;
}

/* Field 1 (file) of a FileDescriptorSet, repeated: how many, and whether each is whole.
 */
static int count_files(const ProtobufCBinaryData *set)
{
    int files = 0;

    for (size_t at = 0; at < set->len; files++) {
        size_t size = 0;
        int shift = 0;
        assert_int_equal(set->data[at++], 0x0a);
        do
            size |= (size_t)(set->data[at] & 0x7f) << shift;
        while (shift += 7, set->data[at++] & 0x80);
        assert_true(at + size <= set->len);
        at += size;
    }
    return files;
}

static bool holds(const ProtobufCBinaryData *bytes, const char *text)
{
    return memmem(bytes->data, bytes->len, text, strlen(text)) != NULL;
}

static void a_server_describes_all_it_serves_with_its_comments(void **state)
{
    static const char *const services[] = {"inventory.v1.Inventory", "rpc.v1.Health",
                                           "rpc.v1.Reflection", "rpc.v1.Metrics",
                                           "rpc.v1.Calls"};
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    const Rpc__V1__DescribeReply *reply = describe(&s, "", &a);
    assert_int_equal(reply->n_services, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(reply->services[i], services[i]);
    assert_int_equal(count_files(&reply->file_descriptor_set), 5);
    assert_true(holds(&reply->file_descriptor_set, "inventory.proto"));
    assert_true(holds(&reply->file_descriptor_set, "ReserveRequest"));
    assert_true(holds(&reply->file_descriptor_set, "Makes a held reservation permanent"));
    assert_int_equal(reply->n_allowed_methods, 3);
    assert_string_equal(reply->allowed_methods[0], "inventory.v1.Inventory/Get*");
    answer_end(&a);
    scene_end(&s);
}

static void descriptors_the_caller_has_are_not_sent_again(void **state)
{
    struct scene s;
    struct answer a;
    char digest[64];

    (void)state;
    scene_make(&s);
    snprintf(digest, sizeof digest, "%s", describe(&s, "other", &a)->digest);
    assert_int_equal(strlen(digest), 32);
    answer_end(&a);
    const Rpc__V1__DescribeReply *reply = describe(&s, digest, &a);
    assert_int_equal(reply->file_descriptor_set.len, 0);
    assert_string_equal(reply->digest, digest);
    assert_int_equal(reply->n_services, 5);
    answer_end(&a);
    scene_end(&s);
}

/* ---------------------------------------------------------- health */

static const Rpc__V1__HealthCheckReply *check_health(struct scene *s, struct answer *a)
{
    static const Rpc__V1__HealthCheckRequest REQUEST =
        RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    call(s, "rpc.v1.Health/Check", &REQUEST.base,
         &rpc__v1__health_check_reply__descriptor, a);
    assert_ok(a->error);
    return (const Rpc__V1__HealthCheckReply *)(const void *)a->reply;
}

static void health_says_why_to_operators_to_anybody_and_of_each_part(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    const Rpc__V1__HealthCheckReply *reply = check_health(&s, &a);
    assert_int_equal(reply->status, RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING);
    assert_string_equal(reply->detail, "");
    assert_string_equal(reply->summary, "");
    assert_int_equal(reply->n_parts, 1);
    assert_string_equal(reply->parts[0]->name, "well");
    assert_int_equal(reply->parts[0]->status,
                     RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING);
    answer_end(&a);
    s.sick = true;
    reply = check_health(&s, &a);
    assert_int_equal(reply->status, RPC__V1__HEALTH_CHECK_REPLY__STATUS__NOT_SERVING);
    assert_string_equal(reply->detail, "host=db7 is away");
    assert_string_equal(reply->summary, "the database cannot be reached");
    assert_int_equal(reply->n_parts, 2);
    assert_int_equal(reply->parts[1]->status,
                     RPC__V1__HEALTH_CHECK_REPLY__STATUS__NOT_SERVING);
    assert_string_equal(reply->parts[1]->detail, "host=db7 is away");
    answer_end(&a);
    scene_end(&s);
}

/* ---------------------------------------------------------- metrics */

struct sought {
    const char *name, *labels;
    struct metric found;
};

static void seek(void *arg, const struct metric *metric)
{
    struct sought *sought = arg;

    if (strcmp(metric->name, sought->name) == 0 &&
        strcmp(metric->labels, sought->labels) == 0)
        sought->found = *metric;
}

static struct metric metric_of(struct scene *s, const char *name, const char *labels)
{
    struct sought sought = {.name = name, .labels = labels};

    metrics_each(s->metrics, seek, &sought);
    assert_non_null(sought.found.name);
    return sought.found;
}

static void calls_are_counted_by_status_with_their_times(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make(&s);
    for (int i = 0; i < 7; i++)
        assert_ok(ask_error(s.channel, "now", 10000));
    for (int i = 0; i < 3; i++)
        assert_code(ask_error(s.channel, "short", 10000), ERR_OUT_OF_STOCK);
    ask(s.channel, "park", 10000, &a);
    shop_wait_asked(&s.shop, 11);
    assert_int_equal(
        metric_of(&s, "rpc_server_calls", "method=" GET_STOCK ",status=OK").value, 7);
    assert_int_equal(metric_of(&s, "rpc_server_calls",
                               "method=" GET_STOCK ",status=FAILED_PRECONDITION")
                         .value,
                     3);
    assert_int_equal(metric_of(&s, "rpc_server_in_flight", "method=" GET_STOCK).value, 1);
    struct metric m = metric_of(&s, "rpc_server_latency_us", "method=" GET_STOCK);
    assert_int_equal(m.histogram.count, 10);
    assert_true(m.histogram.p50 <= m.histogram.p99 &&
                m.histogram.p99 <= m.histogram.most);
    shop_answer_parked(&s.shop, 1);
    answer_wait(&a);
    answer_end(&a);
    assert_int_equal(metric_of(&s, "rpc_server_in_flight", "method=" GET_STOCK).value, 0);
    scene_end(&s);
}

static void refusals_are_counted_by_their_reason(void **state)
{
    struct scene s;
    struct answer a;
    Rpc__V1__ReadMetricsRequest request = RPC__V1__READ_METRICS_REQUEST__INIT;

    (void)state;
    scene_make(&s);
    /* Metrics are not for everybody: this caller's patterns do not have them. */
    call(&s, READ_METRICS, &request.base, &rpc__v1__read_metrics_reply__descriptor, &a);
    assert_code(a.error, ERR_PERMISSION_DENIED);
    answer_end(&a);
    assert_int_equal(metric_of(&s, "rpc_server_refusals", "reason=forbidden").value, 1);
    assert_int_equal(metric_of(&s, "rpc_server_refusals", "reason=expired").value, 0);
    scene_end(&s);
}

static const Rpc__V1__ReadMetricsReply *read_metrics(struct scene *s, const char *prefix,
                                                     bool zeros, struct answer *a)
{
    Rpc__V1__ReadMetricsRequest request = RPC__V1__READ_METRICS_REQUEST__INIT;

    request.prefix = (char *)prefix;
    request.with_zeros = zeros;
    call(s, READ_METRICS, &request.base, &rpc__v1__read_metrics_reply__descriptor, a);
    assert_ok(a->error);
    return (const Rpc__V1__ReadMetricsReply *)(const void *)a->reply;
}

/* A list of callers in which the client may read metrics. */
static void scene_make_operator(struct scene *s)
{
    const char *list;

    scene_make(s);
    list = in(&s->w.folder, "", "operators");
    assert_ok(principals_allow(list, "client", key_public(s->w.client), "*"));
    rpc_server_stop(s->server, 1000);
    channel_close(s->channel);
    principals_free(s->w.callers);
    assert_ok(principals_read(list, true, s->w.server, &s->w.callers));
    ProtobufCService *services[] = {&s->shop.service.base};
    s->server = serve(&(struct rpc_server_config){.url = s->url,
                                                  .callers = s->w.callers,
                                                  .services = services,
                                                  .service_count = 1,
                                                  .in_flight_max = 8,
                                                  .metrics = s->metrics});
    s->channel = open_channel(&s->w, s->url, 16);
}

static void metrics_are_read_by_prefix_with_labels_and_without_zeros(void **state)
{
    struct scene s;
    struct answer a;

    (void)state;
    scene_make_operator(&s);
    assert_ok(ask_error(s.channel, "now", 10000));
    const Rpc__V1__ReadMetricsReply *reply =
        read_metrics(&s, "rpc_server_calls", false, &a);
    assert_int_equal(reply->n_metrics, 1);
    assert_string_equal(reply->metrics[0]->name, "rpc_server_calls");
    assert_int_equal(reply->metrics[0]->kind, RPC__V1__METRIC__KIND__COUNTER);
    assert_int_equal(reply->metrics[0]->value, 1);
    assert_int_equal(reply->metrics[0]->n_labels, 2);
    assert_string_equal(reply->metrics[0]->labels[0]->name, "method");
    assert_string_equal(reply->metrics[0]->labels[0]->value, GET_STOCK);
    assert_string_equal(reply->metrics[0]->labels[1]->value, "OK");
    assert_true(reply->started_at_ms > 0 && reply->started_at_ms <= reply->now_ms);
    answer_end(&a);
    reply = read_metrics(&s, "rpc_server_latency_us", false, &a);
    assert_true(reply->n_metrics >= 1);
    assert_non_null(reply->metrics[0]->histogram);
    assert_int_equal(reply->metrics[0]->histogram->count, 1);
    answer_end(&a);
    assert_true(read_metrics(&s, "rpc_server_calls", true, &a)->n_metrics > 100);
    answer_end(&a);
    scene_end(&s);
}

static void metrics_beyond_a_message_are_marked_truncated(void **state)
{
    struct scene s;
    struct answer a;
    char labels[METRIC_LABELS_SIZE];

    (void)state;
    scene_make_operator(&s);
    for (int i = 0; i < METRICS_MAX; i++) {
        snprintf(labels, sizeof labels, "i=%d,%0*d=x", i, 180, i);
        gauge_set(
            metrics_gauge(s.metrics,
                          "a_gauge_with_a_name_that_is_about_as_long_as_names_may_be",
                          labels),
            INT64_MIN);
    }
    const Rpc__V1__ReadMetricsReply *reply = read_metrics(&s, "a_", false, &a);
    assert_true(reply->truncated);
    assert_true(reply->n_metrics > 3000);
    answer_end(&a);
    scene_end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_describes_all_it_serves_with_its_comments),
        cmocka_unit_test(descriptors_the_caller_has_are_not_sent_again),
        cmocka_unit_test(health_says_why_to_operators_to_anybody_and_of_each_part),
        cmocka_unit_test(calls_are_counted_by_status_with_their_times),
        cmocka_unit_test(refusals_are_counted_by_their_reason),
        cmocka_unit_test(metrics_are_read_by_prefix_with_labels_and_without_zeros),
        cmocka_unit_test(metrics_beyond_a_message_are_marked_truncated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
