/*
 * sandbox.c - see sandbox.h.
 *
 *   charge:  [attempt counted, where the method needs it] -> ledger row -> answer, or not
 *   refund:  ledger row -> answer
 */
#include "payment/sandbox.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/contract/ids.h"
#include "db/db.h"
#include "rpc/common/timer.h"

enum {
    ANSWER_LOST_MS = 1500, /* after which the caller of a lost answer gives up */
    ANSWER_LATE_MS = 2000,
};

enum behaviour { APPROVE, DECLINE, LOSE_FIRST_ANSWER, ANSWER_LATE, FAIL_FIRST, NEVER };

static const struct method {
    const char *id;
    enum behaviour behaviour;
    const char *decline_code;
} METHODS[] = {
    {"pm_card_visa", APPROVE, NULL},
    {"pm_card_chargeDeclined", DECLINE, "card_declined"},
    {"pm_card_insufficientFunds", DECLINE, "insufficient_funds"},
    {"pm_card_processingError", DECLINE, "processing_error"},
    {"pm_card_stolenCard", DECLINE, "stolen_card"},
    {"pm_card_timeout", LOSE_FIRST_ANSWER, NULL},
    {"pm_card_late", ANSWER_LATE, NULL},
    {"pm_card_failOnce", FAIL_FIRST, NULL},
    {"pm_card_unreachable", NEVER, NULL},
};

struct sandbox {
    struct provider provider; /* first */
    struct db *db;
};

/* One charge or refund under way. */
struct request {
    struct db_op op;
    struct db *db;
    const struct method *method;
    int64_t attempt; /* 1 for the first, where the method counts them */
    char key[65];
    char charge_id[4 + ULID_SIZE];
    char token[65], currency[4];
    provider_done *done;
    void *arg;
    struct err error; /* the error of a delayed answer */
    struct provider_outcome outcome;
};

static const struct method *find_method(const char *token)
{
    for (size_t i = 0; i < sizeof METHODS / sizeof *METHODS; i++)
        if (strcmp(METHODS[i].id, token) == 0)
            return &METHODS[i];
    return NULL;
}

static void finish(struct request *r, struct err error, struct provider_outcome outcome)
{
    r->done(r->arg, error, &outcome);
    free(r);
}

static void finish_failed(struct request *r, struct err error)
{
    finish(r, error, (struct provider_outcome){0});
}

/* ---- charge ------------------------------------------------------------------------- */

static const struct db_kind ATTEMPT = {
    .name = "attempt",
    .head = "t", /* key */
    .write =
        "INSERT INTO sandbox.attempts (idempotency_key, count)"
        "SELECT a.key, count(*) FROM unnest($1) AS a(key) GROUP BY a.key ORDER BY a.key "
        "ON CONFLICT (idempotency_key)"
        " DO UPDATE SET count = sandbox.attempts.count + EXCLUDED.count",
    .rows = "+ii",
    .answer = "SELECT a.ordinal, t.count "
              "FROM unnest($1) WITH ORDINALITY AS a(key, ordinal) "
              "JOIN sandbox.attempts t ON t.idempotency_key = a.key "
              "ORDER BY a.ordinal",
};

static const struct db_kind CHARGE = {
    .name = "charge",
    .head = "tttitt", /* key, charge id, method, amount, currency, decline code */
    .write = "INSERT INTO sandbox.charges (idempotency_key, provider_charge_id, method,"
             "                             amount_cents, currency, decline_code, status)"
             "SELECT a.key, a.id, a.method, a.amount, a.currency, a.code,"
             "       CASE WHEN a.code IS NULL THEN 'captured' ELSE 'declined' END "
             "FROM unnest($1, $2, $3, $4, $5, $6)"
             "    AS a(key, id, method, amount, currency, code) "
             "ORDER BY a.key "
             "ON CONFLICT (idempotency_key) DO NOTHING "
             "RETURNING idempotency_key, status, provider_charge_id, decline_code, true",
    .write_answers = true,
    .rows = "+itTTB",
    .answer =
        "SELECT a.ordinal, c.status, c.provider_charge_id, c.decline_code,"
        "       c.amount_cents = a.amount AND c.currency = a.currency "
        "FROM unnest($1, $4, $5) WITH ORDINALITY AS a(key, amount, currency, ordinal) "
        "JOIN sandbox.charges c ON c.idempotency_key = a.key "
        "ORDER BY a.ordinal",
};

static void on_answer_lost(void *arg)
{
    finish_failed(arg, err_unknown(ERR_DEADLINE_EXCEEDED,
                                   "The card provider did not answer in time."));
}

static void on_late(void *arg)
{
    struct request *r = arg;

    finish(r, ERR_NONE, (struct provider_outcome){.provider_charge_id = r->charge_id});
}

/* Answers after a delay; at once when no timer can be created. */
static void delay(struct request *r, int64_t ms, void (*then)(void *arg))
{
    if (failed(timer_after(ms, then, r)))
        then(r);
}

static void answer_charge(struct request *r, const struct db_rows *rows)
{
    const char *status = db_text(rows, 0, 1);
    struct provider_outcome outcome = {.provider_charge_id = db_text(rows, 0, 2),
                                       .decline_code = db_text(rows, 0, 3)};

    if (strcmp(status, "voided") == 0 || strcmp(status, "refunded") == 0)
        finish_failed(
            r, err_make(ERR_ABORTED, "The key was refunded; it is not charged again."));
    else if (!db_bool(rows, 0, 4) && outcome.decline_code == NULL)
        finish_failed(r, err_make(ERR_ALREADY_EXISTS, "The key charged another amount."));
    else if (outcome.decline_code == NULL && outcome.provider_charge_id == NULL)
        finish_failed(r, err_unknown(ERR_DATA_LOSS, "The provider's charge has no id."));
    else if (outcome.decline_code != NULL)
        finish(r, ERR_NONE,
               (struct provider_outcome){.decline_code = outcome.decline_code});
    else
        finish(r, ERR_NONE, outcome);
}

static void on_charged(void *arg, struct err error, const struct db_rows *rows)
{
    struct request *r = arg;

    if (failed(error)) {
        finish_failed(r, error);
        return;
    }
    if (r->method->behaviour == LOSE_FIRST_ANSWER && r->attempt == 1) {
        delay(r, ANSWER_LOST_MS, on_answer_lost);
    } else if (r->method->behaviour == ANSWER_LATE && db_text(rows, 0, 2) != NULL &&
               strcmp(db_text(rows, 0, 1), "captured") == 0) {
        strncpy(r->charge_id, db_text(rows, 0, 2), sizeof r->charge_id - 1);
        delay(r, ANSWER_LATE_MS, on_late);
    } else {
        answer_charge(r, rows);
    }
}

static void submit_charge(struct request *r)
{
    r->op.kind = &CHARGE;
    r->op.done = on_charged;
    db_submit(r->db, &r->op);
}

static void on_counted(void *arg, struct err error, const struct db_rows *rows)
{
    struct request *r = arg;

    if (failed(error)) {
        finish_failed(r, error);
        return;
    }
    r->attempt = db_number(rows, 0, 1);
    if (r->method->behaviour == FAIL_FIRST && r->attempt == 1)
        finish_failed(r, err_make(ERR_UNAVAILABLE, "The card provider is out of order."));
    else
        submit_charge(r);
}

static void begin_charge(struct request *r)
{
    switch (r->method->behaviour) {
    case NEVER:
        delay(r, ANSWER_LOST_MS, on_answer_lost);
        return;
    case FAIL_FIRST:
    case LOSE_FIRST_ANSWER:
        r->op.kind = &ATTEMPT;
        r->op.done = on_counted;
        db_submit(r->db, &r->op);
        return;
    default:
        submit_charge(r);
    }
}

static struct request *new_request(struct provider *provider, const char *key,
                                   int64_t deadline, provider_done *done, void *arg)
{
    struct request *r = calloc(1, sizeof *r);

    if (r == NULL) {
        done(arg, err_memory(), NULL);
        return NULL;
    }
    r->db = ((struct sandbox *)provider)->db;
    r->done = done;
    r->arg = arg;
    strncpy(r->key, key, sizeof r->key - 1);
    r->op.head[0] = db_t(r->key);
    r->op.deadline_ms = deadline;
    r->op.arg = r;
    return r;
}

static void charge(struct provider *provider, const struct provider_charge *c,
                   provider_done *done, void *arg)
{
    static const struct method UNKNOWN = {"", DECLINE, "invalid_payment_method"};
    struct request *r = new_request(provider, c->key, c->deadline_ms, done, arg);

    if (r == NULL)
        return;
    r->method = find_method(c->token);
    if (r->method == NULL)
        r->method = &UNKNOWN;
    memcpy(r->charge_id, "sbx_", 4);
    ulid_make(r->charge_id + 4);
    strncpy(r->token, c->token, sizeof r->token - 1);
    strncpy(r->currency, c->currency, sizeof r->currency - 1);
    r->op.head[1] = db_t(r->charge_id);
    r->op.head[2] = db_t(r->token);
    r->op.head[3] = db_i(c->amount_cents);
    r->op.head[4] = db_t(r->currency);
    r->op.head[5] = db_t(r->method->decline_code);
    begin_charge(r);
}

/* ---- refund ------------------------------------------------------------------------- */

static const struct db_kind REFUND = {
    .name = "refund",
    .head = "t", /* key */
    .write =
        "WITH barred AS ("
        "    INSERT INTO sandbox.charges (idempotency_key, status)"
        "    SELECT DISTINCT a.key, 'voided' FROM unnest($1) AS a(key)"
        "    WHERE NOT EXISTS (SELECT FROM sandbox.charges c"
        "                      WHERE c.idempotency_key = a.key)"
        "    ORDER BY a.key"
        ")"
        "UPDATE sandbox.charges"
        " SET status = 'refunded', refunded_cents = amount_cents, refunded_at = now() "
        "WHERE idempotency_key = ANY ($1) AND status = 'captured'",
    .rows = "+ii",
    .answer = "SELECT a.ordinal, c.refunded_cents "
              "FROM unnest($1) WITH ORDINALITY AS a(key, ordinal) "
              "JOIN sandbox.charges c ON c.idempotency_key = a.key "
              "ORDER BY a.ordinal",
};

static void on_refunded(void *arg, struct err error, const struct db_rows *rows)
{
    struct provider_outcome outcome = {0};

    if (!failed(error))
        outcome.refunded_cents = db_number(rows, 0, 1);
    finish(arg, error, outcome);
}

static void refund(struct provider *provider, const char *key, int64_t deadline_ms,
                   provider_done *done, void *arg)
{
    struct request *r = new_request(provider, key, deadline_ms, done, arg);

    if (r == NULL)
        return;
    r->op.kind = &REFUND;
    r->op.done = on_refunded;
    db_submit(r->db, &r->op);
}

/* ---- listing ------------------------------------------------------------------------ */

/* One page being read. */
struct listing {
    struct db_query query;
    provider_listed *done;
    void *arg;
    char key[65]; /* after which, or the only one */
    size_t room;  /* entries */
    struct provider_entry entries[];
};

static enum provider_status status_of(const char *name)
{
    if (strcmp(name, "captured") == 0)
        return PROVIDER_CAPTURED;
    if (strcmp(name, "declined") == 0)
        return PROVIDER_DECLINED;
    return strcmp(name, "refunded") == 0 ? PROVIDER_REFUNDED : PROVIDER_VOIDED;
}

static void on_listed(void *arg, struct err error, const struct db_rows *rows)
{
    struct listing *listing = arg;
    struct provider_list list = {.entries = listing->entries};

    list.count = failed(error) ? 0 : (size_t)rows->count;
    if (list.count > listing->room) /* duplicate ids, if the unique index is missing */
        list.count = listing->room;
    for (int i = 0; i < (int)list.count; i++) {
        list.now_ms = db_number(rows, i, 8);
        listing->entries[i] = (struct provider_entry){
            .key = db_text(rows, i, 0),
            .provider_charge_id = db_text(rows, i, 1),
            .status = status_of(db_text(rows, i, 2)),
            .amount_cents = db_number(rows, i, 3),
            .refunded_cents = db_number(rows, i, 4),
            .currency = db_text(rows, i, 5),
            .created_at_ms = db_number(rows, i, 6),
            .refunded_at_ms = db_number(rows, i, 7),
        };
    }
    listing->done(listing->arg, error, &list);
    free(listing);
}

#define ENTRY                                                                            \
    "SELECT idempotency_key, coalesce(provider_charge_id, ''), status, amount_cents,"    \
    "       refunded_cents, coalesce(currency, ''),"                                     \
    "       (extract(epoch FROM created_at) * 1000)::bigint,"                            \
    "       (extract(epoch FROM refunded_at) * 1000)::bigint,"                           \
    "       (extract(epoch FROM now()) * 1000)::bigint "                                 \
    "FROM sandbox.charges "

static void list(struct provider *provider, const struct provider_page *page,
                 provider_listed *done, void *arg)
{
    bool one = page->only_key != NULL;
    size_t room = one ? 1 : (size_t)page->limit;
    struct listing *listing =
        calloc(1, sizeof *listing + room * sizeof listing->entries[0]);

    if (listing == NULL) {
        done(arg, err_memory(), NULL);
        return;
    }
    listing->done = done;
    listing->arg = arg;
    listing->room = room;
    strncpy(listing->key, one ? page->only_key : page->after_key,
            sizeof listing->key - 1);
    listing->query = (struct db_query){
        .name = one ? "one_charge" : "list_charges",
        .types = one ? "t" : "ti",
        .rows = "*tttiitiIi",
        .sql = one ? ENTRY "WHERE idempotency_key = $1"
                   : ENTRY "WHERE idempotency_key > $1 ORDER BY idempotency_key LIMIT $2",
        .values = {db_t(listing->key), db_i(page->limit)},
        .deadline_ms = page->deadline_ms,
        .done = on_listed,
        .arg = listing,
    };
    db_read(((struct sandbox *)provider)->db, &listing->query);
}

/* ---- health ------------------------------------------------------------------------- */

static struct err health(struct provider *provider)
{
    struct err e = db_health(((struct sandbox *)provider)->db);

    if (!failed(e))
        return e;
    e = err_make(ERR_UNAVAILABLE, "The card provider (sandbox): %s", e.message);
    e.subject = "the card provider takes no charges";
    return e;
}

/* ---- opening ------------------------------------------------------------------------ */

static const char *shared_method(const char *method_id)
{
    const struct method *method = find_method(method_id);

    return method == NULL ? NULL : method->id;
}

struct err sandbox_open(const char *database_url, struct provider **out)
{
    static const struct db_kind *const KINDS[] = {&ATTEMPT, &REFUND, &CHARGE};
    const struct db_config config = {
        .url = database_url,
        .name = "sandbox",
        .kinds = KINDS,
        .kind_count = sizeof KINDS / sizeof *KINDS,
        .queue_max = 8192,
        .batch_max = 512,
        .readers = 1,
    };
    struct sandbox *sandbox = calloc(1, sizeof *sandbox);

    if (sandbox == NULL)
        return err_memory();
    sandbox->provider = (struct provider){charge, refund, shared_method, list, health};
    struct err e = db_open(&config, &sandbox->db);
    if (failed(e))
        free(sandbox);
    else
        *out = &sandbox->provider;
    return e;
}

void sandbox_close(struct provider *provider)
{
    struct sandbox *sandbox = (struct sandbox *)provider;

    if (sandbox == NULL)
        return;
    db_close(sandbox->db);
    free(sandbox);
}
