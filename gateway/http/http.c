/* http.c - see http.h. */
#include "gateway/http/http.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/metrics.h"
#include "gateway/http/admission.h"
#include "gateway/http/problem.h"
#include "gateway/http/request.h"

enum {
    HEAD_MAX = 32 << 10,   /* bytes */
    TARGET_MAX = 8 << 10,  /* bytes */
    BODY_MAX = 64 << 10,   /* bytes */
    DISCARD_MAX = 1 << 20, /* bytes of a refused body read */
    STOP_WAIT_MS = 1000,   /* for the last answers to be sent */
    METHOD_LOGGED = 16,    /* bytes in a log line */
    PATH_LOGGED = 256,     /* likewise */
    CLASSES = 4,           /* of a status: 2xx to 5xx */
};

struct route_metrics {
    struct counter *answers[CLASSES];
    struct histogram *latency;
    struct gauge *in_flight;
};

struct http {
    struct http_server *server;
    const struct gateway *gateway;
    size_t per_address_max;
    bool tls;
    atomic_bool retired;
    atomic_bool overdue; /* the drain timed out: running requests are cut off */
    atomic_size_t cut;   /* how many requests were cut off */
    /* Held while a handler runs or a call is cancelled; neither happens after `closed` */
    pthread_mutex_t gate;
    bool closed; /* no call may start or be cancelled */
    struct counter *left, *dropped;
    struct route_metrics routes[]; /* by route; the last: none */
};

/* ---- metrics and the access log ---- */

static void open_metrics(struct route_metrics *of, struct metrics *metrics,
                         const char *route)
{
    char label[METRIC_LABELS_SIZE];

    for (int i = 0; i < CLASSES; i++) {
        snprintf(label, sizeof label, "route=%s,status=%dxx", route, i + 2);
        of->answers[i] = metrics_counter(metrics, "http_server_calls", label);
    }
    snprintf(label, sizeof label, "route=%s", route);
    of->latency = metrics_histogram(metrics, "http_server_latency_us", label);
    of->in_flight = metrics_gauge(metrics, "http_server_in_flight", label);
}

static struct route_metrics *metrics_of(const struct request *r)
{
    const struct route_table *table = r->gateway->routes;

    return &r->http->routes[r->route == NULL ? table->count
                                             : (size_t)(r->route - table->rows)];
}

static void log_access(const struct request *r, int64_t ms)
{
    struct log_record line;

    if (!log_begin(&line, LOG_INFO, "access"))
        return;
    log_subject(&line, r->id, r->order_id);
    log_pair_of(&line, "method", r->method, strnlen(r->method, METHOD_LOGGED));
    log_pair_number(&line, "status", r->answer.status);
    log_pair_number(&line, "ms", ms);
    log_pair_of(&line, "path", r->target, strnlen(r->target, PATH_LOGGED));
    log_end(&line);
}

static void count_answer(const struct request *r)
{
    const unsigned status = r->answer.status;
    int64_t us = clock_monotonic_us() - r->started_us;

    if (status >= 200 && status < 600) {
        counter_add(metrics_of(r)->answers[status / 100 - 2], 1);
        histogram_record(metrics_of(r)->latency, (uint64_t)us);
    }
    if (r->gateway->access_log)
        log_access(r, us / 1000);
}

/* The drain timed out before the request was answered.  Status 0: it gets no answer. */
static void log_cut(const struct request *r)
{
    struct log_record line;

    atomic_fetch_add(&r->http->cut, 1);
    if (!log_begin(&line, LOG_ERROR, "request_cut"))
        return;
    log_subject(&line, r->id, r->order_id);
    log_pair_of(&line, "method", r->method, strnlen(r->method, METHOD_LOGGED));
    log_pair_of(&line, "path", r->target, strnlen(r->target, PATH_LOGGED));
    log_pair_number(&line, "status", r->answer.status);
    log_pair(&line, "note", "it was still running when the time to stop was over");
    log_end(&line);
}

/* ---- answering ---- */

/* The answers when the request's arena is full, and when there is none. */
#define NO_MEMORY_FIELDS                                                                 \
    ANSWER_USUAL "Content-Type: application/problem+json\r\nRetry-After: 1\r\n"
static const struct http_answer NO_MEMORY = {
    .status = 503,
    .fields = {NO_MEMORY_FIELDS, sizeof NO_MEMORY_FIELDS - 1},
    .body = {PROBLEM_NO_MEMORY, PROBLEM_NO_MEMORY_SIZE},
    .close = true,
};
static const char NO_MEMORY_WHOLE[] =
    "HTTP/1.1 503 Service Unavailable\r\n" NO_MEMORY_FIELDS
    "Content-Length: 197\r\nConnection: close\r\n\r\n" PROBLEM_NO_MEMORY;
_Static_assert(PROBLEM_NO_MEMORY_SIZE == 197, "as Content-Length says");

/* Test builds: turns the answer into "outcome unknown", delays it, or drops it, which is
 * status 0 for lib/http. */
static bool apply_answer_fault(struct request *r)
{
    if (r->route == NULL)
        return true;
    struct fault fault = failpoint("answer", r->route->name, "before");
    if (fault.kind == FAULT_ERROR)
        request_fail(r, err_make(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    if (fault.kind == FAULT_LATE)
        usleep((useconds_t)fault.late_ms * 1000);
    return fault.kind != FAULT_DROP;
}

/* The answer in lib/http's form, in the request's arena.  tls: it is sent over TLS. */
static struct http_answer render(struct request *r, bool tls)
{
    const struct answer *a = &r->answer;
    struct text fields =
        answer_fields(r->arena, a, r->id, &r->head, r->gateway->cors_origins, tls);
    const struct http_answer answer = {.status = a->status,
                                       .fields = {fields.bytes, fields.size},
                                       .body = {a->body, a->size},
                                       .close = a->close};

    if (fields.broken || !http_exchange_reserve(r->exchange, &answer)) {
        r->answer.status = NO_MEMORY.status; /* for metrics and the log */
        return NO_MEMORY;
    }
    return answer;
}

void http_send(struct request *r)
{
    struct http_answer answer = {.status = 0};

    if (apply_answer_fault(r)) {
        answer = render(r, r->http->tls);
        count_answer(r);
    }
    if (atomic_load(&r->http->overdue))
        log_cut(r);
    http_exchange_answer(r->exchange, &answer);
}

void http_send_failure(struct request *r, struct err e)
{
    request_fail(r, e);
    http_send(r);
}

/* ---- what lib/http calls, all on its thread ---- */

static struct request *begin(struct http *http, struct http_exchange *x,
                             const struct http_head *head)
{
    struct request *r = request_new(http->gateway, x, head);

    if (r != NULL)
        r->http = http;
    http_exchange_set(x, r);
    return r;
}

/* RFC 9110, 9.3.1: a body of GET has no meaning and may be an attempt at smuggling. */
static struct err refuse_get_body(struct request *r, const struct http_head *head)
{
    if (method_of(r->method) != METHOD_GET || (head->length <= 0 && !head->chunked))
        return ERR_NONE;
    r->answer.close = true;
    return err_make(ERR_INVALID_ARGUMENT, "A %.16s request cannot have a body.",
                    r->method);
}

/* Decodes characters that need no percent-encoding (RFC 3986, 6.2.2.2).  lib/http has
 * checked that two digits follow each %. */
static void normalize(char *path)
{
    char *to = path;

    for (const char *at = path; *at != '\0'; to++) {
        char decoded =
            *at == '%' ? (char)(16 * hex_digit(at[1]) + hex_digit(at[2])) : '\0';
        bool plain = isalnum((unsigned char)decoded) || /* in the C locale */
                     (decoded != '\0' && strchr("-._~", decoded) != NULL);
        *to = plain ? decoded : *at;
        at += plain ? 3 : 1;
    }
    *to = '\0';
}

static struct err read_head(struct request *r, const struct http_head *head)
{
    char *path = http_text_copy(r->arena, head->path);

    r->query = http_text_copy(r->arena, head->query);
    if (path == NULL || r->query == NULL)
        return err_memory();
    normalize(path);
    r->path = path;
    struct err e = head_read(&r->head, r->arena, head);
    return failed(e) ? e : refuse_get_body(r, head);
}

static void on_head(void *arg, struct http_exchange *x, const struct http_head *head)
{
    struct http *http = arg;
    struct request *r = begin(http, x, head);

    if (r == NULL) {
        http_exchange_answer(x, &NO_MEMORY);
        return;
    }
    struct err e = read_head(r, head);
    if (!failed(e))
        e = admit(r);
    if (failed(e))
        http_send_failure(r, e);
}

static void handle(struct http *http, struct request *r)
{
    pthread_mutex_lock(&http->gate);
    struct err e = ERR_NONE;
    if (http->closed) {
        r->answer.close = true;
        e = err_make(ERR_UNAVAILABLE, "the gateway is stopping");
    } else {
        r->handled = true;
        gauge_add(metrics_of(r)->in_flight, 1);
        e = r->route->handle(r);
    }
    pthread_mutex_unlock(&http->gate);
    if (r->channel != NULL)
        return; /* a call was started: its completion owns the request now */
    if (failed(e))
        http_send_failure(r, e);
    else
        http_send(r);
}

static void on_body(void *arg, struct http_exchange *x, char *body, size_t size)
{
    struct http *http = arg;
    struct request *r = http_exchange_get(x);

    r->body = body;
    r->body_size = size;
    if (r->route != NULL) {
        handle(http, r);
        return;
    }
    r->answer.status = 204; /* OPTIONS */
    http_send(r);
}

static struct err error_of(const struct http *http, struct http_exchange *x,
                           enum http_reason reason)
{
    static const struct {
        unsigned status;
        enum err_code code;
    } CODES[] = {
        {400, ERR_INVALID_ARGUMENT},   {408, ERR_REQUEST_TIMEOUT},
        {413, ERR_PAYLOAD_TOO_LARGE},  {414, ERR_TARGET_TOO_LONG},
        {417, ERR_EXPECTATION_FAILED}, {429, ERR_TOO_MANY_CONNECTIONS},
        {431, ERR_HEADER_TOO_LARGE},   {501, ERR_UNIMPLEMENTED},
        {503, ERR_RESOURCE_EXHAUSTED}, {505, ERR_VERSION_NOT_SUPPORTED},
    };
    unsigned status = http_reason_status(reason);
    char sentence[160];
    size_t i = 0;

    while (i < sizeof CODES / sizeof CODES[0] && CODES[i].status != status)
        i++;
    assert(i < sizeof CODES / sizeof CODES[0]); /* lib/http has no other status */
    http_reason_sentence(reason, http_exchange_limits(x), http->per_address_max, sentence,
                         sizeof sentence);
    return err_make(CODES[i].code, "%s", sentence);
}

static void on_refusal(void *arg, struct http_exchange *x, const struct http_head *head,
                       enum http_reason reason, struct http_answer *answer)
{
    struct http *http = arg;
    struct request *r = http_exchange_get(x);

    if (r == NULL) {
        r = begin(http, x, head);
        if (r == NULL) {
            *answer = NO_MEMORY;
            return;
        }
        (void)head_read_fields(&r->head, r->arena, head); /* Origin, for CORS */
    }
    r->answer = problem_answer(r->arena, error_of(http, x, reason));
    *answer = render(r, http->tls && reason != HTTP_PLAIN_ON_TLS);
    count_answer(r);
}

static void on_gone(void *arg, struct http_exchange *x)
{
    struct http *http = arg;
    const struct request *r = http_exchange_get(x);

    pthread_mutex_lock(&http->gate);
    if (!http->closed) {
        channel_cancel(r->channel, r->ticket);
        counter_add(http->left, 1);
    }
    pthread_mutex_unlock(&http->gate);
}

static void on_end(void *arg, struct http_exchange *x)
{
    struct http *http = arg;
    const struct request *r = http_exchange_get(x);

    if (r != NULL && r->answer.status == 0 && atomic_load(&http->overdue))
        log_cut(r);
    if (r != NULL && r->handled)
        gauge_add(metrics_of(r)->in_flight, -1);
}

static void on_dropped(void *arg)
{
    const struct http *http = arg;

    counter_add(http->dropped, 1);
}

static const struct http_handler HANDLER = {
    .on_head = on_head,
    .on_body = on_body,
    .on_refusal = on_refusal,
    .on_gone = on_gone,
    .on_end = on_end,
    .on_dropped = on_dropped,
};

/* ---- start and stop ---- */

struct err http_start(const struct http_config *config, const struct gateway *gateway,
                      struct http **out)
{
    const size_t count = gateway->routes->count;

    *out = NULL;
    if (!cors_list_valid(gateway->cors_origins))
        return err_make(ERR_INVALID_ARGUMENT,
                        "cors_origins is \"%.100s\"; write origins such as "
                        "https://shop.example, with commas and no spaces",
                        gateway->cors_origins);
    struct http *http = calloc(1, sizeof *http + (count + 1) * sizeof *http->routes);
    if (http == NULL)
        return err_memory();
    http->gateway = gateway;
    for (size_t i = 0; i < count; i++)
        open_metrics(&http->routes[i], config->metrics, gateway->routes->rows[i].name);
    open_metrics(&http->routes[count], config->metrics, "none");
    http->left = metrics_counter(config->metrics, "http_server_left", "");
    http->dropped = metrics_counter(config->metrics, "http_server_dropped", "");
    http->per_address_max = config->per_address_max;
    http->tls = config->tls != NULL;
    pthread_mutex_init(&http->gate, NULL);
    struct err e = http_server_open(
        &(struct http_server_config){
            .address = config->address,
            .port = config->port,
            .connections_max = config->connections_max,
            .per_address_max = config->per_address_max,
            .idle_timeout_ms = config->idle_timeout_ms,
            .head_timeout_ms = config->head_timeout_ms,
            .body_timeout_ms = config->transfer_timeout_ms,
            .answer_timeout_ms = config->transfer_timeout_ms,
            .limits = {HEAD_MAX, TARGET_MAX, HTTP_FIELDS_MAX, BODY_MAX, DISCARD_MAX},
            .arena_max = REQUEST_ARENA_MAX,
            .no_memory = {NO_MEMORY_WHOLE, sizeof NO_MEMORY_WHOLE - 1},
            .tls = config->tls,
            .handler = &HANDLER,
            .arg = http,
        },
        &http->server);
    if (failed(e)) {
        pthread_mutex_destroy(&http->gate);
        free(http);
    } else {
        *out = http;
    }
    return e;
}

uint16_t http_port(const struct http *http)
{
    return http_server_port(http->server);
}

void http_retire(struct http *http)
{
    atomic_store(&http->retired, true);
}

bool http_retired(const struct http *http)
{
    return atomic_load(&http->retired);
}

void http_drain(struct http *http, int64_t limit_ms)
{
    http_retire(http);
    http_server_quiesce(http->server);
    if (!http_server_wait_idle(http->server, limit_ms)) {
        log_warn("drain_incomplete",
                 "reason=\"connections were still in use after %" PRId64 " ms\"",
                 limit_ms);
        atomic_store(&http->overdue, true);
    }
    pthread_mutex_lock(&http->gate);
    http->closed = true;
    pthread_mutex_unlock(&http->gate);
}

bool http_stop(struct http *http)
{
    (void)http_server_wait_idle(http->server, STOP_WAIT_MS);
    http_server_close(http->server);
    bool whole = atomic_load(&http->cut) == 0;
    pthread_mutex_destroy(&http->gate);
    free(http);
    return whole;
}
