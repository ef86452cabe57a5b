/*
 * body.c - JSON bodies as routes read them, and JSON as it is answered.
 *
 *   input:  Idempotency-Key, newline | query, newline | body
 *
 * What was taken from a body is within the bounds asked for; a string of it that is
 * written into an answer is read from there as it was.
 */
#include "gateway/api/body.h"
#include "base/contract/ids.h"
#include "base/text.h"
#include "fuzz/fuzz.h"
#include "gateway/api/idempotency.h"
#include "gateway/http/request.h"

enum { ARENA_MAX = 1 << 20 };

/* ---- strings, there and back ------------------------------------------------------------ */

static void check_string(struct arena *arena, const json_t *string)
{
    struct text text = text_start(arena, 16);
    const char *value = json_string_value(string);
    json_t *again;

    text_string_of(&text, value, json_string_length(string));
    assert(!text.broken);
    again = json_loadb(text.bytes, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert(json_equal(string, again));
    json_decref(again);
}

/* Bytes that are no UTF-8, too: it is JSON whatever they are. */
static void check_bytes(struct arena *arena, const char *bytes, size_t size)
{
    struct text text = text_start(arena, 0);
    json_t *json;

    text_string_of(&text, bytes, size);
    if (text.broken)
        return;
    json = json_loadb(text.bytes, text.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    assert(json_is_string(json));
    json_decref(json);
}

/* Years before 1000, which no answer has, are shorter. */
static void check_time(struct arena *arena, int64_t unix_ms)
{
    struct text text = text_start(arena, 32);
    json_t *json;

    text_time(&text, unix_ms);
    if (text.broken)
        return;
    json = json_loadb(text.bytes, text.size, JSON_DECODE_ANY, NULL);
    assert(json_is_string(json));
    assert(unix_ms < 0 || json_string_length(json) >= strlen("1970-01-01T00:00:00.000Z"));
    json_decref(json);
}

/* ---- a body ------------------------------------------------------------------------------ */

static struct err read_line(struct arena *arena, const json_t *line)
{
    static const char *const NAMES[] = {"sku", "quantity", NULL};
    const char *sku;
    int64_t quantity = 0;
    struct err e = body_names(line, "lines[0]", NAMES);

    if (!failed(e))
        e = body_text(line, "sku", true, &sku);
    if (!failed(e)) {
        assert(sku != NULL);
        check_string(arena, json_object_get(line, "sku"));
        e = body_integer(line, "quantity", 1, QUANTITY_MAX, NULL, &quantity);
    }
    assert(failed(e) || (quantity >= 1 && quantity <= QUANTITY_MAX));
    return e;
}

static struct err read_body(struct arena *arena, const json_t *json)
{
    static const char *const NAMES[] = {"lines", "cart_id", "expected_total_cents",
                                        "idempotency_key", NULL};
    const json_t *lines = NULL;
    const char *cart_id = NULL;
    int64_t total = 0;
    bool has_total;
    struct err e = body_names(json, "The body", NAMES);

    if (!failed(e))
        e = body_text(json, "cart_id", false, &cart_id);
    if (!failed(e))
        e = body_integer(json, "expected_total_cents", 0, INT64_MAX, &has_total, &total);
    assert(failed(e) || total >= 0);
    check_time(arena, total);
    check_time(arena, -total);
    if (!failed(e))
        e = body_array(json, "lines", LINES_MAX, &lines);
    for (size_t i = 0; !failed(e) && i < json_array_size(lines); i++)
        e = read_line(arena, json_array_get(lines, i));
    return e;
}

static void read_key(struct arena *arena, const char *header, const json_t *json)
{
    const char *field = json_string_value(json_object_get(json, "idempotency_key"));
    const char *key = NULL;
    struct err e = idempotency_key(arena, *header != '\0' ? header : NULL, field, &key);

    if (failed(e))
        assert_refusal(e);
    else
        assert(visible_ascii(key, IDEMPOTENCY_KEY_MIN, IDEMPOTENCY_KEY_MAX));
}

static void read_query(struct arena *arena, const char *query)
{
    static const char *const NAMES[] = {"limit", "cursor", NULL};
    struct request request = {.arena = arena, .query = query};
    const char *values[2];
    struct err e = request_query(&request, NAMES, values);

    if (failed(e))
        assert_refusal(e);
    for (int i = 0; !failed(e) && i < 2; i++)
        assert(values[i] == NULL ||
               (values[i][0] != '\0' && utf8_valid(values[i], strlen(values[i]))));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct arena *arena = arena_new(ARENA_MAX);
    char *header = input_text(&in, '\n'), *query = input_text(&in, '\n');
    size_t length;
    char *bytes = (char *)input_rest(&in, &length);
    json_t *json;
    struct err e = body_parse(bytes, length, &json);

    read_query(arena, query);
    read_key(arena, header, json);
    check_bytes(arena, bytes, length);
    if (!failed(e))
        e = read_body(arena, json);
    if (failed(e))
        assert_refusal(e);
    json_decref(json);
    free(bytes);
    free(query);
    free(header);
    arena_free(arena);
    return 0;
}
