/*
 * health.c - /healthz: whether an order sent here now would be looked at.
 *
 * What does not keep orders from being served, and somebody must see to, is a warning in
 * a 200: a load balancer that took every gateway out for it would make it an outage.
 */
#include "gateway/handlers.h"
#include "gateway/http.h"
#include "gateway/key_source.h"
#include "gateway/problem.h"
#include "proto/rpc.pb-c.h"

enum { HEALTH_TIMEOUT_MS = 2000 };

static void on_health(void *arg, struct err e, const ProtobufCMessage *message,
                      bool replayed)
{
    struct request *r = arg;
    const Rpc__V1__HealthCheckReply *reply = (const Rpc__V1__HealthCheckReply *)message;

    (void)replayed;
    if (!failed(e) && reply->status != RPC__V1__HEALTH_CHECK_REPLY__STATUS__SERVING)
        e = err_make(ERR_UNAVAILABLE, "the orchestrator is not serving: %s",
                     reply->detail);
    if (failed(e)) {
        request_fail(r, problem_of_call(e, false));
    } else {
        struct text text = text_start(r->arena, 32);
        text_raw(&text, "{\"status\":\"serving\"");
        if (key_source_stale(r->gateway->key_source))
            text_raw(&text, ",\"warnings\":[\"token_keys_stale\"]");
        text_raw(&text, "}");
        request_answer(r, 200, &text);
    }
    request_resume(r);
}

struct err health_check(struct request *r)
{
    Rpc__V1__HealthCheckRequest message = RPC__V1__HEALTH_CHECK_REQUEST__INIT;

    if (http_retired(r->http))
        return err_make(ERR_UNAVAILABLE,
                        "the gateway is stopping: send requests to another");
    request_call(r,
                 &(struct request_call){
                     .channel = r->gateway->orchestrator,
                     .method = "rpc.v1.Health/Check",
                     .message = &message.base,
                     .reply_type = &rpc__v1__health_check_reply__descriptor,
                     .timeout_ms = HEALTH_TIMEOUT_MS,
                 },
                 on_health);
    return ERR_NONE;
}
