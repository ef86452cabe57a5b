/* ctx.c - see ctx.h. */
#include "rpc/service/request_context.h"

struct answer {
    struct rpc_call *call;
    ProtobufCClosure reply;
};

static void give(void *arg, struct err error, const ProtobufCMessage *reply)
{
    struct answer *answer = arg;

    if (failed(error))
        rpc_call_fail(answer->call, error);
    else
        answer->reply(reply, answer->call);
}

bool request_context_open(struct request_context *ctx, struct rpc_call *call,
                          ProtobufCClosure reply, struct err invalid)
{
    struct answer *answer = NULL;

    if (!failed(invalid)) {
        answer = arena_alloc(rpc_call_arena(call), sizeof *answer);
        if (answer == NULL)
            invalid = err_memory();
    }
    if (answer == NULL) {
        rpc_call_fail(call, invalid);
        return false;
    }
    *answer = (struct answer){call, reply};
    *ctx = (struct request_context){.arena = rpc_call_arena(call),
                                    .deadline_ms = rpc_call_deadline(call),
                                    .request = rpc_call_id(call),
                                    .order = rpc_call_order(call),
                                    .cancel = rpc_call_cancel(call),
                                    .done = give,
                                    .arg = answer};
    return true;
}
