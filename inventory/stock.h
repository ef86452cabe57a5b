/*
 * stock.h - stock, reservations and products: all of the inventory's SQL.
 *
 *   (reserve) --> held --> confirmed --> released
 *                  |  \--> released
 *                  \-----> expired
 *   (reserve) --> refused         (release first) --> released: the tombstone
 *
 * Promises: available never goes below zero; received = available + held + sold in every
 * committed state; a reservation holds all of its lines or none; each function may be
 * repeated with the same ids and then gives the same answer.  A batch first locks the
 * stock rows it needs, in SKU order.
 *
 * Every function takes a request already validated, and the context it runs in.  The
 * request must live until the request context's `done`, which is called on a database
 * thread or before the function returns.
 */
#pragma once

#include "db/db.h"
#include "proto/inventory.pb-c.h"
#include "rpc/service/request_context.h"

/* The inventory's kinds of operation and its lock, for db_open. */
void stock_configure(struct db_config *config);

/*
 * Lines are summed by SKU, in the arena.  Errors: OUT_OF_STOCK and UNKNOWN_SKU (subject:
 * the SKUs), FAILED_PRECONDITION for mixed currencies; ABORTED when the id was released
 * before, RESERVATION_EXPIRED when it expired.
 */
void stock_reserve(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReserveRequest *request, int64_t ttl_ms);

/* RESERVATION_EXPIRED, ABORTED (released), NOT_FOUND, or the error of its refusal. */
void stock_confirm(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ConfirmRequest *request);

/* Succeeds in every state; releasing an unknown id prevents any later reserve. */
void stock_release(struct db *db, const struct request_context *ctx,
                   const Inventory__V1__ReleaseRequest *request);

/* The first fills a query for up to `limit` ids of held reservations past their end.  The
 * second fills an operation that expires such a reservation, and does nothing to any
 * other. */
void stock_find_expired(struct db_query *query, int64_t limit);
void stock_expire(struct db_op *op, const char *id);

/*
 * One round of expiry: finds up to 256 reservations past their end, and releases their
 * stock through the writer.  `db` is a struct db.  A worker's task
 * (base/program/worker.h): it blocks, at most 20 seconds, and returns 0, or how long to
 * pause when nothing had expired.  So a reservation expires late by its own age or ten
 * seconds at most, whichever is less.  Any number of replicas may run it at once, since
 * expiry is conditional on the state.
 */
int64_t stock_reap(void *db);

/* NOT_FOUND; ALREADY_EXISTS when the id was used for another adjustment;
 * FAILED_PRECONDITION when available would go below zero. */
void stock_adjust(struct db *db, const struct request_context *ctx,
                  const Inventory__V1__AdjustStockRequest *request,
                  const char *adjustment_id);

void stock_put_product(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__PutProductRequest *request);

/* NOT_FOUND. */
void stock_get(struct db *db, const struct request_context *ctx,
               const Inventory__V1__GetStockRequest *request);
void stock_get_reservation(struct db *db, const struct request_context *ctx,
                           const Inventory__V1__GetReservationRequest *request);

/*
 * A page by SKU of the products that match the filters: products.c.  `cursor_key` seals
 * the cursors (CURSOR_KEY_SIZE bytes; copied).  INVALID_ARGUMENT for a cursor that was
 * not sealed with it for these filters.
 */
void stock_list_products(struct db *db, const struct request_context *ctx,
                         const uint8_t *cursor_key,
                         const Inventory__V1__ListProductsRequest *request);

/* ---- for audits ---------------------------------------------------------------------- */

/* A page by id, after `after_id`, or only `only_id` if it exists. */
void stock_list_reservations(struct db *db, const struct request_context *ctx,
                             const Inventory__V1__ListReservationsRequest *request);

/* The same for newest_first; see proto/inventory.proto. */
void stock_list_newest(struct db *db, const struct request_context *ctx,
                       const Inventory__V1__ListReservationsRequest *request);

/* A page by SKU, with the figures of the stock and those computed from the books, all of one
 * snapshot. */
void stock_list(struct db *db, const struct request_context *ctx,
                const Inventory__V1__ListStockRequest *request);
