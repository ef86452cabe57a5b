/*
 * ledger.h - charges, refunds and payment methods: all of payment's SQL.
 *
 *   (charge) --> intent --> captured --> refunding --> refunded
 *                  |  \--> declined         ^
 *                  \-----------------------/         (refund first) --> refunded: tombstone
 *
 * Promises: an intent is in the ledger before the provider is called, so the ledger has
 * every charge; an outcome is written once; a refunded id is never charged, even if the
 * refund came first.  Each function may be repeated with the same ids and then returns
 * the same answer.
 *
 * Every function takes a request already validated, and the context it runs in.  The
 * request must live until the request context's `done`.
 */
#pragma once

#include "db/db.h"
#include "payment/provider.h"
#include "proto/payment.pb-c.h"
#include "rpc/service/request_context.h"

/* Payment's kinds of operation, for db_open. */
void ledger_configure(struct db_config *config);

/*
 * Intent, then the provider, then the outcome.  PAYMENT_DECLINED, also for a method that
 * is not the user's; ABORTED when the id was refunded; ALREADY_EXISTS when the id was
 * used for another charge; effect unknown when the provider did not answer.
 */
void ledger_charge(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__ChargeRequest *request);

/* Prevents any later charge of the id, then refunds what the provider charged under it, if
 * anything.  Repeating is safe. */
void ledger_refund(struct db *db, struct provider *provider,
                   const struct request_context *ctx,
                   const Payment__V1__RefundRequest *request);

/* NOT_FOUND. */
void ledger_get(struct db *db, const struct request_context *ctx,
                const Payment__V1__GetChargeRequest *request);

/* ALREADY_EXISTS when the id names another token. */
void ledger_add_method(struct db *db, const struct request_context *ctx,
                       const Payment__V1__AddPaymentMethodRequest *request);
void ledger_list_methods(struct db *db, const struct request_context *ctx,
                         const Payment__V1__ListPaymentMethodsRequest *request);

/* ---- for audits ---------------------------------------------------------------------- */

/* A page by id, after `after_id`, or only `only_id` if it exists. */
void ledger_list(struct db *db, const struct request_context *ctx,
                 const Payment__V1__ListChargesRequest *request);

/* The same for newest_first; see proto/payment.proto. */
void ledger_list_newest(struct db *db, const struct request_context *ctx,
                        const Payment__V1__ListChargesRequest *request);

/* The same from the provider's own ledger, by key. */
void ledger_list_provider(struct provider *provider, const struct request_context *ctx,
                          const Payment__V1__ListProviderChargesRequest *request);

/* The provider's idempotency key of a charge, in the arena; NULL when memory is short. */
char *ledger_key(struct arena *arena, const char *charge_id)
    __attribute__((warn_unused_result));
