/* bundle.c - see bundle.h. */
#include "rpc/wire/bundle.h"

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

static bool make_room(struct bundle *bundle, size_t size)
{
    size_t room = bundle->room == 0 ? ROOM_LEAST : bundle->room;

    while (room - bundle->size < size)
        room *= 2;
    if (room == bundle->room)
        return true;
    uint8_t *larger = realloc(bundle->bytes, room);
    if (larger == NULL)
        return false;
    bundle->bytes = larger;
    bundle->room = room;
    return true;
}

bool bundle_add(struct bundle *bundle, uint32_t id, const uint8_t *frame, size_t size)
{
    if (!make_room(bundle, BUNDLE_ENTRY + size))
        return false;
    uint8_t *at = bundle->bytes + bundle->size;
    put_u32(at, id);
    put_u32(at + 4, (uint32_t)size);
    memcpy(at + BUNDLE_ENTRY, frame, size);
    bundle->size += BUNDLE_ENTRY + size;
    return true;
}

/* How many bytes of entries one message takes. */
static size_t fitting(const struct bundle *bundle)
{
    const size_t most = BUNDLE_MAX - 1;
    size_t size = 0;

    if (bundle->size <= most)
        return bundle->size;
    for (;;) {
        size_t next = BUNDLE_ENTRY + get_u32(bundle->bytes + size + 4);
        if (size + next > most)
            return size;
        size += next;
    }
}

nng_msg *bundle_take(struct bundle *bundle)
{
    size_t size = fitting(bundle);
    nng_msg *message;

    if (nng_msg_alloc(&message, 1 + size) != 0)
        return NULL;
    uint8_t *body = nng_msg_body(message);
    body[0] = BUNDLE_MARK;
    if (size > 0) {
        memcpy(body + 1, bundle->bytes, size);
        memmove(bundle->bytes, bundle->bytes + size, bundle->size - size);
    }
    bundle->size -= size;
    if (bundle->size == 0 && bundle->room > ROOM_KEPT)
        bundle_free(bundle);
    return message;
}

void bundle_free(struct bundle *bundle)
{
    free(bundle->bytes);
    *bundle = (struct bundle){0};
}

bool bundle_valid(const uint8_t *body, size_t size, size_t most)
{
    if (size == 0 || body[0] != BUNDLE_MARK)
        return false;
    size_t at = 1;
    for (size_t count = 0; at < size; count++) {
        if (count == most || size - at < BUNDLE_ENTRY)
            return false;
        size_t frame = get_u32(body + at + 4);
        at += BUNDLE_ENTRY;
        if (frame > size - at)
            return false;
        at += frame;
    }
    return true;
}

struct bundle_reader bundle_read(uint8_t *body, size_t size)
{
    return (struct bundle_reader){body + 1, size - 1};
}

bool bundle_next(struct bundle_reader *reader, uint32_t *id, uint8_t **frame,
                 size_t *size)
{
    if (reader->left == 0)
        return false;
    *id = get_u32(reader->at);
    *size = get_u32(reader->at + 4);
    *frame = reader->at + BUNDLE_ENTRY;
    reader->at += BUNDLE_ENTRY + *size;
    reader->left -= BUNDLE_ENTRY + *size;
    return true;
}
