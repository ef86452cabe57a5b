/*
 * sandbox.h - a card provider for tests and demonstrations, with a durable ledger.
 *
 * It behaves like a card network: one charge for each key, stored answers, and methods
 * that decline, hang, or fail first.  Its real charges are in sandbox.charges, in its own
 * schema, whatever answer the caller got.
 *
 *   pm_card_visa               approves
 *   pm_card_chargeDeclined     declines: card_declined
 *   pm_card_insufficientFunds  declines: insufficient_funds
 *   pm_card_processingError    declines: processing_error
 *   pm_card_stolenCard         declines: stolen_card
 *   pm_card_timeout            charges, but the first answer is lost
 *   pm_card_late               charges, and answers after two seconds
 *   pm_card_failOnce           fails the first time without charging, then approves
 *   pm_card_unreachable        never charges, never answers
 */
#pragma once

#include "payment/provider.h"

/* `database_url` is of the role checkout_sandbox.  Free with sandbox_close. */
struct err sandbox_open(const char *database_url, struct provider **out)
    __attribute__((warn_unused_result));
void sandbox_close(struct provider *sandbox); /* NULL is allowed */
