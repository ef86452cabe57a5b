/* service.h - the orchestrator's RPC methods: validate, hand over, reply. */
#pragma once

#include "base/contract/cursor.h"
#include "db/db.h"
#include "orchestrator/saga/registry.h"
#include "proto/orders.pb-c.h"

struct orchestrator {
    Orders__V1__Orders_Service service; /* first: handlers get a pointer to it */
    struct db *db;
    struct sagas *sagas;
    const uint8_t *_Atomic cursor_key; /* may be replaced while serving */
};

/* Fills in the methods; all is borrowed and must outlive the service.  Cursors of lists are
 * sealed with `cursor_key`, CURSOR_KEY_SIZE bytes that all replicas have. */
void orchestrator_init(struct orchestrator *orchestrator, struct db *db,
                       struct sagas *sagas, const uint8_t *cursor_key);
