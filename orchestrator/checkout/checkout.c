/* checkout.c - see checkout.h. */
#include "orchestrator/checkout/checkout.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"

/* ---- keys and states ----------------------------------------------------------------- */

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

/* ---- lines and their JSON ------------------------------------------------------------ */

/* Bytes of a SKU, two numbers and the member names; a title at most doubles in size. */
enum { LINE_TEXT_MAX = 64 + 110 };

static size_t lines_text_max(const struct lines *lines)
{
    size_t size = lines->count * LINE_TEXT_MAX + 3;

    for (size_t i = 0; i < lines->count; i++)
        if (lines->items[i].title != NULL)
            size += 2 * strlen(lines->items[i].title);
    return size;
}

/* Writes a text without control characters, such as a title; returns the end. */
static char *write_escaped(char *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            *out++ = '\\';
        *out++ = *text;
    }
    return out;
}

/* Writes the line's price and title as sold; returns the number of bytes. */
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
        /* A valid SKU needs no escaping: sku_valid. */
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

/* lines_to_json relies on these bounds: any lines read can be written again. */
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

/* ---- a row --------------------------------------------------------------------------- */

/* Numbers of the columns, counted from `first`. */
enum {
    COLUMN_ORDER_ID,
    COLUMN_KEY,
    COLUMN_USER_ID,
    COLUMN_CART_ID,
    COLUMN_METHOD_ID,
    COLUMN_FINGERPRINT,
    COLUMN_CART,
    COLUMN_EXPECTED_TOTAL,
    COLUMN_STATE,
    COLUMN_EPOCH,
    COLUMN_AGE,
    COLUMN_REASON,
    COLUMN_MESSAGE,
    COLUMN_SUBJECT,
    COLUMN_TRACEPARENT,
    COLUMN_EXPECTED_CURRENCY,
    COLUMN_MONEY,
    COLUMN_REQUEST,
    COLUMN_LINES, /* from here on the order's */
    COLUMN_TOTAL,
    COLUMN_CURRENCY,
    COLUMN_CREATED_AT,
    COLUMN_COUNT,
};
static_assert(COLUMN_COUNT == (int)CHECKOUT_COLUMN_COUNT, "as checkout.h says");

/* Each state needs some columns. */
static struct err check_state(const struct db_rows *rows, int row, int first,
                              enum checkout_state state)
{
    switch (state) {
    case CHECKOUT_RUNNING:
        return ERR_NONE;
    case CHECKOUT_ABORTING:
    case CHECKOUT_FAILED:
        return db_row_check(rows, row, first + COLUMN_REASON, "tt");
    case CHECKOUT_COMPLETED:
        return db_row_check(rows, row, first + COLUMN_LINES, "titi");
    }
    return ERR_NONE;
}

static struct err check_columns(const struct db_rows *rows, int row, int first,
                                enum checkout_state *state)
{
    struct err e = db_row_check(rows, row, first, "tttttytitiiTTTTTTT");

    if (failed(e))
        return e;
    if (!checkout_state_of(db_text(rows, row, first + COLUMN_STATE), state))
        return err_make(ERR_DATA_LOSS, "The checkout's state is unknown.");
    if (db_size(rows, row, first + COLUMN_FINGERPRINT) != FINGERPRINT_SIZE)
        return err_make(ERR_DATA_LOSS, "The checkout's fingerprint has not %d bytes.",
                        FINGERPRINT_SIZE);
    return check_state(rows, row, first, *state);
}

/* Earlier versions wrote aborting checkouts without it: then it is unknown. */
static enum err_money read_money(const struct db_rows *rows, int row, int first,
                                 enum checkout_state state)
{
    enum err_money money = err_money_of(db_text(rows, row, first + COLUMN_MONEY));

    return state == CHECKOUT_ABORTING && money == MONEY_UNKNOWN ? MONEY_REFUND_PENDING
                                                                : money;
}

static struct err read_failure(const struct db_rows *rows, int row, int first,
                               enum checkout_state state, struct arena *arena,
                               struct err *out)
{
    const char *reason = db_text(rows, row, first + COLUMN_REASON);
    const char *message = db_text(rows, row, first + COLUMN_MESSAGE);
    const char *subject = db_text(rows, row, first + COLUMN_SUBJECT);

    if (reason == NULL)
        return ERR_NONE;
    *out = err_make(err_of_reason(reason), "%s", message != NULL ? message : "");
    if (!failed(*out))
        return err_make(ERR_DATA_LOSS, "The checkout failed for the reason \"ok\".");
    out->money = read_money(rows, row, first, state);
    out->subject = arena_strdup(arena, subject);
    return out->subject == NULL && subject != NULL ? err_memory() : ERR_NONE;
}

/* Every checkout and every order has at least one line. */
static struct err read_both_lines(const struct db_rows *rows, int row, int first,
                                  struct arena *arena, struct checkout *out)
{
    const char *lines = db_text(rows, row, first + COLUMN_LINES);
    struct err e =
        lines_from_json(arena, db_text(rows, row, first + COLUMN_CART), &out->cart);

    if (!failed(e) && lines != NULL)
        e = lines_from_json(arena, lines, &out->lines);
    if (!failed(e) && (out->cart.count == 0 || (lines != NULL && out->lines.count == 0)))
        e = err_make(ERR_DATA_LOSS, "The checkout or its order has no lines.");
    return e;
}

/* A copy in the arena; NULL stays NULL.  Sets `*short_of_memory` when there is no
 * memory. */
static const char *copy(const struct db_rows *rows, int row, int column,
                        struct arena *arena, bool *short_of_memory)
{
    const char *text = db_text(rows, row, column);
    const char *copied = arena_strdup(arena, text);

    *short_of_memory |= copied == NULL && text != NULL;
    return copied;
}

static struct err read_columns(const struct db_rows *rows, int row, int first,
                               struct arena *arena, struct checkout *out)
{
    bool full = false;

    *out = (struct checkout){
        .order_id = copy(rows, row, first + COLUMN_ORDER_ID, arena, &full),
        .idempotency_key = copy(rows, row, first + COLUMN_KEY, arena, &full),
        .user_id = copy(rows, row, first + COLUMN_USER_ID, arena, &full),
        .cart_id = copy(rows, row, first + COLUMN_CART_ID, arena, &full),
        .payment_method_id = copy(rows, row, first + COLUMN_METHOD_ID, arena, &full),
        .fingerprint = arena_copy(arena, db_text(rows, row, first + COLUMN_FINGERPRINT),
                                  FINGERPRINT_SIZE),
        .expected_total_cents = db_number(rows, row, first + COLUMN_EXPECTED_TOTAL),
        .expected_currency =
            copy(rows, row, first + COLUMN_EXPECTED_CURRENCY, arena, &full),
        .traceparent = copy(rows, row, first + COLUMN_TRACEPARENT, arena, &full),
        .request_id = copy(rows, row, first + COLUMN_REQUEST, arena, &full),
        .epoch = db_number(rows, row, first + COLUMN_EPOCH),
        .age_ms = db_number(rows, row, first + COLUMN_AGE),
        .total_cents = db_number(rows, row, first + COLUMN_TOTAL),
        .currency = copy(rows, row, first + COLUMN_CURRENCY, arena, &full),
        .created_at_ms = db_number(rows, row, first + COLUMN_CREATED_AT),
    };
    return full || out->fingerprint == NULL ? err_memory() : ERR_NONE;
}

static struct err read_whole(const struct db_rows *rows, int row, int first,
                             struct arena *arena, struct checkout *out)
{
    enum checkout_state state = CHECKOUT_RUNNING;
    struct err e = check_columns(rows, row, first, &state);

    if (!failed(e))
        e = read_columns(rows, row, first, arena, out);
    if (!failed(e))
        e = read_failure(rows, row, first, state, arena, &out->failure);
    if (!failed(e))
        e = read_both_lines(rows, row, first, arena, out);
    if (!failed(e))
        out->state = state;
    return e;
}

static void log_damaged(const struct checkout *checkout, const struct err *e)
{
    struct log_record line;

    if (!log_begin(&line, LOG_ERROR, "checkout_damaged"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair(&line, "error", e->message);
    log_end(&line);
}

struct err checkout_read(const struct db_rows *rows, int row, int first,
                         struct arena *arena, struct checkout *out)
{
    struct err e = read_whole(rows, row, first, arena, out);

    if (failed(e)) {
        out->order_id = db_text(rows, row, first + COLUMN_ORDER_ID);
        out->request_id = db_text(rows, row, first + COLUMN_REQUEST);
    }
    if (e.code == ERR_DATA_LOSS)
        log_damaged(out, &e);
    return e;
}

/* ---- its order as a message ---------------------------------------------------------- */

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
