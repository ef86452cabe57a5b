/* request.c - see request.h. */
#include "gateway/http/request.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "gateway/http/problem.h"

#define invalid(...) err_make(ERR_INVALID_ARGUMENT, __VA_ARGS__)

static const char *text_or(struct arena *arena, struct http_text text, const char *none)
{
    return text.size == 0 ? none : http_text_copy(arena, text);
}

struct request *request_new(const struct gateway *gateway, struct http_exchange *exchange,
                            const struct http_head *head)
{
    struct arena *arena = http_exchange_arena(exchange);
    struct request *r = arena_alloc(arena, sizeof *r);

    if (r == NULL)
        return NULL;
    r->arena = arena;
    r->gateway = gateway;
    r->exchange = exchange;
    r->method = text_or(arena, head->method, "-");
    const char *query = memchr(head->target.at, '?', head->target.size);
    r->target =
        text_or(arena,
                (struct http_text){head->target.at,
                                   query == NULL ? head->target.size
                                                 : (size_t)(query - head->target.at)},
                "-");
    r->path = r->query = "";
    r->started_us = clock_monotonic_us();
    ulid_make(r->id);
    return r->method != NULL && r->target != NULL ? r : NULL;
}

void request_answer(struct request *r, unsigned status, const struct text *text)
{
    if (text->broken) {
        request_fail(r, err_make(ERR_INTERNAL,
                                 "the answer does not fit into the request's arena"));
        return;
    }
    r->answer.status = status;
    r->answer.body = text->bytes;
    r->answer.size = text->size;
    r->answered = true;
}

static void log_failure(const struct request *r, const struct err *error)
{
    struct log_record line;

    if (!log_begin_limited(&line, LOG_WARN, "failed"))
        return;
    log_subject(&line, r->id, r->order_id);
    log_pair(&line, "path", r->target);
    log_pair(&line, "code", err_reason(error->code));
    log_pair(&line, "reason", error->message);
    log_end(&line);
}

void request_fail(struct request *r, struct err error)
{
    bool close = r->answer.close, replayed = r->answer.replayed;
    const char *allow = r->answer.allow, *codings = r->answer.accept_encoding;

    if (err_http_status(error.code) >= 500)
        log_failure(r, &error);
    r->answer = problem_answer(r->arena, error);
    r->answer.close = close;
    r->answer.replayed = replayed;
    r->answer.allow = allow;
    r->answer.accept_encoding = codings;
    r->answered = true;
}

static channel_ticket start(struct request *r, const struct request_call *call,
                            channel_done *done, void *arg)
{
    const struct channel_call c = {
        .method = call->method,
        .request = call->message,
        .reply_type = call->reply_type,
        .arena = r->arena,
        .deadline_ms = clock_monotonic_ms() + call->timeout_ms,
        .id = r->id,
        .traceparent = r->trace.parent,
        .tracestate = r->trace.state,
    };

    return channel_call(call->channel, &c, done, arg);
}

void request_call(struct request *r, const struct request_call *call, channel_done *done)
{
    if (r->trace.parent[0] == '\0')
        trace_begin(&r->head.trace, &r->trace);
    /* The call may have completed already on another thread; the request still exists,
     * since its exchange ends on this thread. */
    channel_ticket ticket = start(r, call, done, r);
    r->channel = call->channel;
    r->ticket = ticket;
}

void request_call_next(struct request *r, const struct request_call *call,
                       channel_done *done, void *arg)
{
    start(r, call, done, arg);
}

/* Decodes in place.  RAW: what a query may contain unencoded (RFC 3986, 3.4). */
static bool decode(char *value)
{
    static const char RAW[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                              "0123456789-._~!$'()*,;=:@/?";
    char *out = value;

    for (const char *at = value; *at != '\0'; at++) {
        if (*at == '+') {
            *out++ = ' ';
        } else if (*at == '%') {
            int high = hex_digit(at[1]), low = high < 0 ? -1 : hex_digit(at[2]);
            if (low < 0 || high + low == 0) /* a NUL would end the C string */
                return false;
            *out++ = (char)(16 * high + low);
            at += 2;
        } else if (strchr(RAW, *at) != NULL) {
            *out++ = *at;
        } else {
            return false;
        }
    }
    *out = '\0';
    return value[0] != '\0' && utf8_valid(value, strlen(value));
}

static struct err take_pair(const char *const *names, const char **values, char *pair)
{
    char *equals = strchr(pair, '=');
    size_t i = 0;

    if (equals != NULL)
        *equals++ = '\0';
    while (names[i] != NULL && strcmp(names[i], pair) != 0)
        i++;
    if (names[i] == NULL)
        return invalid("The query has an unknown parameter \"%.*s\".",
                       (int)utf8_prefix(pair, 32), pair);
    if (values[i] != NULL)
        return invalid("The query has %s twice.", names[i]);
    if (equals == NULL || !decode(equals))
        return invalid("The value of %s in the query is malformed: it must be "
                       "percent-encoded UTF-8 without control characters, and not empty.",
                       names[i]);
    values[i] = equals;
    return ERR_NONE;
}

struct err request_query(struct request *r, const char *const *names, const char **values)
{
    struct err e = ERR_NONE;

    for (size_t i = 0; names[i] != NULL; i++)
        values[i] = NULL;
    if (r->query[0] == '\0')
        return ERR_NONE;
    char *at = arena_strdup(r->arena, r->query);
    if (at == NULL)
        return err_memory();
    while (!failed(e) && at != NULL) {
        char *next = strchr(at, '&');
        if (next != NULL)
            *next++ = '\0';
        e = take_pair(names, values, at);
        at = next;
    }
    return e;
}

struct err request_limit(const char *text, int32_t most, int32_t *out)
{
    *out = 0;
    if (text == NULL)
        return ERR_NONE;
    if (strlen(text) <= 4 && text[strspn(text, "0123456789")] == '\0')
        for (const char *c = text; *c != '\0'; c++)
            *out = *out * 10 + (*c - '0');
    if (*out < 1 || *out > most || text[0] == '0')
        return invalid("limit must be a number from 1 to %d.", most);
    return ERR_NONE;
}
