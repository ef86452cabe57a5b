/* envelope.c - see envelope.h. */
#include "rpc/wire/envelope.h"

#include <stdio.h>
#include <string.h>

#include "base/contract/ids.h"
#include "base/contract/trace.h"

/* The pause asked of callers when the error of an overloaded server names none. */
enum { RETRY_OVERLOADED_MS = 100 };

nng_msg *envelope_pack(const ProtobufCMessage *envelope, size_t overhead)
{
    nng_msg *message;
    size_t size = protobuf_c_message_get_packed_size(envelope);

    if (nng_msg_alloc(&message, overhead + size) != 0)
        return NULL;
    protobuf_c_message_pack(envelope, (uint8_t *)nng_msg_body(message) + overhead);
    return message;
}

static bool metadata_key_valid(const char *key)
{
    size_t length = strlen(key);

    return length >= 1 && length <= ENVELOPE_METADATA_KEY_MAX &&
           strspn(key, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == length;
}

static struct err check_metadata(const struct rpc_metadata *metadata, size_t count)
{
    if (count > ENVELOPE_METADATA_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "metadata has at most %d entries",
                        ENVELOPE_METADATA_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!metadata_key_valid(metadata[i].key))
            return err_make(ERR_INVALID_ARGUMENT,
                            "a key of metadata is 1 to %d of a-z 0-9 - _ .",
                            ENVELOPE_METADATA_KEY_MAX);
        if (!utf8_valid(metadata[i].value, ENVELOPE_METADATA_VALUE_MAX))
            return err_make(
                ERR_INVALID_ARGUMENT,
                "the value of metadata %s is at most %d bytes of UTF-8 without "
                "control characters",
                metadata[i].key, ENVELOPE_METADATA_VALUE_MAX);
        for (size_t j = 0; j < i; j++)
            if (strcmp(metadata[i].key, metadata[j].key) == 0)
                return err_make(ERR_INVALID_ARGUMENT, "metadata has %s twice",
                                metadata[i].key);
    }
    return ERR_NONE;
}

struct err envelope_check_fields(const char *method, const char *id,
                                 const char *traceparent, const char *tracestate,
                                 const struct rpc_metadata *metadata, size_t count)
{
    if (!visible_ascii(method, 3, ENVELOPE_METHOD_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "method is 3 to %d visible ASCII characters",
                        ENVELOPE_METHOD_MAX);
    if (!visible_ascii(id, 1, ENVELOPE_ID_MAX))
        return err_make(ERR_INVALID_ARGUMENT, "id is 1 to %d visible ASCII characters",
                        ENVELOPE_ID_MAX);
    if (!visible_ascii(traceparent, 0, ENVELOPE_TRACEPARENT_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "traceparent is at most %d visible ASCII characters",
                        ENVELOPE_TRACEPARENT_MAX);
    if (!printable_ascii(tracestate, TRACESTATE_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "tracestate is at most %d printable ASCII characters",
                        TRACESTATE_MAX);
    return check_metadata(metadata, count);
}

struct err envelope_check(const Rpc__V1__Request *request)
{
    struct rpc_metadata metadata[ENVELOPE_METADATA_MAX];
    size_t count = request->n_metadata;

    if (request->timeout_ms < 1 || request->timeout_ms > RPC_TIMEOUT_MAX_MS)
        return err_make(ERR_INVALID_ARGUMENT, "timeout_ms is 1 to %d, not %u",
                        RPC_TIMEOUT_MAX_MS, request->timeout_ms);
    for (size_t i = 0; i < count && i < ENVELOPE_METADATA_MAX; i++)
        metadata[i] =
            (struct rpc_metadata){request->metadata[i]->key, request->metadata[i]->value};
    return envelope_check_fields(request->method, request->id, request->traceparent,
                                 request->tracestate, metadata, count);
}

void envelope_put_err(const struct err *error, Rpc__V1__Response *response)
{
    response->status = err_grpc_status(error->code);
    response->message = (char *)error->message;
    response->reason = (char *)err_reason(error->code);
    if (error->subject != NULL)
        response->subject = (char *)error->subject;
    if (error->money != MONEY_UNKNOWN)
        response->money = (char *)err_money_text(error->money);
    response->effect = (Rpc__V1__Effect)error->effect;
    response->retry_after_ms = error->retry_after_ms;
    if (response->retry_after_ms == 0 && error->code == ERR_RESOURCE_EXHAUSTED)
        response->retry_after_ms = RETRY_OVERLOADED_MS;
}

struct err envelope_get_err(const Rpc__V1__Response *response)
{
    if (response->status == 0)
        return ERR_NONE;
    struct err e = {.code = err_of_reason(response->reason),
                    .money = err_money_of(response->money),
                    .retry_after_ms = response->retry_after_ms < RPC_TIMEOUT_MAX_MS
                                          ? response->retry_after_ms
                                          : RPC_TIMEOUT_MAX_MS};
    /* The first seventeen codes are the statuses themselves (err.h). */
    if (e.code == ERR_OK || err_grpc_status(e.code) != response->status)
        e.code = response->status <= ERR_UNAUTHENTICATED ? (enum err_code)response->status
                                                         : ERR_UNKNOWN;
    bool known = response->effect == RPC__V1__EFFECT__EFFECT_NONE ||
                 response->effect == RPC__V1__EFFECT__EFFECT_APPLIED;
    e.effect = known ? (enum err_effect)response->effect : EFFECT_UNKNOWN;
    if (*response->subject != '\0' && utf8_valid(response->subject, RPC_MESSAGE_MAX))
        e.subject = response->subject;
    snprintf(e.message, sizeof e.message, "%s",
             utf8_valid(response->message, sizeof e.message - 1)
                 ? response->message
                 : "the callee's message is not readable text");
    return e;
}
