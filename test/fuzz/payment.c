/* payment.c - every method of payment.v1.Payment, up to the ledger; see dispatch.h. */
#include "fuzz/dispatch.h"
#include "payment/ledger.h"
#include "payment/service.h"

static const char *shared_method(const char *method_id)
{
    return strcmp(method_id, "pm_card_visa") == 0 ? "tok_visa" : NULL;
}

void ledger_charge(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__ChargeRequest *in)
{
    (void)db, (void)provider;
    stored(ctx);
    assert(ulid_valid(in->charge_id) && uuid_valid(in->user_id));
    assert(name_valid(in->payment_method_id) && currency_valid(in->currency));
    assert(in->amount_cents >= 0 && in->amount_cents <= TOTAL_CENTS_MAX);
}

void ledger_refund(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__RefundRequest *in)
{
    (void)db, (void)provider;
    stored(ctx);
    assert(ulid_valid(in->charge_id));
}

void ledger_get(struct db *db, const struct request_context *ctx,
                const Payment__V1__GetChargeRequest *in)
{
    (void)db;
    stored(ctx);
    assert(ulid_valid(in->charge_id));
}

void ledger_add_method(struct db *db, const struct request_context *ctx,
                       const Payment__V1__AddPaymentMethodRequest *in)
{
    (void)db;
    stored(ctx);
    assert(uuid_valid(in->user_id) && name_valid(in->payment_method_id));
    assert(shared_method(in->payment_method_id) == NULL);
    assert(visible_ascii(in->provider_token, 1, PROVIDER_TOKEN_MAX));
    assert(utf8_valid(in->label, LABEL_SIZE_MAX));
}

void ledger_list_methods(struct db *db, const struct request_context *ctx,
                         const Payment__V1__ListPaymentMethodsRequest *in)
{
    (void)db;
    stored(ctx);
    assert(uuid_valid(in->user_id));
}

void ledger_list(struct db *db, const struct request_context *ctx,
                 const Payment__V1__ListChargesRequest *in)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->after_id) && empty_or(ulid_valid, in->only_id));
}

void ledger_list_newest(struct db *db, const struct request_context *ctx,
                        const Payment__V1__ListChargesRequest *in)
{
    (void)db;
    stored(ctx);
    assert(page_good(in->limit, in->before_id) && time_good(in->since_ms, in->until_ms));
    assert(in->after_id[0] == '\0' && empty_or(ulid_valid, in->only_id));
    assert(empty_or(uuid_valid, in->user_id));
}

void ledger_list_provider(struct provider *provider, const struct request_context *ctx,
                          const Payment__V1__ListProviderChargesRequest *in)
{
    (void)provider;
    stored(ctx);
    assert(page_good(in->limit, in->after_key) && empty_or(ulid_valid, in->only_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct provider provider = {.shared_method = shared_method};
    struct payment payment;

    payment_init(&payment, NULL, &provider);
    dispatch(&payment.service.base, data, size);
    return 0;
}
