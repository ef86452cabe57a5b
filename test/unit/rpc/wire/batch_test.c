/* batch_test.c - frames go into messages and come out as they were, and nothing else does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/wire/batch.h"

static void add(struct rpc_batch *batch, uint32_t id, const char *frame)
{
    assert_true(rpc_batch_add(batch, id, (const uint8_t *)frame, strlen(frame)));
}

static bool valid(nng_msg *message, size_t most)
{
    return rpc_batch_valid(nng_msg_body(message), nng_msg_len(message), most);
}

static void assert_next(struct rpc_batch_reader *reader, uint32_t id, const char *frame)
{
    uint32_t got;
    uint8_t *bytes;
    size_t size;

    assert_true(rpc_batch_next(reader, &got, &bytes, &size));
    assert_int_equal(got, id);
    assert_int_equal(size, strlen(frame));
    assert_memory_equal(bytes, frame, size);
}

static void frames_come_out_in_order_as_they_were(void **state)
{
    static const uint8_t BYTES[] = "\2\0\0\0\7\0\0\0\3one\377\377\377\377\0\0\0\0";
    struct rpc_batch batch = {0};

    (void)state;
    add(&batch, 7, "one");
    add(&batch, UINT32_MAX, "");
    nng_msg *message = rpc_batch_take(&batch);
    assert_int_equal(nng_msg_len(message), sizeof BYTES - 1);
    assert_memory_equal(nng_msg_body(message), BYTES, sizeof BYTES - 1);
    assert_true(valid(message, 2));
    assert_false(valid(message, 1));
    struct rpc_batch_reader reader =
        rpc_batch_read(nng_msg_body(message), nng_msg_len(message));
    assert_next(&reader, 7, "one");
    assert_next(&reader, UINT32_MAX, "");
    assert_int_equal(reader.left, 0);
    nng_msg_free(message);
    rpc_batch_free(&batch);
}

static void without_frames_a_batch_is_a_valid_message(void **state)
{
    struct rpc_batch batch = {0};
    nng_msg *message = rpc_batch_take(&batch);

    (void)state;
    assert_int_equal(nng_msg_len(message), 1);
    assert_true(valid(message, 0));
    nng_msg_free(message);
}

static void a_batch_that_is_cut_or_has_extra_bytes_is_invalid(void **state)
{
    struct rpc_batch batch = {0};

    (void)state;
    add(&batch, 1, "one");
    add(&batch, 2, "two");
    nng_msg *message = rpc_batch_take(&batch);
    uint8_t *body = nng_msg_body(message);
    size_t whole = nng_msg_len(message), first = 1 + RPC_BATCH_ENTRY + 3;
    for (size_t size = 0; size < whole; size++)
        assert_int_equal(rpc_batch_valid(body, size, 9), size == 1 || size == first);
    body[first + 4] = 0xff; /* a length past every end */
    assert_false(valid(message, 9));
    body[first + 4] = 0;
    body[0] = 1;
    assert_false(valid(message, 9));
    nng_msg_free(message);
    rpc_batch_free(&batch);
}

/* As many whole frames as a message holds; the rest follows in the next. */
static void more_than_a_message_holds_is_split_between_frames(void **state)
{
    enum { FRAMES = 40, SIZE = 100000 };
    uint8_t *frame = calloc(1, SIZE);
    struct rpc_batch batch = {0};
    uint32_t id, next = 0;
    uint8_t *bytes;
    size_t size;

    (void)state;
    for (uint32_t i = 0; i < FRAMES; i++)
        assert_true(rpc_batch_add(&batch, i, frame, SIZE));
    while (batch.size > 0) {
        nng_msg *message = rpc_batch_take(&batch);
        assert_true(nng_msg_len(message) <= RPC_BATCH_MAX);
        assert_true(nng_msg_len(message) > RPC_BATCH_MAX - SIZE - RPC_BATCH_ENTRY ||
                    batch.size == 0);
        assert_true(valid(message, FRAMES));
        struct rpc_batch_reader reader =
            rpc_batch_read(nng_msg_body(message), nng_msg_len(message));
        while (rpc_batch_next(&reader, &id, &bytes, &size)) {
            assert_int_equal(id, next++);
            assert_int_equal(size, SIZE);
        }
        nng_msg_free(message);
    }
    assert_int_equal(next, FRAMES);
    rpc_batch_free(&batch);
    free(frame);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_out_in_order_as_they_were),
        cmocka_unit_test(without_frames_a_batch_is_a_valid_message),
        cmocka_unit_test(a_batch_that_is_cut_or_has_extra_bytes_is_invalid),
        cmocka_unit_test(more_than_a_message_holds_is_split_between_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
