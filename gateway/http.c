/* http.c - see http.h. */
#include "gateway/http.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/admit.h"
#include "gateway/headers.h"
#include "gateway/problem.h"
#include "gateway/request.h"
#include "gateway/traffic.h"

enum {
    HEAD_MAX = 32 << 10,   /* bytes */
    TARGET_MAX = 8 << 10,  /* bytes */
    BODY_MAX = 64 << 10,   /* bytes */
    DISCARD_MAX = 1 << 20, /* bytes of a refused body: read, and the connection goes on */
    STOP_WAIT_MS = 1000,   /* for the last answers to leave */
    METHOD_LOGGED = 16,    /* bytes of it in the access log */
    PATH_LOGGED = 256,     /* likewise */
};

struct http {
    struct http_server *server;
    const struct gateway *gateway;
    size_t per_address_max;
    bool tls;
    atomic_bool retired;
    atomic_bool overdue; /* what is answered from here on was cut off */
    atomic_size_t cut;   /* so many requests */
    /* Held while a handler runs or a call is cancelled, so that both end with `closed`. */
    pthread_mutex_t gate;
    bool closed; /* no call may begin or be cancelled */
};

/* ---- answering ---- */

/* When the request's arena is full, and when there is none. */
#define NO_MEMORY_FIELDS                                                                 \
    HEADERS_USUAL "Content-Type: application/problem+json\r\nRetry-After: 1\r\n"
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

/*
 * Faults of test builds, where the answer leaves: it becomes "the outcome is not known",
 * or it is late, or it is lost, which is status 0 to lib/http.
 */
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

/* Pair by pair: there is one line a request. */
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

static void count(const struct request *r)
{
    int64_t us = clock_monotonic_us() - r->started_us;

    traffic_answered(r->gateway->traffic, r->route, r->answer.status, us);
    if (r->gateway->access_log)
        log_access(r, us / 1000);
}

/* The answer as lib/http takes it, in the request's arena.  tls: it goes over TLS. */
static struct http_answer render(struct request *r, bool tls)
{
    const struct answer *a = &r->answer;
    struct text fields = headers_write(r, tls);
    const struct http_answer answer = {.status = a->status,
                                       .fields = {fields.bytes, fields.size},
                                       .body = {a->body, a->size},
                                       .close = a->close};

    if (fields.broken || !http_exchange_reserve(r->exchange, &answer)) {
        r->answer.status = NO_MEMORY.status; /* what is counted and logged */
        return NO_MEMORY;
    }
    return answer;
}

/* The time to stop was over before it was answered.  Status 0: nor will it be. */
static void tell_cut(const struct request *r)
{
    struct log_record line;

    atomic_fetch_add(&r->http->cut, 1);
    if (!log_begin(&line, LOG_ERROR, "request_cut"))
        return;
    log_subject(&line, r->id, r->order_id);
    log_pair_of(&line, "method", r->method, strnlen(r->method, METHOD_LOGGED));
    log_pair_of(&line, "path", r->target, strnlen(r->target, PATH_LOGGED));
    log_pair_number(&line, "status", r->answer.status);
    log_pair(&line, "note", "it still ran when the time to stop was over");
    log_end(&line);
}

void http_send(struct request *r)
{
    struct http_answer answer = {.status = 0};

    if (apply_answer_fault(r)) {
        answer = render(r, r->http->tls);
        count(r);
    }
    if (atomic_load(&r->http->overdue))
        tell_cut(r);
    http_exchange_answer(r->exchange, &answer);
}

static void send_failure(struct request *r, struct err e)
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

/* RFC 9110, 9.3.1: content has no meaning there, and may be an attempt at smuggling. */
static struct err refuse_get_body(struct request *r, const struct http_head *head)
{
    if (method_of(r->method) != METHOD_GET || (head->length <= 0 && !head->chunked))
        return ERR_NONE;
    r->answer.close = true;
    return err_make(ERR_INVALID_ARGUMENT, "A %.16s request cannot have a body.",
                    r->method);
}

/* What need not be percent-encoded is not (RFC 3986, 6.2.2.2); lib/http has seen that each %
 * has its two digits. */
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
        send_failure(r, e);
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
        traffic_begin(http->gateway->traffic, r->route);
        e = r->route->handle(r);
    }
    pthread_mutex_unlock(&http->gate);
    if (r->channel != NULL)
        return; /* a call was started: its completion has the request, or had it */
    if (failed(e))
        send_failure(r, e);
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
    assert(i < sizeof CODES / sizeof CODES[0]); /* each status of the table of reasons */
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
        (void)head_read_fields(&r->head, r->arena,
                               head); /* whose page asks, if it came */
    }
    r->answer = problem_answer(r->arena, error_of(http, x, reason));
    *answer = render(r, http->tls && reason != HTTP_PLAIN_ON_TLS);
    count(r);
}

static void on_gone(void *arg, struct http_exchange *x)
{
    struct http *http = arg;
    const struct request *r = http_exchange_get(x);

    pthread_mutex_lock(&http->gate);
    if (!http->closed) {
        channel_cancel(r->channel, r->ticket);
        traffic_left(http->gateway->traffic);
    }
    pthread_mutex_unlock(&http->gate);
}

static void on_end(void *arg, struct http_exchange *x)
{
    struct http *http = arg;
    const struct request *r = http_exchange_get(x);

    if (r != NULL && r->answer.status == 0 && atomic_load(&http->overdue))
        tell_cut(r);
    if (r != NULL && r->handled)
        traffic_end(http->gateway->traffic, r->route);
}

static void on_dropped(void *arg)
{
    const struct http *http = arg;

    traffic_dropped(http->gateway->traffic);
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
    struct http *http = calloc(1, sizeof *http);

    *out = NULL;
    if (http == NULL)
        return err_memory();
    http->gateway = gateway;
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
