/*
 * ledger_audit.c - both books of money as an audit reads them: ours, and the provider's.
 *
 * Pages by key, read-only.  Ours are range scans of the primary key; the provider's come
 * through its interface, whoever it is.
 */
#include <string.h>

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "payment/ledger.h"

enum { PAGE_MOST = 1000 };

static const char KEY_PREFIX[] = "chg_";

char *ledger_key(struct arena *arena, const char *charge_id)
{
    return arena_printf(arena, "%s%s", KEY_PREFIX, charge_id);
}

/* The charge a key of the provider's stands for; "" when we cannot have made it. */
static const char *charge_of(const char *key)
{
    const char *id = key + strlen(KEY_PREFIX);

    return strncmp(key, KEY_PREFIX, strlen(KEY_PREFIX)) == 0 && ulid_valid(id) ? id : "";
}

/* ---- ours --------------------------------------------------------------------------- */

/* A query under way: in the request's arena. */
struct reading {
    struct db_query query;
    struct request_context ctx;
    int64_t limit;           /* of a page from new to old */
    struct ulid_range range; /* likewise */
};

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
    entry->state = ledger_state(db_text(rows, row, 1));
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
    Payment__V1__ChargeEntry *entries =
        arena_alloc(reading->ctx.arena, sizeof *entries * count);

    reply.charges = arena_alloc(reading->ctx.arena, sizeof *reply.charges * count);
    if (entries == NULL || reply.charges == NULL)
        error = err_memory();
    for (size_t i = 0; !failed(error) && i < count; i++) {
        fill_charge(&entries[i], rows, (int)i);
        reply.charges[i] = &entries[i];
        reply.now_ms = db_number(rows, 0, 7);
    }
    reply.n_charges = count;
    reading->ctx.done(reading->ctx.arg, error, &reply.base);
}

/* ---- ours, from new to old ---------------------------------------------------------- */

/* There is one row at least: without an id when nothing was found. */
static void on_newest(void *arg, struct err error, const struct db_rows *rows)
{
    struct reading *reading = arg;
    Payment__V1__ListChargesReply reply = PAYMENT__V1__LIST_CHARGES_REPLY__INIT;
    size_t count = failed(error) ? 0 : (size_t)rows->count;
    Payment__V1__ChargeEntry *entries =
        arena_alloc(reading->ctx.arena, sizeof *entries * count);

    reply.charges = arena_alloc(reading->ctx.arena, sizeof *reply.charges * count);
    if (entries == NULL || reply.charges == NULL)
        error = err_memory();
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
        if ((int64_t)reply.n_charges == reading->limit)
            reply.next_before_id = entries[reply.n_charges - 1].charge_id;
        else if (db_bool(rows, 0, 9))
            reply.next_before_id = (char *)db_text(rows, 0, 8);
    }
    reading->ctx.done(reading->ctx.arg, error, &reply.base);
}

/* An index of users or of the provider's ids would make each charge dearer. */
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

static const char *state_name(Payment__V1__ChargeState state)
{
    switch (state) {
    case PAYMENT__V1__CHARGE_STATE__INTENT:
        return "intent";
    case PAYMENT__V1__CHARGE_STATE__CAPTURED:
        return "captured";
    case PAYMENT__V1__CHARGE_STATE__DECLINED:
        return "declined";
    case PAYMENT__V1__CHARGE_STATE__REFUNDING:
        return "refunding";
    case PAYMENT__V1__CHARGE_STATE__REFUNDED:
        return "refunded";
    default:
        return "";
    }
}

static void submit(struct db *db, struct reading *reading)
{
    reading->query.deadline_ms = reading->ctx.deadline_ms;
    reading->query.cancel = reading->ctx.cancel;
    reading->query.request = reading->ctx.request;
    reading->query.order = reading->ctx.order;
    reading->query.arg = reading;
    db_read(db, &reading->query);
}

void ledger_list_newest(struct db *db, const struct request_context *ctx,
                        const Payment__V1__ListChargesRequest *in)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading =
        (struct reading){.ctx = *ctx,
                         .limit = in->limit == 0 ? PAGE_MOST : in->limit,
                         .range = ulid_range(in->since_ms, in->until_ms, in->before_id)};
    if (in->only_id[0] != '\0')
        ulid_range_only(&reading->range, in->only_id);
    reading->query = (struct db_query){
        .name = "newest_charges",
        .types = "ttttti",
        .rows = "+TTIIttIiTb", /* of a charge, or of none that was found */
        .sql = NEWEST,
        .values = {db_t(reading->range.end), db_t(reading->range.least),
                   db_t(in->user_id), db_t(state_name(in->state)),
                   db_t(in->provider_charge_id), db_i(reading->limit)},
        .done = on_newest,
    };
    submit(db, reading);
}

/* ---- ours, from old to new ---------------------------------------------------------- */

static void start(struct db *db, const struct request_context *ctx, struct db_query query)
{
    struct reading *reading = arena_alloc(ctx->arena, sizeof *reading);

    if (reading == NULL) {
        ctx->done(ctx->arg, err_memory(), NULL);
        return;
    }
    *reading = (struct reading){.query = query, .ctx = *ctx};
    reading->query.done = on_charges;
    submit(db, reading);
}

void ledger_list(struct db *db, const struct request_context *ctx,
                 const Payment__V1__ListChargesRequest *request)
{
    if (request->only_id[0] != '\0')
        start(db, ctx,
              (struct db_query){.name = "one_charge",
                                .types = "t",
                                .rows = ENTRY_SHAPE,
                                .sql = ENTRY "WHERE id = $1",
                                .values = {db_t(request->only_id)}});
    else
        start(db, ctx,
              (struct db_query){
                  .name = "list_charges",
                  .types = "ti",
                  .rows = ENTRY_SHAPE,
                  .sql = ENTRY "WHERE id > $1 ORDER BY id LIMIT $2",
                  .values = {db_t(request->after_id),
                             db_i(request->limit == 0 ? PAGE_MOST : request->limit)}});
}

/* ---- the provider's ----------------------------------------------------------------- */

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
    Payment__V1__ProviderEntry *entries =
        arena_alloc(ctx->arena, sizeof *entries * count);

    reply.charges = arena_alloc(ctx->arena, sizeof *reply.charges * count);
    if (entries == NULL || reply.charges == NULL)
        error = err_memory();
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
