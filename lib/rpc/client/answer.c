/*
 * answer.c - what came back of an attempt; see attempt.c.
 *
 * A server that will not have us (an old list of callers, or no such method yet) need not
 * speak for its replicas: its address is rested, and its refusal is final when every
 * one that is connected, or was a moment ago, has refused the call.
 */
#include <string.h>

#include "rpc/client/call.h"

/* ---------------------------------------------------------- errors */

/* Notes that the attempt's address refused us; whether one is left that may not. */
static bool ask_elsewhere(struct call *call)
{
    struct channel *channel = call->channel;

    call->refused |= UINT32_C(1) << (call->endpoint - channel->endpoints);
    for (size_t i = 0; i < channel->endpoint_count; i++)
        if ((call->refused >> i & 1) == 0 && endpoint_may_answer(&channel->endpoints[i]))
            return true;
    return false;
}

/* Whether a replica may see the caller, or the method, otherwise. */
static bool may_differ(enum err_code code)
{
    return code == ERR_UNAUTHENTICATED || code == ERR_PERMISSION_DENIED ||
           code == ERR_UNIMPLEMENTED;
}

/*
 * The callee's error: final, unless it asks us to come back, or another may answer.  After
 * DATA_LOSS nothing is asked again: where a row is gone, a repeat would be taken for the
 * first, and do it twice.
 */
static void answered_error(struct call *call, struct err e,
                           const Rpc__V1__Response *response)
{
    bool elsewhere = response->not_run && may_differ(e.code) && ask_elsewhere(call);
    bool again = e.code == ERR_UNAVAILABLE || elsewhere;

    call_leave(call, again ? ENDPOINT_FAILED : ENDPOINT_WELL);
    call->error = e;
    call->answered = true;
    call->not_run = response->not_run;
    if (e.effect == EFFECT_UNKNOWN)
        call->unknown = true;
    if (again || (e.effect == EFFECT_UNKNOWN && e.code != ERR_DATA_LOSS))
        call_retry(call);
    else
        call_finish(call, e, NULL, response->replayed);
}

/* Ends the call with what is not worth a retry: the next attempt would see the same. */
static void fail_for_good(struct call *call, struct err e)
{
    call_leave(call, ENDPOINT_FAILED);
    call_finish(call, e, NULL, false);
}

/* ---------------------------------------------------------- frames */

static void take_response(struct call *call, const Rpc__V1__Response *response)
{
    struct err e = envelope_get_err(response);

    if (strcmp(response->id, call->id) != 0) {
        fail_for_good(call,
                      err_unknown(ERR_DATA_LOSS, "the answer of %s is to another call",
                                  call->endpoint->url));
        return;
    }
    if (failed(e)) {
        answered_error(call, e, response);
        return;
    }
    ProtobufCMessage *reply =
        protobuf_c_message_unpack(call->reply_type, arena_protobuf(call->arena),
                                  response->payload.len, response->payload.data);
    if (reply == NULL && arena_memory_short(call->arena)) {
        e = err_memory();
        e.effect = EFFECT_UNKNOWN; /* it was done; asked again, it says so again */
    } else if (reply == NULL) {
        e = err_make(ERR_DATA_LOSS,
                     "the answer of %s does not unpack as %s, or is too large",
                     call->method, call->reply_type->name);
        e.effect = EFFECT_APPLIED;
    }
    call_finish(call, e, reply, response->replayed);
}

void call_take_answer(struct call *call, uint8_t *body, size_t size)
{
    uint8_t *text = NULL;
    size_t text_size = 0;
    struct err refused;
    Rpc__V1__Response *response = NULL;

    if (seal_is_refusal(body, size, &refused)) {
        if (refused.code == ERR_UNAVAILABLE || ask_elsewhere(call))
            call_attempt_failed(call, refused);
        else
            fail_for_good(call, refused);
        return;
    }
    bool opened = seal_open_response(body, size, call->nonce, call->callee->peer->shared,
                                     &text, &text_size);
    if (opened)
        response =
            rpc__v1__response__unpack(arena_protobuf(call->arena), text_size, text);
    if (response != NULL)
        take_response(call, response);
    else if (opened && arena_memory_short(call->arena))
        fail_for_good(call, err_unknown(ERR_UNAVAILABLE, "no memory for the answer of %s",
                                        call->method));
    else if (opened)
        fail_for_good(call, err_unknown(ERR_DATA_LOSS, "the answer of %s does not unpack",
                                        call->method));
    else
        fail_for_good(call, err_unknown(ERR_UNAUTHENTICATED,
                                        "the answer from %s is not sealed with %s's key",
                                        call->endpoint->url, call->channel->service));
}
