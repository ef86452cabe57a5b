/*
 * json.c - messages to JSON and back, of every type that a method takes or gives.
 *
 *   input:  type (a byte) | style (a byte) | message (message.h)
 *
 * What can be written as JSON is read again as the same message, byte for byte; of what
 * JSON cannot tell (unknown fields, one not-a-number from another), the same JSON.
 */
#include "cli/schema/schema.h"
#include "fuzz/message.h"
#include "proto/events.pb-c.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"
#include "proto/rpc.pb-c.h"

extern const unsigned char every_set[];
extern const size_t every_set_size;

static struct arena *every_arena;
static const ProtobufCMessageDescriptor *every; /* made at run time, in it */

static const ProtobufCMessageDescriptor *const TYPES[] = {
    NULL, /* every */
    &orders__v1__place_request__descriptor,
    &orders__v1__place_reply__descriptor,
    &orders__v1__put_cart_request__descriptor,
    &orders__v1__list_orders_reply__descriptor,
    &orders__v1__list_checkouts_reply__descriptor,
    &inventory__v1__reserve_request__descriptor,
    &inventory__v1__adjust_stock_request__descriptor,
    &inventory__v1__list_products_reply__descriptor,
    &payment__v1__charge_request__descriptor,
    &payment__v1__list_charges_reply__descriptor,
    &events__v1__read_reply__descriptor,
    &rpc__v1__request__descriptor,
    &rpc__v1__response__descriptor,
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const struct schema *schema;

    (void)argc, (void)argv;
    every_arena = arena_new(MESSAGE_ARENA_MAX);
    struct err e = schema_read(every_set, every_set_size, every_arena, &schema);
    assert(!failed(e));
    every = schema_get(schema, "test.v1.Every")->of.message;
    return 0;
}

/* The message as it goes over the wire. */
static uint8_t *pack(const ProtobufCMessage *message, struct arena *arena, size_t *size)
{
    *size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = message_memory(arena, *size + 1);
    protobuf_c_message_pack(message, bytes);
    return bytes;
}

/* JSON of a message, and the message read from it; NULL when it cannot be written, or has a
 * -0.0 that would not be kept. */
static ProtobufCMessage *write_and_read(const ProtobufCMessage *message,
                                        struct json_style style, struct arena *arena,
                                        json_t **json)
{
    ProtobufCMessage *read = NULL;
    struct err e = message_to_json(message, style, json);

    if (failed(e)) {
        assert_refusal(e);
        return NULL;
    }
    char *text = json_dumps(*json, JSON_COMPACT);
    assert(text != NULL);
    e = message_from_json(text, strlen(text), message->descriptor, arena, &read);
    assert(!failed(e) || strstr(e.message, "-0.0 would become 0") != NULL);
    free(text);
    return failed(e) ? NULL : read;
}

/* `exact`: the message has nothing that JSON cannot tell, such as unknown fields. */
static void check_round_trip(const ProtobufCMessage *message, struct json_style style,
                             bool exact, struct arena *arena)
{
    json_t *json = NULL, *json2 = NULL;
    ProtobufCMessage *read = write_and_read(message, style, arena, &json);
    size_t size, size2;

    if (read == NULL) {
        json_decref(json);
        return;
    }
    ProtobufCMessage *again = write_and_read(read, style, arena, &json2);
    assert(again != NULL && json_equal(json, json2));
    const uint8_t *bytes = pack(read, arena, &size), *bytes2 = pack(again, arena, &size2);
    assert(size == size2 && memcmp(bytes, bytes2, size) == 0);
    bytes2 = pack(message, arena, &size2);
    assert(!exact || (size == size2 && memcmp(bytes, bytes2, size) == 0));
    json_decref(json);
    json_decref(json2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    const ProtobufCMessageDescriptor *type =
        TYPES[input_byte(&in) % (sizeof TYPES / sizeof TYPES[0])];
    uint8_t bits = input_byte(&in);
    struct json_style style = {bits & 1, (bits & 2) != 0, (bits & 4) != 0};
    bool exact = type != NULL && in.left > 0 && in.at[0] != 'w';
    struct arena *arena = arena_new(MESSAGE_ARENA_MAX);
    ProtobufCMessage *message = message_of(&in, arena, type != NULL ? type : every);

    if (message != NULL)
        check_round_trip(message, style, exact, arena);
    arena_free(arena);
    return 0;
}
