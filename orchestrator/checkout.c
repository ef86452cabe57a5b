/* checkout.c - see checkout.h. */
#include "orchestrator/checkout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* Bytes: a SKU, two numbers and the names around them; a title is twice its size at most. */
enum { LINE_TEXT_MAX = 64 + 110 };

char *checkout_key(struct arena *arena, const char *user_id, const char *key)
{
    return arena_printf(arena, "%s %s", user_id, key);
}

const char *checkout_key_text(const char *stored)
{
    const char *space = strchr(stored, ' ');

    return space == NULL ? stored : space + 1;
}

bool checkout_state_of(const char *name, enum checkout_state *out)
{
    static const char *const NAMES[] = {
        [CHECKOUT_RUNNING] = "running",
        [CHECKOUT_ABORTING] = "aborting",
        [CHECKOUT_COMPLETED] = "completed",
        [CHECKOUT_FAILED] = "failed",
    };

    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(name, NAMES[i]) == 0) {
            *out = (enum checkout_state)i;
            return true;
        }
    return false;
}

static size_t lines_text_max(const struct lines *lines)
{
    size_t size = lines->count * LINE_TEXT_MAX + 3;

    for (size_t i = 0; i < lines->count; i++)
        if (lines->items[i].title != NULL)
            size += 2 * strlen(lines->items[i].title);
    return size;
}

/* A text without control characters, which is what a title is; its end. */
static char *write_escaped(char *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            *out++ = '\\';
        *out++ = *text;
    }
    return out;
}

/* What the line was sold for and as; the bytes written. */
static size_t write_sold(char *out, size_t room, const struct line *line)
{
    int used =
        snprintf(out, room, ",\"unit_price_cents\":%" PRId64 "%s", line->unit_price_cents,
                 line->title == NULL ? "" : ",\"title\":\"");

    if (line->title == NULL)
        return (size_t)used;
    char *end = write_escaped(out + used, line->title);
    *end++ = '"';
    return (size_t)(end - out);
}

char *lines_to_json(struct arena *arena, const struct lines *lines, bool prices)
{
    size_t room = lines_text_max(lines), used = 0;
    char *json = arena_alloc(arena, room);

    if (json == NULL)
        return NULL;
    json[used++] = '[';
    for (size_t i = 0; i < lines->count; i++) {
        const struct line *line = &lines->items[i];
        /* SKUs are of a set that needs no escaping: sku_valid. */
        used += (size_t)snprintf(json + used, room - used,
                                 "%s{\"sku\":\"%s\",\"quantity\":%" PRId64,
                                 i > 0 ? "," : "", line->sku, line->quantity);
        if (prices)
            used += write_sold(json + used, room - used, line);
        json[used++] = '}';
    }
    json[used++] = ']';
    assert(used < room);
    json[used] = '\0';
    return json;
}

/* lines_to_json relies on it: whatever is read can be written again. */
static bool line_valid(const struct line *line)
{
    return line->sku != NULL && sku_valid(line->sku) && line->quantity >= 1 &&
           line->unit_price_cents >= 0 &&
           (line->title == NULL || utf8_valid(line->title, TITLE_SIZE_MAX));
}

static struct err read_lines(struct arena *arena, const json_t *array, struct lines *out)
{
    size_t i;
    json_t *item;

    out->count = json_array_size(array);
    out->items = arena_alloc(arena, out->count * sizeof *out->items);
    if (out->items == NULL)
        return err_memory();
    json_array_foreach(array, i, item)
    {
        const struct line line = {
            json_string_value(json_object_get(item, "sku")),
            json_integer_value(json_object_get(item, "quantity")),
            json_integer_value(json_object_get(item, "unit_price_cents")),
            json_string_value(json_object_get(item, "title")),
        };
        if (!line_valid(&line))
            return err_make(ERR_DATA_LOSS,
                            "Line %zu of the stored lines is out of bounds.", i + 1);
        struct line *to = &out->items[i];
        *to = line;
        to->sku = arena_strdup(arena, line.sku);
        to->title = arena_strdup(arena, line.title);
        if (to->sku == NULL || (to->title == NULL && line.title != NULL))
            return err_memory();
    }
    return ERR_NONE;
}

struct err lines_from_json(struct arena *arena, const char *json, struct lines *out)
{
    json_t *array;
    struct err e = json_parse(json, strlen(json), &array);

    if (e.code == ERR_RESOURCE_EXHAUSTED)
        return e;
    if (!json_is_array(array)) {
        json_decref(array);
        return err_make(ERR_DATA_LOSS, "Stored lines are not a JSON array.");
    }
    e = read_lines(arena, array, out);
    json_decref(array);
    return e;
}

Orders__V1__Order *checkout_order(struct arena *arena, const struct checkout *c)
{
    Orders__V1__Order *order = arena_alloc(arena, sizeof *order);
    Orders__V1__OrderLine *lines = arena_alloc(arena, c->lines.count * sizeof *lines);
    Orders__V1__OrderLine **pointers =
        arena_alloc(arena, c->lines.count * sizeof *pointers);

    if (order == NULL || lines == NULL || pointers == NULL)
        return NULL;
    for (size_t i = 0; i < c->lines.count; i++) {
        orders__v1__order_line__init(&lines[i]);
        lines[i].sku = (char *)c->lines.items[i].sku;
        lines[i].quantity = c->lines.items[i].quantity;
        lines[i].unit_price_cents = c->lines.items[i].unit_price_cents;
        if (c->lines.items[i].title != NULL)
            lines[i].title = (char *)c->lines.items[i].title;
        pointers[i] = &lines[i];
    }
    orders__v1__order__init(order);
    order->order_id = (char *)c->order_id;
    order->user_id = (char *)c->user_id;
    order->status = (char *)"created";
    order->total_cents = c->total_cents;
    order->currency = (char *)c->currency;
    order->created_at_ms = c->created_at_ms;
    order->n_lines = c->lines.count;
    order->lines = pointers;
    order->cart_id = (char *)c->cart_id;
    order->reservation_id = (char *)c->order_id;
    order->charge_id = (char *)c->order_id;
    return order;
}
