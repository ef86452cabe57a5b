/*
 * ledger_read.c - reads charges, payment methods and the provider's ledger.
 *
 * Read-only, run by readers, never by the writer.  Pages are by key: ours are range scans
 * of the primary key; the provider's come through provider.h.
 */
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "payment/ledger.h"

enum { PAGE_MOST = 1000 };

/* A query under way: in the request's arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    const char *what; /* the id asked for; NULL: a page */
};

static void finish(struct reading *reading, struct err error,
                   const ProtobufCMessage *reply)
{
    reading->ctx.done(reading->ctx.arg, error, reply);
}

static void start(struct db *db, const struct request_context *ctx, const char *what,
                  struct db_query query)
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

/* Room for the entries of a page, to *entries, and for the pointers to them. */
static void *page(struct arena *arena, struct err *error, size_t count, size_t entry_size,
                  void *entries)
{
    void *pointers = arena_alloc(arena, sizeof(void *) * count);
    void *room = arena_alloc(arena, entry_size * count);

    if (pointers == NULL || room == NULL)
        *error = err_memory();
    memcpy(entries, &room, sizeof room);
    return pointers;
}

/* ---- one charge --------------------------------------------------------------------- */

static const char *const STATES[] = {
    [PAYMENT__V1__CHARGE_STATE__CHARGE_UNSPECIFIED] = "",
    [PAYMENT__V1__CHARGE_STATE__INTENT] = "intent",
    [PAYMENT__V1__CHARGE_STATE__CAPTURED] = "captured",
    [PAYMENT__V1__CHARGE_STATE__DECLINED] = "declined",
    [PAYMENT__V1__CHARGE_STATE__REFUNDING] = "refunding",
    [PAYMENT__V1__CHARGE_STATE__REFUNDED] = "refunded",
};

static Payment__V1__ChargeState state_of(const char *name)
{
    size_t i = sizeof STATES / sizeof *STATES - 1;

    while (i > 0 && strcmp(name, STATES[i]) != 0)
        i--;
    return (Payment__V1__ChargeState)i;
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
        reply.state = state_of(db_text(rows, 0, 0));
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
    start(db, ctx, request->charge_id,
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
          });
}

/* ---- a user's methods --------------------------------------------------------------- */

static void on_methods(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__ListPaymentMethodsReply reply =
        PAYMENT__V1__LIST_PAYMENT_METHODS_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Payment__V1__PaymentMethod *methods;

    reply.methods = page(reading->ctx.arena, &error, count, sizeof *methods, &methods);
    for (int i = 0; !failed(error) && i < (int)count; i++) {
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
    start(db, ctx, NULL,
          (struct db_query){
              .name = "list_methods",
              .types = "t",
              .rows = "*tt",
              .sql = "SELECT id, label FROM payment.methods WHERE user_id = $1::uuid "
                     "ORDER BY created_at, id LIMIT 100",
              .values = {db_t(request->user_id)},
              .done = on_methods,
          });
}

/* ---- charges in pages ---------------------------------------------------------------- */

#define ENTRY                                                                            \
    "SELECT id, state, amount_cents, refunded_cents, coalesce(currency, ''),"            \
    "       coalesce(provider_charge_id, ''),"                                           \
    "       (extract(epoch FROM created_at) * 1000)::bigint,"                            \
    "       (extract(epoch FROM now()) * 1000)::bigint "                                 \
    "FROM payment.charges "
#define ENTRY_SHAPE "*ttiittii"

static void fill_charge(Payment__V1__ChargeEntry *entry, const struct db_rows *rows,
                        int row)
{
    payment__v1__charge_entry__init(entry);
    entry->charge_id = (char *)db_text(rows, row, 0);
    entry->state = state_of(db_text(rows, row, 1));
    entry->amount_cents = db_number(rows, row, 2);
    entry->refunded_cents = db_number(rows, row, 3);
    entry->currency = (char *)db_text(rows, row, 4);
    entry->provider_charge_id = (char *)db_text(rows, row, 5);
    entry->created_at_ms = db_number(rows, row, 6);
}

static void on_charges(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__ListChargesReply reply = PAYMENT__V1__LIST_CHARGES_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Payment__V1__ChargeEntry *entries;

    reply.charges = page(reading->ctx.arena, &error, count, sizeof *entries, &entries);
    for (size_t i = 0; !failed(error) && i < count; i++) {
        fill_charge(&entries[i], rows, (int)i);
        reply.charges[i] = &entries[i];
        reply.now_ms = db_number(rows, 0, 7);
    }
    reply.n_charges = count;
    finish(reading, error, &reply.base);
}

/* ---- ours, from new to old ---------------------------------------------------------- */

/* There is at least one row; its id is NULL when nothing was found. */
static void on_newest(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__ListChargesReply reply = PAYMENT__V1__LIST_CHARGES_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Payment__V1__ChargeEntry *entries;

    reply.charges = page(reading->ctx.arena, &error, count, sizeof *entries, &entries);
    for (size_t i = 0; !failed(error) && i < count && db_text(rows, (int)i, 0) != NULL;
         i++) {
        error = db_entry_check(rows, (int)i, &ENTRY_SHAPE[1]);
        if (failed(error))
            break;
        fill_charge(&entries[i], rows, (int)i);
        reply.charges[reply.n_charges++] = &entries[i];
        reply.now_ms = db_number(rows, 0, 7);
    }
    if (!failed(error) && count > 0) {
        if ((int64_t)reply.n_charges == reading->query.values[5].number)
            reply.next_before_id = entries[reply.n_charges - 1].charge_id;
        else if (db_bool(rows, 0, 9))
            reply.next_before_id = (char *)db_text(rows, 0, 8);
    }
    finish(reading, error, &reply.base);
}

/* Scans, because an index on users or provider ids would slow down each charge. */
static const char NEWEST[] =
    "WITH scanned AS MATERIALIZED ("
    "    SELECT id, user_id, state, provider_charge_id FROM payment.charges"
    "    WHERE id < $1 AND id >= $2 ORDER BY id DESC LIMIT 10000"
    "), found AS MATERIALIZED ("
    "    SELECT id FROM scanned"
    "    WHERE ($3 = '' OR user_id::text = $3) AND ($4 = '' OR state = $4)"
    "      AND ($5 = '' OR provider_charge_id = $5)"
    "    ORDER BY id DESC LIMIT $6"
    ")"
    "SELECT c.id, c.state, c.amount_cents, c.refunded_cents, coalesce(c.currency, ''),"
    "       coalesce(c.provider_charge_id, ''),"
    "       (extract(epoch FROM c.created_at) * 1000)::bigint,"
    "       (extract(epoch FROM now()) * 1000)::bigint, s.last, s.count = 10000 "
    "FROM (SELECT min(id) AS last, count(*) AS count FROM scanned) AS s "
    "LEFT JOIN found ON true LEFT JOIN payment.charges c ON c.id = found.id "
    "ORDER BY c.id DESC";
_Static_assert(PAGE_SCAN_MAX == 10000, "as NEWEST says");

void ledger_list_newest(struct db *db, const struct request_context *ctx,
                        const Payment__V1__ListChargesRequest *in)
{
    struct ulid_range *range = arena_alloc(ctx->arena, sizeof *range);

    if (range == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *range = ulid_range(in->since_ms, in->until_ms, in->before_id);
    if (in->only_id[0] != '\0')
        ulid_range_only(range, in->only_id);
    start(db, ctx, NULL,
          (struct db_query){
              .name = "newest_charges",
              .types = "ttttti",
              .rows = "+TTIIttIiTb", /* of a charge, or of none that was found */
              .sql = NEWEST,
              .values = {db_t(range->end), db_t(range->least), db_t(in->user_id),
                         db_t(STATES[in->state]), db_t(in->provider_charge_id),
                         db_i(in->limit == 0 ? PAGE_MOST : in->limit)},
              .done = on_newest,
          });
}

void ledger_list(struct db *db, const struct request_context *ctx,
                 const Payment__V1__ListChargesRequest *request)
{
    bool one = request->only_id[0] != '\0';

    start(db, ctx, NULL,
          (struct db_query){
              .name = one ? "one_charge" : "list_charges",
              .types = one ? "t" : "ti",
              .rows = ENTRY_SHAPE,
              .sql = one ? ENTRY "WHERE id = $1"
                         : ENTRY "WHERE id > $1 ORDER BY id LIMIT $2",
              .values = {db_t(one ? request->only_id : request->after_id),
                         db_i(request->limit == 0 ? PAGE_MOST : request->limit)},
              .done = on_charges,
          });
}

/* ---- the provider's ledger ----------------------------------------------------------- */

static const char KEY_PREFIX[] = "chg_";

char *ledger_key(struct arena *arena, const char *charge_id)
{
    return arena_printf(arena, "%s%s", KEY_PREFIX, charge_id);
}

/* The charge of a provider's key; "" when it is not one of our keys. */
static const char *charge_of(const char *key)
{
    const char *id = key + strlen(KEY_PREFIX);

    return strncmp(key, KEY_PREFIX, strlen(KEY_PREFIX)) == 0 && ulid_valid(id) ? id : "";
}

static Payment__V1__ProviderStatus status_of(enum provider_status status)
{
    switch (status) {
    case PROVIDER_CAPTURED:
        return PAYMENT__V1__PROVIDER_STATUS__PROVIDER_CAPTURED;
    case PROVIDER_DECLINED:
        return PAYMENT__V1__PROVIDER_STATUS__PROVIDER_DECLINED;
    case PROVIDER_REFUNDED:
        return PAYMENT__V1__PROVIDER_STATUS__PROVIDER_REFUNDED;
    case PROVIDER_VOIDED:
        return PAYMENT__V1__PROVIDER_STATUS__PROVIDER_VOIDED;
    }
    return PAYMENT__V1__PROVIDER_STATUS__PROVIDER_UNSPECIFIED;
}

static void fill_entry(Payment__V1__ProviderEntry *out,
                       const struct provider_entry *entry)
{
    payment__v1__provider_entry__init(out);
    out->key = (char *)entry->key;
    out->charge_id = (char *)charge_of(entry->key);
    out->status = status_of(entry->status);
    out->amount_cents = entry->amount_cents;
    out->refunded_cents = entry->refunded_cents;
    out->currency = (char *)entry->currency;
    out->provider_charge_id = (char *)entry->provider_charge_id;
    out->created_at_ms = entry->created_at_ms;
    out->refunded_at_ms = entry->refunded_at_ms;
}

static void on_listed(void *arg, struct err error, const struct provider_list *list)
{
    const struct request_context *ctx = arg;
    Payment__V1__ListProviderChargesReply reply =
        PAYMENT__V1__LIST_PROVIDER_CHARGES_REPLY__INIT;
    size_t count = failed(error) ? 0 : list->count;
    Payment__V1__ProviderEntry *entries;

    reply.charges = page(ctx->arena, &error, count, sizeof *entries, &entries);
    for (size_t i = 0; !failed(error) && i < count; i++) {
        fill_entry(&entries[i], &list->entries[i]);
        reply.charges[i] = &entries[i];
        reply.now_ms = list->now_ms;
    }
    reply.n_charges = count;
    ctx->done(ctx->arg, error, &reply.base);
}

void ledger_list_provider(struct provider *provider, const struct request_context *ctx,
                          const Payment__V1__ListProviderChargesRequest *request)
{
    struct request_context *own = arena_copy(ctx->arena, ctx, sizeof *ctx);
    struct provider_page page = {
        .after_key = request->after_key,
        .limit = request->limit == 0 ? PAGE_MOST : request->limit,
        .deadline_ms = ctx->deadline_ms,
    };

    if (request->only_id[0] != '\0')
        page.only_key = ledger_key(ctx->arena, request->only_id);
    if (own == NULL || (request->only_id[0] != '\0' && page.only_key == NULL))
        ctx->done(ctx->arg, err_memory(), NULL);
    else
        provider->list(provider, &page, on_listed, own);
}
