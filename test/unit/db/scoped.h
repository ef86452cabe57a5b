/*
 * scoped.h - calling the stores' functions as a handler does, and waiting for the answer.
 */
#pragma once

#include "unit/db/database.h"

#include <stdatomic.h>

#include "base/arena.h"
#include "base/contract/ids.h"
#include "rpc/service/request_context.h"

enum { CALL_DEADLINE_MS = 50000 };

/* One call: start with call_begin, hand &call->ctx to the store, end with call_end. */
struct call {
    struct request_context ctx;
    struct latch *latch;
    struct latch own;
    atomic_int answers;
    struct err error;
    char subject[256];
    ProtobufCMessage *reply; /* a copy; NULL when failed */
};

UNUSED static void on_answer(void *arg, struct err error, const ProtobufCMessage *reply)
{
    struct call *call = arg;

    call->answers++;
    call->error = error;
    if (error.subject != NULL)
        snprintf(call->subject, sizeof call->subject, "%s", error.subject);
    if (!failed(error) && reply != NULL) {
        size_t size = protobuf_c_message_get_packed_size(reply);
        uint8_t *bytes = malloc(size + 1);
        protobuf_c_message_pack(reply, bytes);
        call->reply = protobuf_c_message_unpack(reply->descriptor, NULL, size, bytes);
        free(bytes);
    }
    latch_count(call->latch);
}

/* `latch` counts its answer; NULL: one of its own, for call_wait. */
UNUSED static struct request_context *call_begin(struct call *call, struct latch *latch)
{
    memset(call, 0, sizeof *call);
    call->latch = latch;
    if (latch == NULL) {
        latch_set(&call->own, 1);
        call->latch = &call->own;
    }
    call->ctx = (struct request_context){.arena = arena_new(1 << 20),
                                         .deadline_ms = in_ms(CALL_DEADLINE_MS),
                                         .request = "unit-test",
                                         .done = on_answer,
                                         .arg = call};
    return &call->ctx;
}

UNUSED static void call_wait(struct call *call)
{
    latch_wait(call->latch, 0);
    assert_int_equal(call->answers, 1);
}

UNUSED static void call_end(struct call *call)
{
    assert_int_equal(call->answers, 1);
    if (call->reply != NULL)
        protobuf_c_message_free_unpacked(call->reply, NULL);
    call->reply = NULL;
    arena_free(call->ctx.arena);
    call->ctx.arena = NULL;
}

/* Waits, ends, and gives the error's code. */
UNUSED static enum err_code call_code(struct call *call)
{
    call_wait(call);
    enum err_code code = call->error.code;
    call_end(call);
    return code;
}

#define assert_call_ok(call)                                                             \
    do {                                                                                 \
        call_wait(call);                                                                 \
        assert_ok((call)->error);                                                        \
        call_end(call);                                                                  \
    } while (0)

/*
 * To have operations share a batch they are submitted from the writer's own thread, in
 * the completion of one before: it is busy, so they are all queued when it looks again.
 */
struct batcher {
    void (*submit)(void *arg);
    void *arg;
    struct latch latch;
};

UNUSED static void batcher_on_op(void *arg, struct err error, const struct db_rows *rows)
{
    struct batcher *b = arg;

    (void)error;
    (void)rows;
    b->submit(b->arg);
    latch_count(&b->latch);
}

UNUSED static void batcher_on_reply(void *arg, struct err error,
                                    const ProtobufCMessage *reply)
{
    (void)reply;
    batcher_on_op(arg, error, NULL);
}

/* Seeded, so that a failure can be repeated: xorshift32. */
UNUSED static unsigned random_below(uint32_t *seed, unsigned limit)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed % limit;
}
