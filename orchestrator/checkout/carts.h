/*
 * carts.h - carts as shoppers fill them.
 *
 * A cart is ordered at most once.  It cannot be changed while a checkout of it runs, nor
 * after it was ordered.  Both functions may be repeated.
 */
#pragma once

#include "db/db.h"
#include "proto/orders.pb-c.h"
#include "rpc/service/request_context.h"

/* A cart's version, in SQL, a hash of its lines in order.  It needs no column, and a cart
 * that was deleted and filled again has the same version only with the same lines.
 * `lines` is a jsonb. */
#define CART_VERSION(lines)                                                              \
    "left(encode(sha256(convert_to(" lines "::text, 'UTF8')), 'hex'), 32)"

/* A cart as it was read. */
struct cart_found {
    const char *lines_json;
    const char *version;
};

/* The cart as a message in the arena; the texts are borrowed. */
struct err cart_message(struct arena *arena, const char *cart_id,
                        const struct cart_found *found, Orders__V1__Cart **out)
    __attribute__((warn_unused_result));

/* CART_ALREADY_ORDERED, with the order as its subject, while a checkout of it runs or once one
 * has succeeded. */
void carts_put(struct db *db, const struct request_context *ctx,
               const Orders__V1__PutCartRequest *request);

/* NOT_FOUND. */
void carts_get(struct db *db, const struct request_context *ctx,
               const Orders__V1__GetCartRequest *request);

/* The kind of operation of carts_put. */
extern const struct db_kind CARTS_PUT;
