/*
 * batch.h - many sealed frames in one message, both ways (proto/README.md, section 5).
 *
 *   02 | ( id, 4 | length, 4 | frame ) ...        big-endian; any number of frames
 *
 * A message costs system calls and wake-ups on both sides, so frames that are ready together
 * share one.  Each frame is sealed by itself, the same as outside a batch.
 */
#pragma once

#include <nng/nng.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    RPC_BATCH_MARK = 0x02, /* no frame begins with it (seal.h) */
    RPC_BATCH_ENTRY = 8,   /* bytes before each frame */
    RPC_BATCH_FRAMES_MAX = 256,
    RPC_BATCH_MAX = (1 << 20) + 32, /* bytes of a message; one frame of any size fits */
};

/* Frames collected to be sent.  All zeros: none. */
struct rpc_batch {
    uint8_t *bytes; /* entries, without the mark */
    size_t size, room;
};

/* False, and nothing added, when memory is short. */
bool rpc_batch_add(struct rpc_batch *batch, uint32_t id, const uint8_t *frame,
                   size_t size) __attribute__((warn_unused_result));

/* A message of as many of the first frames as fit into RPC_BATCH_MAX; the rest stays.  Without
 * frames it is an empty batch.  NULL, and all stays, when memory is short. */
nng_msg *rpc_batch_take(struct rpc_batch *batch) __attribute__((warn_unused_result));

void rpc_batch_free(struct rpc_batch *batch);

/* Whether the message is a batch, well formed to its last byte, of at most `most` frames. */
bool rpc_batch_valid(const uint8_t *body, size_t size, size_t most)
    __attribute__((warn_unused_result));

/* Where the frames of a valid batch are read from. */
struct rpc_batch_reader {
    uint8_t *at;
    size_t left;
};

struct rpc_batch_reader rpc_batch_read(uint8_t *body, size_t size);

/* The next frame; false at the end. */
bool rpc_batch_next(struct rpc_batch_reader *reader, uint32_t *id, uint8_t **frame,
                    size_t *size);
