/* checkout_row.c - see checkout_row.h. */
#include "orchestrator/checkout_row.h"

#include "base/log.h"

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
static_assert(COLUMN_COUNT == (int)CHECKOUT_COLUMN_COUNT, "the header says how many");

/* ---- is it whole? -------------------------------------------------------------------- */

/* A state says what must stand beside it. */
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
        return err_make(ERR_DATA_LOSS, "The checkout's state is none that there is.");
    if (db_size(rows, row, first + COLUMN_FINGERPRINT) != FINGERPRINT_SIZE)
        return err_make(ERR_DATA_LOSS, "The checkout's fingerprint has not %d bytes.",
                        FINGERPRINT_SIZE);
    return check_state(rows, row, first, *state);
}

/* ---- its parts ----------------------------------------------------------------------- */

/* Of one that an earlier version of this program left aborting nothing is known. */
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

/* Neither a checkout nor an order is ever without lines. */
static struct err read_lines(const struct db_rows *rows, int row, int first,
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

/* A copy in the arena; `*short_of_memory` is left alone when there was nothing to copy. */
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

/* ---- all of it ----------------------------------------------------------------------- */

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
        e = read_lines(rows, row, first, arena, out);
    if (!failed(e))
        out->state = state;
    return e;
}

static void tell_damaged(const struct checkout *checkout, const struct err *e)
{
    struct log_record line;

    if (!log_begin(&line, LOG_ERROR, "checkout_damaged"))
        return;
    log_subject(&line, checkout->request_id, checkout->order_id);
    log_pair(&line, "error", e->message);
    log_end(&line);
}

struct err checkout_row_read(const struct db_rows *rows, int row, int first,
                             struct arena *arena, struct checkout *out)
{
    struct err e = read_whole(rows, row, first, arena, out);

    if (failed(e)) {
        out->order_id = db_text(rows, row, first + COLUMN_ORDER_ID);
        out->request_id = db_text(rows, row, first + COLUMN_REQUEST);
    }
    if (e.code == ERR_DATA_LOSS)
        tell_damaged(out, &e);
    return e;
}
