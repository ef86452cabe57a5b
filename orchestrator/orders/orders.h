/*
 * orders.h - reads of orders and checkouts: by their user (read.c), and by operators and
 * audits (audit.c), who may also retry a checkout.
 */
#pragma once

#include "db/db.h"
#include "proto/orders.pb-c.h"
#include "rpc/service/request_context.h"

/* ---- for the user: read.c -------------------------------------------------------------- */

/* NOT_FOUND; with a user_id only that user's. */
void orders_get(struct db *db, const struct request_context *ctx,
                const Orders__V1__GetOrderRequest *request);

/* Newest first, or the order of one key; INVALID_ARGUMENT for a cursor that was not
 * sealed with `cursor_key` (CURSOR_KEY_SIZE bytes) for this user. */
void orders_list(struct db *db, const struct request_context *ctx,
                 const uint8_t *cursor_key, const Orders__V1__ListOrdersRequest *request);

/* ---- for operators and audits: audit.c ------------------------------------------------- */

/* A page by id of checkouts, and of orders without one; or the one of `only_id`. */
void orders_list_checkouts(struct db *db, const struct request_context *ctx,
                           const Orders__V1__ListCheckoutsRequest *request,
                           int64_t lease_ms);

/* The same for newest_first; see proto/orders.proto. */
void orders_list_newest(struct db *db, const struct request_context *ctx,
                        const Orders__V1__ListCheckoutsRequest *request,
                        int64_t lease_ms);

/* NOT_FOUND. */
void orders_get_checkout(struct db *db, const struct request_context *ctx,
                         const Orders__V1__GetCheckoutRequest *request, int64_t lease_ms);

/* Ends the owner's lease and raises the epoch, so that the owner, if still alive, can
 * change nothing more.  NOT_FOUND; FAILED_PRECONDITION when the checkout is finished. */
void orders_retry(struct db *db, const struct request_context *ctx,
                  const Orders__V1__RetryCheckoutRequest *request);

/* The kind of operation of orders_retry. */
extern const struct db_kind CHECKOUTS_RETRY;
