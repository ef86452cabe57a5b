/*
 * attempt_faults.c - faults of test builds, around an attempt; docs/faults.md.
 *
 * In other builds no fault is ever armed, and neither function does anything.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/failpoint.h"
#include "rpc/client/call.h"
#include "rpc/common/timer.h"

/* ---------------------------------------------------------- before sending */

/*
 * Faults of test builds, before sending: nobody is there; the message is lost; it is sent
 * twice; or it is taken for lost and arrives late.  True: the attempt has failed.
 */
bool call_attempt_faulted(struct call *call)
{
    struct fault fault = failpoint("call", call->method, "before");

    if (fault.kind == FAULT_REPEAT || fault.kind == FAULT_LATE)
        call_stray(call, fault.late_ms);
    if (fault.kind == FAULT_ERROR)
        call_attempt_failed(call, err_make(ERR_UNAVAILABLE, "a fault was armed here"));
    else if (fault.kind == FAULT_DROP || fault.kind == FAULT_LATE)
        call_attempt_failed(call,
                            err_unknown(ERR_DEADLINE_EXCEEDED, "a fault was armed here"));
    return fault.kind != FAULT_NONE && fault.kind != FAULT_REPEAT;
}

/* ---------------------------------------------------------- after receiving */

struct late_answer {
    struct call *call;
    size_t size;
    uint8_t body[];
};

static void on_late_answer(void *arg)
{
    struct late_answer *late = arg;

    call_take_answer(late->call, late->body, late->size);
    free(late);
}

/*
 * Faults of test builds, after receiving: the answer is lost, the request is sent again
 * behind it, or it is late.  True: the answer was dealt with.
 */
bool call_answer_faulted(struct call *call, const uint8_t *body, size_t size)
{
    struct fault fault = failpoint("call", call->method, "after");
    struct late_answer *late;
    struct err e;

    switch (fault.kind) {
    case FAULT_NONE:
        return false;
    case FAULT_REPEAT:
        call_stray(call, 0);
        return false;
    case FAULT_LATE:
        late = malloc(sizeof *late + size);
        assert(late != NULL);
        late->call = call;
        late->size = size;
        memcpy(late->body, body, size);
        e = timer_after(fault.late_ms, on_late_answer, late);
        assert(!failed(e));
        return true;
    case FAULT_ERROR:
    case FAULT_DROP:
        break;
    }
    call_attempt_failed(call, err_unknown(ERR_UNAVAILABLE, "a fault was armed here"));
    return true;
}
