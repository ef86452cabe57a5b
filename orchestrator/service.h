/* service.h - the orchestrator's RPC methods: validate, hand over, reply. */
#pragma once

#include "db/db.h"
#include "orchestrator/saga.h"
#include "proto/orders.pb-c.h"

struct orchestrator {
    Orders__V1__Orders_Service service; /* first: handlers get a pointer to it */
    struct db *db;
    struct sagas *sagas;
};

/* Fills in the methods; `db` and `sagas` are borrowed and must outlive the service. */
void orchestrator_init(struct orchestrator *orchestrator, struct db *db, struct sagas *sagas);
