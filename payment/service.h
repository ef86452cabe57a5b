/* service.h - payment's RPC methods: validate, call the ledger, reply. */
#pragma once

#include "db/db.h"
#include "payment/provider.h"
#include "proto/payment.pb-c.h"

struct payment {
    Payment__V1__Payment_Service service; /* first: handlers get a pointer to it */
    struct db *db;
    struct provider *provider;
};

/* Fills in the methods; `db` and `provider` are borrowed and must outlive the service. */
void payment_init(struct payment *payment, struct db *db, struct provider *provider);
