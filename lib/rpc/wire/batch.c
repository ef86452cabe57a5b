/* batch.c - see batch.h. */
#include "rpc/wire/batch.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { ROOM_LEAST = 4096, ROOM_KEPT = 256 << 10 };

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static bool make_room(struct rpc_batch *batch, size_t size)
{
    size_t room = batch->room == 0 ? ROOM_LEAST : batch->room;

    while (room - batch->size < size)
        room *= 2;
    if (room == batch->room)
        return true;
    uint8_t *larger = realloc(batch->bytes, room);
    if (larger == NULL)
        return false;
    batch->bytes = larger;
    batch->room = room;
    return true;
}

bool rpc_batch_add(struct rpc_batch *batch, uint32_t id, const uint8_t *frame,
                   size_t size)
{
    if (!make_room(batch, RPC_BATCH_ENTRY + size))
        return false;
    uint8_t *at = batch->bytes + batch->size;
    put_u32(at, id);
    put_u32(at + 4, (uint32_t)size);
    memcpy(at + RPC_BATCH_ENTRY, frame, size);
    batch->size += RPC_BATCH_ENTRY + size;
    return true;
}

/* How many bytes of entries one message takes. */
static size_t fitting(const struct rpc_batch *batch)
{
    const size_t most = RPC_BATCH_MAX - 1;
    size_t size = 0;

    if (batch->size <= most)
        return batch->size;
    for (;;) {
        size_t next = RPC_BATCH_ENTRY + get_u32(batch->bytes + size + 4);
        if (size + next > most)
            return size;
        size += next;
    }
}

nng_msg *rpc_batch_take(struct rpc_batch *batch)
{
    size_t size = fitting(batch);
    nng_msg *message;

    if (nng_msg_alloc(&message, 1 + size) != 0)
        return NULL;
    uint8_t *body = nng_msg_body(message);
    body[0] = RPC_BATCH_MARK;
    if (size > 0) {
        memcpy(body + 1, batch->bytes, size);
        memmove(batch->bytes, batch->bytes + size, batch->size - size);
    }
    batch->size -= size;
    if (batch->size == 0 && batch->room > ROOM_KEPT)
        rpc_batch_free(batch);
    return message;
}

void rpc_batch_free(struct rpc_batch *batch)
{
    free(batch->bytes);
    *batch = (struct rpc_batch){0};
}

bool rpc_batch_valid(const uint8_t *body, size_t size, size_t most)
{
    if (size == 0 || body[0] != RPC_BATCH_MARK)
        return false;
    size_t at = 1;
    for (size_t count = 0; at < size; count++) {
        if (count == most || size - at < RPC_BATCH_ENTRY)
            return false;
        size_t frame = get_u32(body + at + 4);
        at += RPC_BATCH_ENTRY;
        if (frame > size - at)
            return false;
        at += frame;
    }
    return true;
}

struct rpc_batch_reader rpc_batch_read(uint8_t *body, size_t size)
{
    return (struct rpc_batch_reader){body + 1, size - 1};
}

bool rpc_batch_next(struct rpc_batch_reader *reader, uint32_t *id, uint8_t **frame,
                    size_t *size)
{
    if (reader->left == 0)
        return false;
    *id = get_u32(reader->at);
    *size = get_u32(reader->at + 4);
    *frame = reader->at + RPC_BATCH_ENTRY;
    reader->at += RPC_BATCH_ENTRY + *size;
    reader->left -= RPC_BATCH_ENTRY + *size;
    return true;
}
