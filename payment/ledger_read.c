/* ledger_read.c - payment's read-only queries; run by readers, never by the writer. */
#include <string.h>

#include "payment/ledger.h"

/* A query under way: in the request's arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    const char *what; /* the id asked for */
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static void start(struct db *db, const struct request_context *ctx, struct db_query query,
                  const char *what)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading = (struct reading){query, *ctx, what};
    reading->query.deadline_ms = ctx->deadline_ms;
    reading->query.cancel = ctx->cancel;
    reading->query.request = ctx->request;
    reading->query.order = ctx->order;
    reading->query.arg = reading;
    db_read(db, &reading->query);
}

/* ---- one charge --------------------------------------------------------------------- */

Payment__V1__ChargeState ledger_state(const char *name)
{
    static const struct {
        const char *name;
        Payment__V1__ChargeState state;
    } STATES[] = {
        {"intent", PAYMENT__V1__CHARGE_STATE__INTENT},
        {"captured", PAYMENT__V1__CHARGE_STATE__CAPTURED},
        {"declined", PAYMENT__V1__CHARGE_STATE__DECLINED},
        {"refunding", PAYMENT__V1__CHARGE_STATE__REFUNDING},
        {"refunded", PAYMENT__V1__CHARGE_STATE__REFUNDED},
    };

    for (size_t i = 0; i < sizeof STATES / sizeof *STATES; i++)
        if (strcmp(name, STATES[i].name) == 0)
            return STATES[i].state;
    return PAYMENT__V1__CHARGE_STATE__CHARGE_UNSPECIFIED;
}

static char *text_or_empty(const struct db_rows *rows, int row, int column)
{
    const char *text = db_text(rows, row, column);

    return (char *)(text != NULL ? text : "");
}

static void on_charge(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__GetChargeReply reply = PAYMENT__V1__GET_CHARGE_REPLY__INIT;

    if (!failed(error) && rows->count == 0)
        error = err_make(ERR_NOT_FOUND, "There is no charge %s.", reading->what);
    if (!failed(error)) {
        reply.charge_id = (char *)reading->what;
        reply.state = ledger_state(db_text(rows, 0, 0));
        reply.user_id = text_or_empty(rows, 0, 1);
        reply.amount_cents = db_number(rows, 0, 2);
        reply.refunded_cents = db_number(rows, 0, 3);
        reply.currency = text_or_empty(rows, 0, 4);
        reply.provider_charge_id = text_or_empty(rows, 0, 5);
        reply.decline_code = text_or_empty(rows, 0, 6);
        reply.created_at_ms = db_number(rows, 0, 7);
        reply.settled_at_ms = db_number(rows, 0, 8);
    }
    finish(reading, error, &reply.base);
}

void ledger_get(struct db *db, const struct request_context *ctx,
                const Payment__V1__GetChargeRequest *request)
{
    start(db, ctx,
          (struct db_query){
              .name = "get_charge",
              .types = "t",
              .rows = "*tTiiTTTiI",
              .sql =
                  "SELECT state, user_id::text, amount_cents, refunded_cents, currency,"
                  "       provider_charge_id, decline_code,"
                  "       (extract(epoch FROM created_at) * 1000)::bigint,"
                  "       (extract(epoch FROM settled_at) * 1000)::bigint "
                  "FROM payment.charges WHERE id = $1",
              .values = {db_t(request->charge_id)},
              .done = on_charge,
          },
          request->charge_id);
}

/* ---- a user's methods --------------------------------------------------------------- */

static void on_methods(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__ListPaymentMethodsReply reply =
        PAYMENT__V1__LIST_PAYMENT_METHODS_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Payment__V1__PaymentMethod *methods =
        arena_alloc(reading->ctx.arena, sizeof *methods * count);

    reply.methods = arena_alloc(reading->ctx.arena, sizeof *reply.methods * count);
    if (methods == NULL || reply.methods == NULL) {
        finish(reading, err_memory(), NULL);
        return;
    }
    for (int i = 0; i < (int)count; i++) {
        payment__v1__payment_method__init(&methods[i]);
        methods[i].payment_method_id = (char *)db_text(rows, i, 0);
        methods[i].label = (char *)db_text(rows, i, 1);
        reply.methods[i] = &methods[i];
    }
    reply.n_methods = count;
    finish(reading, error, &reply.base);
}

void ledger_list_methods(struct db *db, const struct request_context *ctx,
                         const Payment__V1__ListPaymentMethodsRequest *request)
{
    start(db, ctx,
          (struct db_query){
              .name = "list_methods",
              .types = "t",
              .rows = "*tt",
              .sql = "SELECT id, label FROM payment.methods WHERE user_id = $1::uuid "
                     "ORDER BY created_at, id LIMIT 100",
              .values = {db_t(request->user_id)},
              .done = on_methods,
          },
          NULL);
}
