/*
 * schema_test.c - types made at run time do what compiled-in ones do, and no set of
 * descriptors, however broken, does harm.
 *
 * The sets: the contract's own, compared with the C that protoc-c generated from the same
 * files, and every.proto (EVERY_SET), which has the kinds of field the contract lacks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "cli/files.h"
#include "cli/schema/descriptor.pb-c.h"
#include "cli/schema/json.h"
#include "cli/schema/schema.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"
#include "proto/rpc.pb-c.h"

extern const unsigned char rpc_descriptors[];
extern const size_t rpc_descriptors_size;

enum { ARENA_MAX = 64 << 20 };

static struct arena *arena;
static const struct schema *contract, *every;
static char *every_bytes;
static size_t every_size;

static int set_up(void **state)
{
    (void)state;
    arena = arena_new(ARENA_MAX);
    assert_false(
        failed(schema_read(rpc_descriptors, rpc_descriptors_size, arena, &contract)));
    assert_false(failed(file_read(EVERY_SET, 1 << 20, arena, &every_bytes, &every_size)));
    assert_false(failed(schema_read(every_bytes, every_size, arena, &every)));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static const ProtobufCMessageDescriptor *type_of(const struct schema *schema,
                                                 const char *name)
{
    const struct symbol *symbol = schema_get(schema, name);

    assert_non_null(symbol);
    assert_int_equal(symbol->kind, SYMBOL_MESSAGE);
    return symbol->of.message;
}

static ProtobufCMessage *parse(const ProtobufCMessageDescriptor *type, const char *json)
{
    ProtobufCMessage *message = NULL;
    struct err e = message_from_json(json, strlen(json), type, arena, &message);

    if (failed(e))
        fail_msg("%s: %s", json, e.message);
    return message;
}

static char *text_of(const ProtobufCMessage *message, bool defaults)
{
    json_t *json = NULL;
    struct err e = message_to_json(
        message, (struct json_style){.original_names = true, .defaults = defaults},
        &json);

    if (failed(e))
        fail_msg("%s", e.message);
    char *text = json_dumps(json, JSON_COMPACT);
    char *kept = arena_strdup(arena, text);
    json_decref(json);
    free(text);
    return kept;
}

static ProtobufCBinaryData packed(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    ProtobufCBinaryData out = {size, arena_alloc(arena, size + 1)};

    assert_int_equal(protobuf_c_message_pack(message, out.data), size);
    return out;
}

/* ---- as compiled in ---------------------------------------------------------------- */

static const struct {
    const ProtobufCMessageDescriptor *type;
    const char *json;
} SAMPLES[] = {
    {&orders__v1__place_request__descriptor,
     "{\"user_id\":\"u\",\"idempotency_key\":\"k\",\"fingerprint\":\"aGVsbG8=\","
     "\"expected_total\":{\"cents\":\"12\"}}"},
    {&orders__v1__get_checkout_reply__descriptor,
     "{\"checkout\":{\"order_id\":\"o\",\"state\":\"ABORTING\",\"lease_left_ms\":\"-5\","
     "\"needs_attention\":true,\"created_events\":-1},\"incidents\":[{\"kind\":\"a\"},{}]"
     ","
     "\"events\":[{\"sequence\":\"9223372036854775807\"}]}"},
    {&inventory__v1__reserve_request__descriptor,
     "{\"reservation_id\":\"r\",\"lines\":[{\"sku\":\"a\",\"quantity\":\"1\"},"
     "{\"sku\":\"b\",\"quantity\":\"2\"}]}"},
    {&payment__v1__list_charges_reply__descriptor,
     "{\"charges\":[{\"charge_id\":\"c\",\"state\":\"CAPTURED\"}],\"now_ms\":\"7\"}"},
    {&rpc__v1__response__descriptor,
     "{\"status\":4294967295,\"effect\":\"EFFECT_UNKNOWN\",\"replayed\":true,"
     "\"payload\":\"AAECAw==\"}"},
};

static void a_message_has_the_same_bytes_and_json_as_one_compiled_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SAMPLES / sizeof *SAMPLES; i++) {
        const ProtobufCMessageDescriptor *made = type_of(contract, SAMPLES[i].type->name);
        ProtobufCBinaryData a = packed(parse(SAMPLES[i].type, SAMPLES[i].json));
        ProtobufCBinaryData b = packed(parse(made, SAMPLES[i].json));
        assert_int_equal(a.len, b.len);
        assert_memory_equal(a.data, b.data, a.len);
        const ProtobufCMessage *back =
            protobuf_c_message_unpack(made, arena_protobuf(arena), a.len, a.data);
        assert_non_null(back);
        assert_string_equal(text_of(back, false), SAMPLES[i].json);
        const ProtobufCMessage *compiled = protobuf_c_message_unpack(
            SAMPLES[i].type, arena_protobuf(arena), a.len, a.data);
        assert_string_equal(text_of(back, true), text_of(compiled, true));
    }
}

static void every_service_has_its_methods_and_types(void **state)
{
    static const ProtobufCServiceDescriptor *const compiled[] = {
        &orders__v1__orders__descriptor, &inventory__v1__inventory__descriptor,
        &payment__v1__payment__descriptor, &rpc__v1__health__descriptor};

    (void)state;
    for (size_t i = 0; i < sizeof compiled / sizeof *compiled; i++) {
        const struct symbol *symbol = schema_get(contract, compiled[i]->name);
        assert_non_null(symbol);
        const ProtobufCServiceDescriptor *made = symbol->of.service;
        assert_int_equal(made->n_methods, compiled[i]->n_methods);
        for (unsigned m = 0; m < made->n_methods; m++) {
            assert_string_equal(made->methods[m].name, compiled[i]->methods[m].name);
            assert_string_equal(made->methods[m].input->name,
                                compiled[i]->methods[m].input->name);
            assert_string_equal(made->methods[m].output->name,
                                compiled[i]->methods[m].output->name);
        }
    }
}

/* ---- every kind of field -------------------------------------------------------------
 */

static const char EVERY_JSON[] =
    "{\"a_double\":1.5,\"a_float\":0.25,\"an_int32\":-1,\"an_int64\":\"-2\","
    "\"a_uint32\":3,\"a_uint64\":\"18446744073709551615\",\"a_sint32\":-5,"
    "\"a_sint64\":\"-6\",\"a_fixed32\":7,\"a_fixed64\":\"8\",\"a_sfixed32\":-9,"
    "\"a_sfixed64\":\"-10\",\"a_bool\":true,\"a_string\":\"t\",\"a_bytes\":\"AA==\","
    "\"a_colour\":\"DARK\",\"an_inner\":{\"name\":\"n\",\"more\":[{\"depth\":1},{}]},"
    "\"numbers\":[1,0,-1],\"longs\":[\"1\"],\"flags\":[true,false],\"texts\":[\"\",\"x\"]"
    ","
    "\"blobs\":[\"\",\"/w==\"],\"colours\":[\"RED\",77],\"inners\":[{},{\"name\":\"m\"}],"
    "\"doubles\":[0.5],\"middle\":{\"name\":\"o\"},\"many\":0,\"maybe_number\":0,"
    "\"maybe_text\":\"\",\"maybe_colour\":\"NONE\",\"maybe_flag\":false,"
    "\"unpacked\":[1,2],\"snake_case_name\":\"s\"}";

static void every_kind_of_field_survives_json_and_packing(void **state)
{
    const ProtobufCMessageDescriptor *type = type_of(every, "test.v1.Every");

    (void)state;
    ProtobufCBinaryData bytes = packed(parse(type, EVERY_JSON));
    const ProtobufCMessage *back =
        protobuf_c_message_unpack(type, arena_protobuf(arena), bytes.len, bytes.data);
    assert_non_null(back);
    assert_string_equal(text_of(back, false), EVERY_JSON);
    assert_string_equal(text_of(parse(type, "{}"), false), "{}");
    assert_int_equal(packed(parse(type, "{}")).len, 0);
}

static void names_of_one_number_are_all_read_and_the_first_is_written(void **state)
{
    static const char all[] =
        "{\"sizes\":[\"LARGE\",\"TINY\",\"HUGE\",\"MEDIUM\",\"SMALL\"]}";

    (void)state;
    assert_string_equal(text_of(parse(type_of(every, "test.v1.Every"), all), false),
                        "{\"sizes\":[\"BIG\",\"SMALL\",\"BIG\",\"MEDIUM\",\"SMALL\"]}");
}

static void members_of_a_oneof_share_one_place_and_exclude_each_other(void **state)
{
    static const char *const members[] = {"{\"left\":\"\"}",
                                          "{\"right\":\"0\"}",
                                          "{\"middle\":{}}",
                                          "{\"raw\":\"AQI=\"}",
                                          "{\"shade\":\"BLUE\"}",
                                          "{\"yes\":false}",
                                          "{\"raw\":\"AQI=\",\"yes\":true}"};
    const ProtobufCMessageDescriptor *type = type_of(every, "test.v1.Every");
    ProtobufCMessage *message = NULL;
    static const char both[] = "{\"left\":\"a\",\"right\":1}";

    (void)state;
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        ProtobufCBinaryData bytes = packed(parse(type, members[i]));
        assert_true(bytes.len > 0);
        assert_string_equal(text_of(protobuf_c_message_unpack(type, arena_protobuf(arena),
                                                              bytes.len, bytes.data),
                                    false),
                            members[i]);
    }
    assert_int_equal(message_from_json(both, strlen(both), type, arena, &message).code,
                     ERR_INVALID_ARGUMENT);
}

static void a_template_is_accepted_as_a_message(void **state)
{
    const struct schema *schemas[] = {contract, every};

    (void)state;
    for (int s = 0; s < 2; s++)
        for (size_t i = 0; i < schemas[s]->count; i++) {
            const struct symbol *symbol = schemas[s]->symbols[i];
            if (symbol->kind != SYMBOL_MESSAGE)
                continue;
            json_t *json = template_of(symbol->of.message);
            char *text = json_dumps(json, JSON_COMPACT);
            parse(symbol->of.message, text);
            /* Every field is there but those of a oneof and those within themselves. */
            if (strcmp(symbol->name, "orders.v1.PlaceRequest") == 0)
                assert_int_equal(json_object_size(json), 8);
            free(text);
            json_decref(json);
        }
}

/* ---- names and comments ---------------------------------------------------------------
 */

static void comments_come_with_their_symbols(void **state)
{
    static const char *const expected[][2] = {
        {"test.v1.Echo", "Has one method."},
        {"test.v1.Echo/Say", "Says it again."},
        {"test.v1.Every", "A message of\ntwo lines."},
        {"test.v1.Every.a_double", "beside it"},
        {"test.v1.Every.Colour.RED", "like a rose"},
        {"test.v1.Every.Inner.Inner2.depth", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct symbol *symbol = schema_get(every, expected[i][0]);
        assert_non_null(symbol);
        assert_string_equal(symbol->comment, expected[i][1]);
    }
}

static void a_name_is_found_by_any_end_that_is_unambiguous(void **state)
{
    const struct symbol *found;

    (void)state;
    assert_false(failed(schema_find(every, "Inner2", ~0U, &found)));
    assert_string_equal(found->name, "test.v1.Every.Inner.Inner2");
    assert_false(failed(schema_find(every, "Every.Inner", ~0U, &found)));
    assert_false(failed(schema_find(every, "Inner.name", ~0U, &found)));
    assert_int_equal(found->kind, SYMBOL_FIELD);
    /* Parts are not found by their bare name: there is a name in every other message. */
    assert_true(failed(schema_find(every, "name", ~0U, &found)));
    struct err e = schema_find(contract, "Line", ~0U, &found);
    assert_false(failed(e));
    e = schema_find(contract, "v1", ~0U, &found);
    assert_int_equal(e.code, ERR_INVALID_ARGUMENT);
}

static void types_that_contain_themselves_may_not_be_unpacked(void **state)
{
    (void)state;
    assert_false(schema_may_unpack(every, type_of(every, "test.v1.Chain")));
    assert_false(schema_may_unpack(every, type_of(every, "test.v1.Knot")));
    assert_true(schema_may_unpack(every, type_of(every, "test.v1.Every")));
    for (size_t i = 0; i < contract->count; i++)
        if (contract->symbols[i]->kind == SYMBOL_MESSAGE)
            assert_true(schema_may_unpack(contract, contract->symbols[i]->of.message));
}

/* ---- broken sets
 * ----------------------------------------------------------------------- */

static void flipped_bytes_and_cut_sets_do_no_harm(void **state)
{
    char *copy = arena_copy(arena, every_bytes, every_size);
    int refused = 0, taken = 0;

    (void)state;
    for (size_t i = 0; i < every_size; i += 3) {
        struct arena *own = arena_new(8 << 20);
        const struct schema *schema = NULL;
        copy[i] = (char)(copy[i] ^ (1 << (i % 8)));
        struct err e = schema_read(copy, every_size, own, &schema);
        failed(e) ? refused++ : taken++;
        for (size_t k = 0; schema != NULL && k < schema->count; k++)
            if (schema->symbols[k]->kind == SYMBOL_MESSAGE)
                json_decref(template_of(schema->symbols[k]->of.message));
        arena_free(own);
        copy[i] = every_bytes[i];
        own = arena_new(8 << 20);
        (void)!failed(schema_read(copy, i, own, &schema));
        arena_free(own);
    }
    assert_true(refused > 100 && taken > 100);
}

/* A set of one file with one message M of these fields. */
static struct err read_fields(Descriptor__FieldDescriptorProto *fields, size_t count)
{
    Descriptor__FieldDescriptorProto *pointers[4];
    Descriptor__DescriptorProto message = DESCRIPTOR__DESCRIPTOR_PROTO__INIT;
    Descriptor__DescriptorProto *messages[] = {&message};
    Descriptor__FileDescriptorProto file = DESCRIPTOR__FILE_DESCRIPTOR_PROTO__INIT;
    Descriptor__FileDescriptorProto *files[] = {&file};
    Descriptor__FileDescriptorSet set = DESCRIPTOR__FILE_DESCRIPTOR_SET__INIT;
    const struct schema *schema;

    for (size_t i = 0; i < count; i++)
        pointers[i] = &fields[i];
    message.name = (char[]){"M"};
    message.field = pointers;
    message.n_field = count;
    file.message_type = messages;
    file.n_message_type = 1;
    set.file = files;
    set.n_file = 1;
    ProtobufCBinaryData bytes = packed(&set.base);
    return schema_read(bytes.data, bytes.len, arena, &schema);
}

static Descriptor__FieldDescriptorProto field(const char *name, int number, int label,
                                              int type)
{
    Descriptor__FieldDescriptorProto made = DESCRIPTOR__FIELD_DESCRIPTOR_PROTO__INIT;

    made.name = (char *)(uintptr_t)name;
    made.has_number = made.has_label = made.has_type = true;
    made.number = number;
    made.label = label;
    made.type = type;
    return made;
}

static void what_protobuf_c_could_not_handle_is_refused(void **state)
{
    static const struct {
        const char *name;
        int number, label, type;
    } bad[] = {
        {"a", 0, 1, 5},   {"a", -1, 1, 5}, {"a", 1 << 29, 1, 5}, {"a", 1, 0, 5},
        {"a", 1, 4, 5},   {"a", 1, 1, 0},  {"a", 1, 1, 10},      {"a", 1, 1, 19},
        {"a", 1, 1, 11},  {"a", 1, 1, 14}, {"", 1, 1, 5},        {"a.b", 1, 1, 5},
        {"a\n", 1, 1, 5},
    };
    Descriptor__FieldDescriptorProto fields[2] = {field("a", 1, 1, 5),
                                                  field("b", 2, 1, 9)};

    (void)state;
    assert_false(failed(read_fields(fields, 2)));
    fields[1].number = 1;
    assert_int_equal(read_fields(fields, 2).code, ERR_INVALID_ARGUMENT);
    fields[1] = field("a", 2, 1, 9);
    assert_int_equal(read_fields(fields, 2).code, ERR_INVALID_ARGUMENT);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fields[0] = field(bad[i].name, bad[i].number, bad[i].label, bad[i].type);
        assert_int_equal(read_fields(fields, 1).code, ERR_INVALID_ARGUMENT);
    }
    fields[0] = field("a", 1, 1, 5);
    fields[0].has_oneof_index = true;
    assert_int_equal(read_fields(fields, 1).code, ERR_INVALID_ARGUMENT);
    fields[0] = field("a", 1, 1, 11);
    fields[0].type_name = (char[]){".Nowhere"};
    assert_int_equal(read_fields(fields, 1).code, ERR_INVALID_ARGUMENT);
    fields[0].type_name = (char[]){".M"};
    assert_false(failed(read_fields(fields, 1)));
}

static void comments_can_do_nothing_to_a_terminal(void **state)
{
    Descriptor__SourceCodeInfo__Location location =
        DESCRIPTOR__SOURCE_CODE_INFO__LOCATION__INIT;
    Descriptor__SourceCodeInfo__Location *locations[] = {&location};
    Descriptor__SourceCodeInfo info = DESCRIPTOR__SOURCE_CODE_INFO__INIT;
    Descriptor__DescriptorProto message = DESCRIPTOR__DESCRIPTOR_PROTO__INIT;
    Descriptor__DescriptorProto *messages[] = {&message};
    Descriptor__FileDescriptorProto file = DESCRIPTOR__FILE_DESCRIPTOR_PROTO__INIT;
    Descriptor__FileDescriptorProto *files[] = {&file};
    Descriptor__FileDescriptorSet set = DESCRIPTOR__FILE_DESCRIPTOR_SET__INIT;
    const struct schema *schema;
    int32_t path[] = {4, 0};

    (void)state;
    location.path = path;
    location.n_path = 2;
    location.leading_comments = (char[]){" red \033[31m\n bad \xff\n"};
    location.trailing_comments = (char[]){"fin\xc3\xa9\r"};
    info.location = locations;
    info.n_location = 1;
    message.name = (char[]){"M"};
    file.source_code_info = &info;
    file.message_type = messages;
    file.n_message_type = 1;
    set.file = files;
    set.n_file = 1;
    ProtobufCBinaryData bytes = packed(&set.base);
    assert_false(failed(schema_read(bytes.data, bytes.len, arena, &schema)));
    assert_string_equal(schema_get(schema, "M")->comment,
                        "red ?[31m\n?????\nfin\xc3\xa9?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_has_the_same_bytes_and_json_as_one_compiled_in),
        cmocka_unit_test(every_service_has_its_methods_and_types),
        cmocka_unit_test(every_kind_of_field_survives_json_and_packing),
        cmocka_unit_test(names_of_one_number_are_all_read_and_the_first_is_written),
        cmocka_unit_test(members_of_a_oneof_share_one_place_and_exclude_each_other),
        cmocka_unit_test(a_template_is_accepted_as_a_message),
        cmocka_unit_test(comments_come_with_their_symbols),
        cmocka_unit_test(a_name_is_found_by_any_end_that_is_unambiguous),
        cmocka_unit_test(types_that_contain_themselves_may_not_be_unpacked),
        cmocka_unit_test(flipped_bytes_and_cut_sets_do_no_harm),
        cmocka_unit_test(comments_can_do_nothing_to_a_terminal),
        cmocka_unit_test(what_protobuf_c_could_not_handle_is_refused),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
