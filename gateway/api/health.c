/*
 * health.c - /healthz: whether an order sent now would be placed.
 *
 *     orchestrator --answered--> inventory --answered--> payment --answered--> answer
 *
 * An order needs all three services, so each is checked, one after another.  Faults that
 * do not prevent orders are only warnings: a load balancer that removed every gateway
 * because of them would cause an outage.
 *
 * No token is needed, so the answer has only the services' public summaries; details for
 * operators go to the log.
 */
#include <stdio.h>

#include "base/log.h"
#include "gateway/api/handlers.h"
#include "gateway/auth/key_source.h"
#include "gateway/http/http.h"
#include "gateway/http/problem.h"
#include "proto/rpc.pb-c.h"

enum {
    SERVICES = 3,
    EACH_MS = 800, /* so that the answer comes within three seconds */
    WARNING_SIZE = 64,
};

struct checking {
    struct request *request;
    size_t service;                 /* the index of the one being checked */
    struct text failures, warnings; /* the elements of JSON arrays */
};

static const char *const NAMES[SERVICES] = {"orchestrator", "inventory", "payment"};

static struct channel *channel_to(const struct gateway *gateway, size_t service)
{
    struct channel *const channels[SERVICES] = {gateway->orchestrator, gateway->inventory,
                                                gateway->payment};

    return channels[service];
}

/* ---- the replies ---- */

static void separate(struct text *list)
{
    if (list->size > 0)
        text_raw(list, ",");
}

static void add_failure(struct checking *c, const char *reason, const char *detail)
{
    const char *name = NAMES[c->service];

    log_warn("service_not_serving", "request=%s service=%s error=%s", c->request->id,
             name, detail);
    separate(&c->failures);
    text_raw(&c->failures, "{\"service\":");
    text_string(&c->failures, name);
    text_raw(&c->failures, ",\"reason\":");
    text_string(&c->failures, reason);
    text_raw(&c->failures, "}");
}

static void add_warning(struct checking *c, const char *warning)
{
    separate(&c->warnings);
    text_string(&c->warnings, warning);
}

static void read_reply(struct checking *c, struct err e,
                       const Rpc__V1__HealthCheckReply *reply)
{
    char warning[WARNING_SIZE];

    if (failed(e)) {
        bool refused = e.code == ERR_UNAUTHENTICATED || e.code == ERR_PERMISSION_DENIED;
        add_failure(c, refused ? "it does not let this gateway in" : "it does not answer",
                    e.message);
        return;
    }
    if (reply->status != RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING)
        add_failure(c, reply->summary[0] != '\0' ? reply->summary : "it is not serving",
                    reply->detail);
    for (size_t i = 0; i < reply->n_parts; i++)
        if (reply->parts[i]->status == RPC__V1__HEALTH_CHECK_REPLY__STATUS__NOT_SERVING) {
            snprintf(warning, sizeof warning, "%s_not_serving", reply->parts[i]->name);
            add_warning(c, warning);
        }
}

/* ---- the answer ---- */

static void write_warnings(struct text *text, const struct checking *c)
{
    if (c->warnings.size == 0)
        return;
    text_raw(text, ",\"warnings\":[");
    text_raw_of(text, c->warnings.bytes, c->warnings.size);
    text_raw(text, "]");
}

static void answer_serving(struct checking *c)
{
    struct request *r = c->request;
    struct text text = text_start(r->arena, 64);

    text_raw(&text, "{\"status\":\"serving\"");
    write_warnings(&text, c);
    text_raw(&text, "}");
    request_answer(r, 200, &text);
}

static void answer_not_serving(struct checking *c)
{
    struct request *r = c->request;
    struct err e = err_make(ERR_UNAVAILABLE, "A service is not serving.");
    struct text text = text_start(r->arena, 512);

    problem_open(&text, err_http_status(e.code), e);
    text_raw(&text, ",\"services\":[");
    text_raw_of(&text, c->failures.bytes, c->failures.size);
    text_raw(&text, "]");
    write_warnings(&text, c);
    text_raw(&text, "}");
    request_answer(r, err_http_status(e.code), &text);
    r->answer.retry_after_s = 1;
}

static void finish(struct checking *c)
{
    struct request *r = c->request;

    if (key_source_stale(r->gateway->key_source))
        add_warning(c, "token_keys_stale");
    if (c->failures.broken || c->warnings.broken)
        request_fail(r, err_memory());
    else if (c->failures.size > 0)
        answer_not_serving(c);
    else
        answer_serving(c);
    http_send(r);
}

/* ---- asking ---- */

static const Rpc__V1__HealthCheckRequest QUESTION = RPC__V1__HEALTH_CHECK_REQUEST__INIT;

static struct request_call question_to(const struct request *r, size_t service)
{
    return (struct request_call){
        .channel = channel_to(r->gateway, service),
        .method = "rpc.v1.Health/Check",
        .message = &QUESTION.base,
        .reply_type = &rpc__v1__health_check_reply__descriptor,
        .timeout_ms = EACH_MS,
    };
}

static void on_health(void *arg, struct err e, const ProtobufCMessage *message,
                      bool replayed)
{
    struct checking *c = arg;

    (void)replayed;
    read_reply(c, e, (const Rpc__V1__HealthCheckReply *)message);
    do
        c->service++;
    while (c->service < SERVICES && channel_to(c->request->gateway, c->service) == NULL);
    if (c->service == SERVICES) {
        finish(c);
        return;
    }
    const struct request_call next = question_to(c->request, c->service);
    request_call_next(c->request, &next, on_health, c);
}

static void on_first(void *arg, struct err e, const ProtobufCMessage *message,
                     bool replayed)
{
    struct request *r = arg;
    struct checking *c = arena_alloc(r->arena, sizeof *c);

    if (c == NULL) {
        http_send_failure(r, err_memory());
        return;
    }
    *c = (struct checking){.request = r,
                           .failures = text_start(r->arena, 64),
                           .warnings = text_start(r->arena, 64)};
    on_health(c, e, message, replayed);
}

struct err health_check(struct request *r)
{
    const struct request_call first = question_to(r, 0);

    if (http_retired(r->http))
        return err_make(ERR_UNAVAILABLE,
                        "the gateway is stopping: send requests to another");
    request_call(r, &first, on_first);
    return ERR_NONE;
}
