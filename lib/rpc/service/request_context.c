/* request_context.c - see request_context.h. */
#include "rpc/service/request_context.h"

struct reply_to {
    struct rpc_call *call;
    ProtobufCClosure reply;
};

static void reply_or_fail(void *arg, struct err error, const ProtobufCMessage *reply)
{
    struct reply_to *to = arg;

    if (failed(error))
        rpc_call_fail(to->call, error);
    else
        to->reply(reply, to->call);
}

bool request_context_open(struct request_context *ctx, struct rpc_call *call,
                          ProtobufCClosure reply, struct err invalid)
{
    struct reply_to *to = NULL;

    if (!failed(invalid)) {
        to = arena_alloc(rpc_call_arena(call), sizeof *to);
        if (to == NULL)
            invalid = err_memory();
    }
    if (to == NULL) {
        rpc_call_fail(call, invalid);
        return false;
    }
    *to = (struct reply_to){call, reply};
    *ctx = (struct request_context){.arena = rpc_call_arena(call),
                                    .deadline_ms = rpc_call_deadline(call),
                                    .request = rpc_call_id(call),
                                    .order = rpc_call_order(call),
                                    .cancel = rpc_call_cancel(call),
                                    .done = reply_or_fail,
                                    .arg = to};
    return true;
}
