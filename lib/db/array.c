/* array.c - see array.h. */
#include "db/array.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "db/conn.h"

static void add(struct buffer *buffer, const void *bytes, size_t size)
{
    if (buffer->failed)
        return;
    if (buffer->room - buffer->size < size) {
        size_t room = (buffer->room + size) * 2;
        char *grown = realloc(buffer->bytes, room);
        if (grown == NULL) {
            buffer->failed = true;
            return;
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

static void add_int32(struct buffer *buffer, int32_t number)
{
    uint32_t wire = htonl((uint32_t)number);

    add(buffer, &wire, sizeof wire);
}

void array_begin(struct buffer *buffer, char type, size_t length)
{
    add_int32(buffer, length > 0 ? 1 : 0);
    add_int32(buffer, 1);
    add_int32(buffer, (int32_t)conn_oid(type, false));
    if (length == 0)
        return;
    add_int32(buffer, (int32_t)length);
    add_int32(buffer, 1);
}

void array_add(struct buffer *buffer, char type, const struct db_value *value)
{
    uint64_t number = htobe64((uint64_t)value->number);
    char truth = value->number != 0;

    switch (type) {
    case 'i':
        add_int32(buffer, sizeof number);
        add(buffer, &number, sizeof number);
        return;
    case 'b':
        add_int32(buffer, 1);
        add(buffer, &truth, 1);
        return;
    default:
        break;
    }
    if (value->text == NULL) {
        add_int32(buffer, -1);
        return;
    }
    size_t size = type == 't' ? strlen(value->text) : value->size;
    add_int32(buffer, (int32_t)size);
    add(buffer, value->text, size);
}
