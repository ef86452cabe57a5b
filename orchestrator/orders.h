/*
 * orders.h - checkouts, orders, carts and the outbox: all of the orchestrator's SQL.
 *
 * Promises: a key names one checkout and one order for good; a cart is ordered once; a
 * checkout changes only under the epoch its owner knows; an order, its event and its
 * checkout's end commit together.  Every function may be repeated and then gives the same.
 *
 * Functions that change rows fill an operation for db_submit; what its rows say is read by
 * the function beside it.  Functions of the RPC service take a request context.
 */
#pragma once

#include "db/db.h"
#include "orchestrator/checkout.h"
#include "rpc/service/request_context.h"

/* The orchestrator's kinds of operation, for db_open. */
void orders_configure(struct db_config *config);

/* ---- carts ---------------------------------------------------------------------------- */

/* A cart's version, in SQL: equal for equal lines in equal order, so it needs no column, and
 * a cart that was deleted and filled anew cannot pass for another.  `lines` is a jsonb. */
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

/* ---- claim: one key, one checkout ---------------------------------------------------- */

enum claim_result {
    CLAIM_OURS,       /* claimed now: run it */
    CLAIM_KNOWN,      /* the key's checkout, of the same request: `out` tells its state */
    CLAIM_KEY_REUSED, /* the key belongs to another request of its user */
    CLAIM_CART_NOT_FOUND,
    CLAIM_CART_EMPTY,
    CLAIM_CART_CHANGED,    /* not the expected version */
    CLAIM_ALREADY_ORDERED, /* another key's checkout has the cart */
    CLAIM_AGAIN, /* somebody else is changing the cart, or the key is free after all */
};

/* Of `c`: order_id (new), idempotency_key, user_id, cart_id, payment_method_id, fingerprint,
 * and what is expected.  The operation borrows them. */
void orders_claim(struct db_op *op, const struct checkout *c, const char *owner,
                  int64_t lease_ms);

/* What a claim came to; all of it in the arena. */
struct claimed {
    enum claim_result result;
    struct checkout row;    /* on CLAIM_OURS and CLAIM_KNOWN */
    const char *order_id;   /* on CLAIM_ALREADY_ORDERED: its order; NULL: none yet */
    struct cart_found cart; /* on CLAIM_CART_CHANGED: as it is */
};

/* `c` is what was to be claimed. */
struct err orders_claimed(const struct db_rows *rows, struct arena *arena,
                          const struct checkout *c, struct claimed *out)
    __attribute__((warn_unused_result));

/* Fills `query`: the checkout of a stored key, read like a claim's answer by orders_found; no
 * row when there is none.  Borrows both. */
void orders_find(struct db_query *query, const char *stored_key, const char *user_id);
struct err orders_found(const struct db_rows *rows, struct arena *arena,
                        struct checkout *out) __attribute__((warn_unused_result));

/* ---- the owner's changes, each conditional on epoch ---------------------------------- */

/* Why a checkout did not go straight to its end, for operators; the texts are borrowed. */
struct incident {
    const char *step;
    int64_t tries;
    const char *cause; /* a sentence */
};

/* To aborting or failed, with c->failure.  `why` tells of the step that was refused; NULL
 * when that was told before. */
void orders_turn(struct db_op *op, const struct checkout *c, enum checkout_state to,
                 const struct incident *why);

/* Order, event and the checkout's end.  `lines_json` is borrowed. */
void orders_persist(struct db_op *op, const struct checkout *c, const char *lines_json);

/* What a turn or persist found: the row's state and epoch now, and the order's time. */
struct turned {
    enum checkout_state state;
    int64_t epoch;
    int64_t created_at_ms;
};
struct err orders_turned(const struct db_rows *rows, struct turned *out)
    __attribute__((warn_unused_result));

/* Puts off the lease's end.  `order_id` is borrowed. */
void orders_renew(struct db_op *op, const char *order_id, int64_t epoch,
                  int64_t lease_ms);

/* Raises a flag for operators: undoing this checkout keeps failing. */
void orders_need_attention(struct db_op *op, const char *order_id, int64_t epoch,
                           const struct incident *why);

/* Takes over up to `limit` unfinished checkouts past their lease; one row each, read by
 * orders_taken into the arena. */
void orders_take_over(struct db_op *op, const char *owner, int64_t lease_ms,
                      int64_t limit);
struct err orders_taken(const struct db_rows *rows, int row, struct arena *arena,
                        struct checkout *out) __attribute__((warn_unused_result));

/* ---- pruning: finished checkouts end, their orders do not ---------------------------- */

/* Which checkouts: ids below `before`, finished so long ago; a cart's mark must be so old. */
struct prunable {
    char before[ULID_SIZE];
    int64_t kept_ms, settle_ms;
};

/* Fills `query`: one row if orders_prune has something to do. */
void orders_find_prunable(struct db_query *query, const struct prunable *what);

/* Marks the carts of up to `limit` such checkouts, or deletes those whose cart is marked or
 * was not ordered.  Running it twice prunes more of the same. */
void orders_prune(struct db_op *op, const struct prunable *what, int64_t limit);

/* How many carts it marked and checkouts it deleted; 0 when somebody else holds all of them. */
int64_t orders_pruned(const struct db_rows *rows);

/* Its kind of operation. */
extern const struct db_kind CHECKOUTS_PRUNE;

/* ---- the service's -------------------------------------------------------------------- */

/* NOT_FOUND; with a user_id only that user's. */
void orders_get(struct db *db, const struct request_context *ctx,
                const Orders__V1__GetOrderRequest *request);

/* Newest first, or the one of a key; INVALID_ARGUMENT for a cursor that was not made with
 * `cursor_key` (CURSOR_KEY_SIZE bytes) for this user. */
void orders_list(struct db *db, const struct request_context *ctx,
                 const uint8_t *cursor_key, const Orders__V1__ListOrdersRequest *request);

/* CART_ALREADY_ORDERED, with the order as its subject, once a checkout runs or has succeeded
 * on it. */
void carts_put(struct db *db, const struct request_context *ctx,
               const Orders__V1__PutCartRequest *request);

/* NOT_FOUND. */
void carts_get(struct db *db, const struct request_context *ctx,
               const Orders__V1__GetCartRequest *request);

/* Carts' kind of operation. */
extern const struct db_kind CARTS_PUT;

/* ---- for operators and audits: orders_audit.c ------------------------------------------ */

/* A page by id of checkouts, and of orders without one; or the one of `only_id`. */
void orders_list_checkouts(struct db *db, const struct request_context *ctx,
                           const Orders__V1__ListCheckoutsRequest *request,
                           int64_t lease_ms);

/* The same of newest_first; see proto/orders.proto. */
void orders_list_newest(struct db *db, const struct request_context *ctx,
                        const Orders__V1__ListCheckoutsRequest *request,
                        int64_t lease_ms);

/* NOT_FOUND. */
void orders_get_checkout(struct db *db, const struct request_context *ctx,
                         const Orders__V1__GetCheckoutRequest *request, int64_t lease_ms);

/* Ends the owner's lease and raises the epoch, so that the owner, should it live, changes
 * nothing more.  NOT_FOUND; FAILED_PRECONDITION when the checkout is finished. */
void orders_retry(struct db *db, const struct request_context *ctx,
                  const Orders__V1__RetryCheckoutRequest *request);

/* Retry's kind of operation. */
extern const struct db_kind CHECKOUTS_RETRY;
