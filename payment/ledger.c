/* ledger.c - changes of charges and payment methods; see ledger.h.  ledger_read.c reads
 * them. */
#include "payment/ledger.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { OUTCOME_PATIENCE_MS = 5000 };

/* A charge or refund under way: in the request's arena. */
struct work {
    struct db_op op;
    struct db *db;
    struct provider *provider;
    struct request_context ctx;
    const char *id;
    const char *key; /* the provider's idempotency key of the charge */
};

static void finish(struct work *work, struct err error, const ProtobufCMessage *reply)
{
    work->ctx.done(work->ctx.arg, error, reply);
}

static struct work *begin(struct db *db, struct provider *provider,
                          const struct request_context *ctx, const char *id)
{
    struct work *work = arena_alloc(ctx->arena, sizeof *work);
    const char *key = ledger_key(ctx->arena, id);

    if (work == NULL || key == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return NULL;
    }
    *work =
        (struct work){.db = db, .provider = provider, .ctx = *ctx, .id = id, .key = key};
    work->op.deadline_ms = ctx->deadline_ms;
    work->op.cancel = ctx->cancel; /* until the provider is called */
    work->op.request = ctx->request;
    work->op.order = ctx->order;
    work->op.arg = work;
    work->op.head[0] = db_t(id);
    return work;
}

static void submit(struct work *work, const struct db_kind *kind, db_done *done)
{
    work->op.kind = kind;
    work->op.done = done;
    db_submit(work->db, &work->op);
}

/* The provider's outcome is written even when the caller has gone. */
static void submit_outcome(struct work *work, const struct db_kind *kind, db_done *done)
{
    int64_t least = clock_monotonic_ms() + OUTCOME_PATIENCE_MS;

    work->op.cancel = NULL;
    if (work->op.deadline_ms < least)
        work->op.deadline_ms = least;
    submit(work, kind, done);
}

/* ---- charge ------------------------------------------------------------------------- */

static const struct db_kind INTEND = {
    .name = "intend",
    .head = "ttttit", /* id, user, method, token if shared, amount, currency */
    .write =
        "INSERT INTO payment.charges (id, state, user_id, method_id, provider_token,"
        "                             amount_cents, currency, decline_code, settled_at)"
        "SELECT a.id,"
        "       CASE WHEN t.token IS NULL THEN 'declined' ELSE 'intent' END,"
        "       a.user_id::uuid, a.method, t.token, a.amount, a.currency,"
        "       CASE WHEN t.token IS NULL THEN 'payment_method_unknown' END,"
        "       CASE WHEN t.token IS NULL THEN now() END "
        "FROM unnest($1, $2, $3, $4, $5, $6)"
        "    AS a(id, user_id, method, token, amount, currency) "
        "LEFT JOIN payment.methods m ON m.user_id = a.user_id::uuid AND m.id = a.method "
        "CROSS JOIN LATERAL (SELECT coalesce(a.token, m.provider_token) AS token) AS t "
        "ORDER BY a.id "
        "ON CONFLICT (id) DO NOTHING "
        "RETURNING id, state, provider_charge_id, decline_code, provider_token, true",
    .write_answers = true,
    .rows = "+itTTTB",
    .answer =
        "SELECT a.ordinal, c.state, c.provider_charge_id, c.decline_code, c.provider_token,"
        "       c.user_id = a.user_id::uuid AND c.amount_cents = a.amount"
        "           AND c.currency = a.currency AND c.method_id = a.method "
        "FROM unnest($1, $2, $3, $5, $6)"
        "    WITH ORDINALITY AS a(id, user_id, method, amount, currency, ordinal) "
        "JOIN payment.charges c ON c.id = a.id "
        "ORDER BY a.ordinal",
};

/* Conditional on the intent: a concurrent refund wins. */
static const struct db_kind SETTLE = {
    .name = "settle",
    .head = "ttt", /* id, provider_charge_id, decline_code */
    .write =
        "UPDATE payment.charges c"
        " SET state = CASE WHEN a.code IS NULL THEN 'captured' ELSE 'declined' END,"
        "     provider_charge_id = a.provider_id, decline_code = a.code, settled_at = now() "
        "FROM unnest($1, $2, $3) AS a(id, provider_id, code) "
        "WHERE c.id = a.id AND c.state = 'intent' "
        "RETURNING c.id, c.state, c.provider_charge_id, c.decline_code",
    .write_answers = true,
    .rows = "+itTT",
    .answer = "SELECT a.ordinal, c.state, c.provider_charge_id, c.decline_code "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "JOIN payment.charges c ON c.id = a.id "
              "ORDER BY a.ordinal",
};

/* ADVICE of proto/payment.proto. */
#define LATER   "try_again_later"
#define ANOTHER "another_payment_method"

/*
 * The decline codes that a shopper may see, as "CODE,ADVICE".  Only codes that reveal no
 * suspicion of fraud are listed: the holder of a stolen card must not learn that the
 * theft is known.  Any other code becomes generic_decline.
 */
static const struct {
    const char *code, *shown;
} DECLINES[] = {
    {"card_declined", "card_declined," ANOTHER},
    {"card_not_supported", "card_not_supported," ANOTHER},
    {"currency_not_supported", "currency_not_supported," ANOTHER},
    {"expired_card", "expired_card," ANOTHER},
    {"incorrect_cvc", "incorrect_cvc," ANOTHER},
    {"incorrect_number", "incorrect_number," ANOTHER},
    {"insufficient_funds", "insufficient_funds," ANOTHER},
    {"issuer_not_available", "issuer_not_available," LATER},
    {"payment_method_unknown", "payment_method_unknown," ANOTHER},
    {"processing_error", "processing_error," LATER},
    {"try_again_later", "try_again_later," LATER},
};

static const char *shown_for(const char *code)
{
    for (size_t i = 0; i < sizeof DECLINES / sizeof *DECLINES; i++)
        if (strcmp(code, DECLINES[i].code) == 0)
            return DECLINES[i].shown;
    return "generic_decline," ANOTHER;
}

static struct err declined(const char *code)
{
    struct err e;

    if (code == NULL)
        return err_make(ERR_DATA_LOSS, "The charge was declined, and does not say why.");
    const char *shown = shown_for(code);
    if (strcmp(code, "payment_method_unknown") == 0)
        e = err_make(ERR_PAYMENT_DECLINED, "The payment method is not one of yours.");
    else
        e = err_make(ERR_PAYMENT_DECLINED, "The card was declined: %.*s.",
                     (int)strcspn(shown, ","), shown);
    e.subject = shown;
    return e;
}

/* A state that is impossible there, or a row that lacks a column which its state
 * requires. */
static struct err damaged(const struct work *work, const char *state)
{
    log_line(LOG_ERROR, "charge_damaged", "request=%s order=%s state=%s",
             work->ctx.request, work->id, state);
    return err_unknown(ERR_DATA_LOSS, "Charge %s is damaged, as %s.", work->id, state);
}

/* Replies from a settled charge; both statements have these columns. */
static void answer_charge(struct work *work, const struct db_rows *rows)
{
    const char *state = db_text(rows, 0, 1), *provider_id = db_text(rows, 0, 2);
    Payment__V1__ChargeReply reply = PAYMENT__V1__CHARGE_REPLY__INIT;

    if (strcmp(state, "declined") == 0) {
        finish(work, declined(db_text(rows, 0, 3)), NULL);
    } else if (strcmp(state, "refunding") == 0 || strcmp(state, "refunded") == 0) {
        finish(work, err_make(ERR_ABORTED, "Charge %s was refunded.", work->id), NULL);
    } else if (strcmp(state, "captured") != 0 || provider_id == NULL) {
        finish(work, damaged(work, state), NULL);
    } else {
        reply.charge_id = (char *)work->id;
        reply.provider_charge_id = (char *)provider_id;
        finish(work, ERR_NONE, &reply.base);
    }
}

static void on_settled(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;

    if (failed(error)) {
        error.effect = EFFECT_UNKNOWN; /* the provider has the outcome; a retry gets it */
        finish(work, error, NULL);
    } else {
        answer_charge(work, rows);
    }
}

static void on_provider_charged(void *arg, struct err error,
                                const struct provider_outcome *outcome)
{
    struct work *work = arg;

    if (failed(error)) {
        log_warn("provider_charge_failed", "request=%s order=%s reason=%s error=%s",
                 work->ctx.request, work->id, err_reason(error.code), error.message);
        finish(work, error, NULL);
        return;
    }
    const char *id = arena_strdup(work->ctx.arena, outcome->provider_charge_id);
    const char *code = arena_strdup(work->ctx.arena, outcome->decline_code);
    if (id == NULL && code == NULL) {
        struct err e =
            outcome->provider_charge_id == NULL && outcome->decline_code == NULL
                ? err_make(ERR_DATA_LOSS, "The provider neither charged %s nor declined.",
                           work->id)
                : err_memory();
        e.effect = EFFECT_UNKNOWN;
        finish(work, e, NULL);
        return;
    }
    work->op.head[1] = db_t(id);
    work->op.head[2] = db_t(code);
    submit_outcome(work, &SETTLE, on_settled);
}

static void on_intended(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;

    if (failed(error)) {
        finish(work, error, NULL);
        return;
    }
    const char *state = db_text(rows, 0, 1), *token = db_text(rows, 0, 4);
    bool barred = token == NULL && strcmp(state, "declined") != 0;
    if (token == NULL && strcmp(state, "intent") == 0) {
        finish(work, damaged(work, state), NULL);
        return;
    }
    if (!barred && !db_bool(rows, 0, 5)) {
        struct err e =
            err_make(ERR_ALREADY_EXISTS, "Charge %s is of something else.", work->id);
        e.effect = EFFECT_APPLIED; /* something may have been charged under this id */
        finish(work, e, NULL);
        return;
    }
    if (strcmp(state, "intent") != 0) {
        answer_charge(work, rows);
        return;
    }
    struct provider_charge charge = {
        .key = work->key,
        .token = arena_strdup(work->ctx.arena, token),
        .amount_cents = work->op.head[4].number,
        .currency = work->op.head[5].text,
        .deadline_ms = work->ctx.deadline_ms,
    };
    if (charge.token == NULL)
        finish(work, err_memory(), NULL);
    else
        work->provider->charge(work->provider, &charge, on_provider_charged, work);
}

void ledger_charge(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__ChargeRequest *request)
{
    struct work *work = begin(db, provider, ctx, request->charge_id);

    if (work == NULL)
        return;
    work->op.head[1] = db_t(request->user_id);
    work->op.head[2] = db_t(request->payment_method_id);
    work->op.head[3] = db_t(provider->shared_method(request->payment_method_id));
    work->op.head[4] = db_i(request->amount_cents);
    work->op.head[5] = db_t(request->currency);
    submit(work, &INTEND, on_intended);
}

/* ---- refund ------------------------------------------------------------------------- */

/* An unknown id gets a row too, the tombstone that prevents a late Charge. */
static const struct db_kind BAR = {
    .name = "bar",
    .head = "t", /* id */
    .write = "WITH tombstone AS ("
             "    INSERT INTO payment.charges (id, state, settled_at)"
             "    SELECT DISTINCT a.id, 'refunded', now() FROM unnest($1) AS a(id)"
             "    WHERE NOT EXISTS (SELECT FROM payment.charges c WHERE c.id = a.id)"
             "    ORDER BY a.id"
             ")"
             "UPDATE payment.charges SET state = 'refunding' "
             "WHERE id = ANY ($1) AND state IN ('intent', 'captured')",
    .rows = "+iti",
    .answer = "SELECT a.ordinal, c.state, c.refunded_cents "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "JOIN payment.charges c ON c.id = a.id "
              "ORDER BY a.ordinal",
};

static const struct db_kind REFUNDED = {
    .name = "refunded",
    .head = "ti", /* id, refunded_cents */
    .write =
        "UPDATE payment.charges c"
        " SET state = 'refunded', refunded_cents = a.cents, settled_at = now() "
        "FROM unnest($1, $2) AS a(id, cents) WHERE c.id = a.id AND c.state = 'refunding'",
    .rows = "+iti",
    .answer = "SELECT a.ordinal, c.state, c.refunded_cents "
              "FROM unnest($1) WITH ORDINALITY AS a(id, ordinal) "
              "JOIN payment.charges c ON c.id = a.id "
              "ORDER BY a.ordinal",
};

static void answer_refund(struct work *work, int64_t cents)
{
    Payment__V1__RefundReply reply = PAYMENT__V1__REFUND_REPLY__INIT;

    reply.refunded_cents = cents;
    finish(work, ERR_NONE, &reply.base);
}

static void on_refund_written(void *arg, struct err error, const struct db_rows *rows)
{
    if (failed(error))
        finish(arg, error, NULL);
    else
        answer_refund(arg, db_number(rows, 0, 2));
}

static void on_provider_refunded(void *arg, struct err error,
                                 const struct provider_outcome *outcome)
{
    struct work *work = arg;

    if (failed(error)) {
        finish(work, error, NULL);
        return;
    }
    work->op.head[1] = db_i(outcome->refunded_cents);
    submit_outcome(work, &REFUNDED, on_refund_written);
}

static void on_barred(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    const char *state = failed(error) ? "" : db_text(rows, 0, 1);

    if (failed(error))
        finish(work, error, NULL);
    else if (strcmp(state, "refunding") == 0)
        work->provider->refund(work->provider, work->key, work->ctx.deadline_ms,
                               on_provider_refunded, work);
    else if (strcmp(state, "refunded") == 0 || strcmp(state, "declined") == 0)
        answer_refund(work, db_number(rows, 0, 2));
    else
        finish(work, damaged(work, state), NULL);
}

void ledger_refund(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__RefundRequest *request)
{
    struct work *work = begin(db, provider, ctx, request->charge_id);

    if (work != NULL)
        submit(work, &BAR, on_barred);
}

/* ---- payment methods ---------------------------------------------------------------- */

static const struct db_kind ADD_METHOD = {
    .name = "add_method",
    .head = "tttt", /* user, id, token, label */
    .write = "INSERT INTO payment.methods (user_id, id, provider_token, label)"
             "SELECT DISTINCT ON (1, 2) a.user_id::uuid, a.id, a.token, a.label "
             "FROM unnest($1, $2, $3, $4) AS a(user_id, id, token, label) "
             "ORDER BY 1, 2 "
             "ON CONFLICT (user_id, id) DO NOTHING",
    .rows = "+ib",
    .answer = "SELECT a.ordinal, m.provider_token = a.token "
              "FROM unnest($1, $2, $3) WITH ORDINALITY AS a(user_id, id, token, ordinal) "
              "JOIN payment.methods m ON m.user_id = a.user_id::uuid AND m.id = a.id "
              "ORDER BY a.ordinal",
};

static void on_method_added(void *arg, struct err error, const struct db_rows *rows)
{
    struct work *work = arg;
    const Payment__V1__AddPaymentMethodReply reply =
        PAYMENT__V1__ADD_PAYMENT_METHOD_REPLY__INIT;

    if (!failed(error) && !db_bool(rows, 0, 1))
        error =
            err_make(ERR_ALREADY_EXISTS,
                     "Payment method %s is another card; choose another id.", work->id);
    finish(work, error, &reply.base);
}

void ledger_add_method(struct db *db, const struct request_context *ctx,
                       const Payment__V1__AddPaymentMethodRequest *request)
{
    struct work *work = begin(db, NULL, ctx, request->payment_method_id);

    if (work == NULL)
        return;
    work->op.head[0] = db_t(request->user_id);
    work->op.head[1] = db_t(request->payment_method_id);
    work->op.head[2] = db_t(request->provider_token);
    work->op.head[3] = db_t(request->label);
    submit(work, &ADD_METHOD, on_method_added);
}

void ledger_configure(struct db_config *config)
{
    static const struct db_kind *const KINDS[] = {&ADD_METHOD, &INTEND, &SETTLE, &BAR,
                                                  &REFUNDED};

    config->kinds = KINDS;
    config->kind_count = sizeof KINDS / sizeof *KINDS;
}
