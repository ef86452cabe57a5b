/*
 * dispatch.h - a service's methods, from a request to the store's door.
 *
 *   input:  method (a byte) | message (message.h)
 *
 * The handlers are the real ones.  The store's functions a harness defines itself, before
 * the linker looks for the real ones, and asserts in them that what came through is what
 * the store may rely on.  So are the call's, here: each request is answered once, by the
 * store or with a refusal.
 */
#pragma once

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "fuzz/message.h"
#include "rpc/service/request_context.h"

static struct arena *dispatch_arena;
static int dispatch_stored, dispatch_refused;

/* ---- in place of the server's --------------------------------------------------------- */

bool request_context_open(struct request_context *ctx, struct rpc_call *call,
                          ProtobufCClosure reply, struct err invalid)
{
    (void)reply;
    if (failed(invalid)) {
        rpc_call_fail(call, invalid);
        return false;
    }
    *ctx = (struct request_context){.arena = dispatch_arena};
    return true;
}

void rpc_call_fail(struct rpc_call *call, struct err error)
{
    (void)call;
    assert_refusal(error);
    dispatch_refused++;
}

const char *rpc_call_id(const struct rpc_call *call)
{
    (void)call;
    return "a-call";
}

void rpc_call_set_order(struct rpc_call *call, const char *order_id)
{
    (void)call;
    (void)order_id;
}

const char *rpc_call_caller(const struct rpc_call *call)
{
    (void)call;
    return "a-caller";
}

/* ---- what store functions say --------------------------------------------------------- */

/* The first word of each of them. */
static void stored(const struct request_context *ctx)
{
    assert(ctx->arena == dispatch_arena);
    dispatch_stored++;
}

static inline bool empty_or(bool (*valid)(const char *text), const char *text)
{
    return text[0] == '\0' || valid(text);
}

static inline bool page_good(int32_t limit, const char *after)
{
    return limit >= 0 && limit <= ENTRIES_PAGE_MAX &&
           (after[0] == '\0' || visible_ascii(after, 1, PAGE_AFTER_MAX));
}

/* Unix milliseconds that an id may have, or 0. */
static inline bool time_good(int64_t since_ms, int64_t until_ms)
{
    return since_ms >= 0 && since_ms < ULID_MS_END && until_ms >= 0 &&
           until_ms < ULID_MS_END;
}

/* ---- one request ----------------------------------------------------------------------- */

static void dispatch_reply(const ProtobufCMessage *message, void *call)
{
    (void)message, (void)call;
    assert(false && "only the store has an answer");
}

static void dispatch(ProtobufCService *service, const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    unsigned method = input_byte(&in) % service->descriptor->n_methods;

    dispatch_arena = arena_new(MESSAGE_ARENA_MAX);
    assert(dispatch_arena != NULL);
    ProtobufCMessage *message =
        message_of(&in, dispatch_arena, service->descriptor->methods[method].input);
    dispatch_stored = dispatch_refused = 0;
    if (message != NULL) {
        service->invoke(service, method, message, dispatch_reply, NULL);
        assert(dispatch_stored + dispatch_refused == 1);
    }
    arena_free(dispatch_arena);
}
