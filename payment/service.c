/* service.c - see service.h.  All input is validated here. */
#include "payment/service.h"

#include "base/contract/bounds.h"
#include "base/contract/ids.h"
#include "payment/ledger.h"
#include "rpc/server/server.h"
#include "rpc/service/request_context.h"

static struct payment *self(Payment__V1__Payment_Service *service)
{
    return (struct payment *)service;
}

static struct err check_id(const char *id)
{
    if (ulid_valid(id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "charge_id must be a ULID of 26 characters.");
}

static struct err check_user(const char *user_id)
{
    if (uuid_valid(user_id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT, "user_id must be a UUID in lower case.");
}

static struct err check_method(const char *id)
{
    if (name_valid(id))
        return ERR_NONE;
    return err_make(ERR_INVALID_ARGUMENT,
                    "payment_method_id must be 1 to %d letters, digits, dashes or "
                    "underscores.",
                    NAME_LENGTH_MAX);
}

static struct err check_charge(const Payment__V1__ChargeRequest *in)
{
    struct err e = check_id(in->charge_id);

    if (!failed(e))
        e = check_user(in->user_id);
    if (!failed(e))
        e = check_method(in->payment_method_id);
    if (!failed(e) && (in->amount_cents < 0 || in->amount_cents > TOTAL_CENTS_MAX))
        e = err_make(ERR_INVALID_ARGUMENT, "amount_cents must be 0 to %lld.",
                     (long long)TOTAL_CENTS_MAX);
    if (!failed(e) && !currency_valid(in->currency))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "currency must be three capital letters, such as EUR.");
    return e;
}

static void charge(Payment__V1__Payment_Service *service,
                   const Payment__V1__ChargeRequest *in,
                   Payment__V1__ChargeReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->charge_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, check_charge(in)))
        ledger_charge(self(service)->db, self(service)->provider, &ctx, in);
}

static void refund(Payment__V1__Payment_Service *service,
                   const Payment__V1__RefundRequest *in,
                   Payment__V1__RefundReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->charge_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_id(in->charge_id)))
        ledger_refund(self(service)->db, self(service)->provider, &ctx, in);
}

static void get_charge(Payment__V1__Payment_Service *service,
                       const Payment__V1__GetChargeRequest *in,
                       Payment__V1__GetChargeReply_Closure reply, void *call)
{
    struct request_context ctx;

    rpc_call_set_order(call, in->charge_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_id(in->charge_id)))
        ledger_get(self(service)->db, &ctx, in);
}

static struct err check_new_method(const Payment__V1__AddPaymentMethodRequest *in)
{
    struct err e = check_user(in->user_id);

    if (!failed(e))
        e = check_method(in->payment_method_id);
    if (!failed(e) && !visible_ascii(in->provider_token, 1, PROVIDER_TOKEN_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "provider_token must be 1 to %d visible ASCII characters.",
                     PROVIDER_TOKEN_MAX);
    if (!failed(e) && !utf8_valid(in->label, LABEL_SIZE_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "label must be at most %d bytes of plain UTF-8.", LABEL_SIZE_MAX);
    return e;
}

static void add_payment_method(Payment__V1__Payment_Service *service,
                               const Payment__V1__AddPaymentMethodRequest *in,
                               Payment__V1__AddPaymentMethodReply_Closure reply,
                               void *call)
{
    struct err e = check_new_method(in);
    struct request_context ctx;

    if (!failed(e) &&
        self(service)->provider->shared_method(in->payment_method_id) != NULL)
        e = err_make(ERR_ALREADY_EXISTS,
                     "%s is a method every user has; choose another id.",
                     in->payment_method_id);
    if (request_context_open(&ctx, call, (ProtobufCClosure)reply, e))
        ledger_add_method(self(service)->db, &ctx, in);
}

static void list_payment_methods(Payment__V1__Payment_Service *service,
                                 const Payment__V1__ListPaymentMethodsRequest *in,
                                 Payment__V1__ListPaymentMethodsReply_Closure reply,
                                 void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_user(in->user_id)))
        ledger_list_methods(self(service)->db, &ctx, in);
}

/* ---- audits ------------------------------------------------------------------------- */

static struct err check_page(int32_t limit, const char *after, const char *only_id)
{
    if (limit < 0 || limit > ENTRIES_PAGE_MAX)
        return err_make(ERR_INVALID_ARGUMENT, "limit must be 0 to %d, not %d.",
                        ENTRIES_PAGE_MAX, limit);
    if (after[0] != '\0' && !visible_ascii(after, 1, PAGE_AFTER_MAX))
        return err_make(ERR_INVALID_ARGUMENT,
                        "A page begins after at most %d visible ASCII characters.",
                        PAGE_AFTER_MAX);
    return only_id[0] == '\0' ? ERR_NONE : check_id(only_id);
}

static struct err check_newest(const Payment__V1__ListChargesRequest *in)
{
    struct err e = check_page(in->limit, in->before_id, "");

    if (!failed(e) && in->after_id[0] != '\0')
        e = err_make(ERR_INVALID_ARGUMENT,
                     "after_id cannot be combined with newest_first.");
    if (!failed(e) && in->only_id[0] != '\0')
        e = check_id(in->only_id);
    if (!failed(e) && in->user_id[0] != '\0')
        e = check_user(in->user_id);
    if (!failed(e) && (in->since_ms < 0 || in->since_ms >= ULID_MS_END ||
                       in->until_ms < 0 || in->until_ms >= ULID_MS_END))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "since_ms and until_ms must be Unix milliseconds, or 0.");
    if (!failed(e) && in->provider_charge_id[0] != '\0' &&
        !visible_ascii(in->provider_charge_id, 1, PROVIDER_ID_MAX))
        e = err_make(ERR_INVALID_ARGUMENT,
                     "provider_charge_id must be 1 to %d visible ASCII characters.",
                     PROVIDER_ID_MAX);
    if (!failed(e) && (in->state < 0 || in->state > PAYMENT__V1__CHARGE_STATE__REFUNDED))
        e = err_make(ERR_INVALID_ARGUMENT, "state %d is not a charge's state.",
                     (int)in->state);
    return e;
}

/* Filters that need newest_first. */
static bool has_filter(const Payment__V1__ListChargesRequest *in)
{
    return in->before_id[0] != '\0' || in->user_id[0] != '\0' || in->since_ms != 0 ||
           in->until_ms != 0 || in->provider_charge_id[0] != '\0' ||
           in->state != PAYMENT__V1__CHARGE_STATE__CHARGE_UNSPECIFIED;
}

static struct err check_charges(const Payment__V1__ListChargesRequest *in)
{
    if (in->newest_first)
        return check_newest(in);
    if (has_filter(in))
        return err_make(ERR_INVALID_ARGUMENT, "A filter needs newest_first.");
    return check_page(in->limit, in->after_id, in->only_id);
}

static void list_charges(Payment__V1__Payment_Service *service,
                         const Payment__V1__ListChargesRequest *in,
                         Payment__V1__ListChargesReply_Closure reply, void *call)
{
    struct request_context ctx;

    if (!request_context_open(&ctx, call, (ProtobufCClosure)reply, check_charges(in)))
        return;
    if (in->newest_first)
        ledger_list_newest(self(service)->db, &ctx, in);
    else
        ledger_list(self(service)->db, &ctx, in);
}

static void list_provider_charges(Payment__V1__Payment_Service *service,
                                  const Payment__V1__ListProviderChargesRequest *in,
                                  Payment__V1__ListProviderChargesReply_Closure reply,
                                  void *call)
{
    struct request_context ctx;

    if (request_context_open(&ctx, call, (ProtobufCClosure)reply,
                             check_page(in->limit, in->after_key, in->only_id)))
        ledger_list_provider(self(service)->provider, &ctx, in);
}

void payment_init(struct payment *payment, struct db *db, struct provider *provider)
{
    static const Payment__V1__Payment_Service METHODS = {
        .base = PAYMENT__V1__PAYMENT__BASE_INIT,
        .charge = charge,
        .refund = refund,
        .get_charge = get_charge,
        .add_payment_method = add_payment_method,
        .list_payment_methods = list_payment_methods,
        .list_charges = list_charges,
        .list_provider_charges = list_provider_charges,
    };

    *payment = (struct payment){METHODS, db, provider};
}
