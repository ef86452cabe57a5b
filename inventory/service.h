/* service.h - the inventory's RPC methods: validate, call the store, reply. */
#pragma once

#include "base/contract/cursor.h"
#include "db/db.h"
#include "proto/inventory.pb-c.h"

struct worker;

struct inventory {
    Inventory__V1__Inventory_Service service; /* first: handlers get a pointer to it */
    struct db *db;
    int64_t reservation_ttl_ms;
    struct worker *reaper; /* woken by each Reserve; NULL: none; set it before serving */
    const uint8_t *_Atomic cursor_key; /* may be replaced while serving */
};

/* Fills in the methods; `db` and the CURSOR_KEY_SIZE bytes at `cursor_key` are borrowed and must
 * outlive the service. */
void inventory_init(struct inventory *inventory, struct db *db,
                    int64_t reservation_ttl_ms, const uint8_t *cursor_key);
