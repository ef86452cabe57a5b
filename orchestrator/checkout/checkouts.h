/*
 * checkouts.h - the rows of orders.checkouts: claim, transition, persist, leases, take-over.
 *
 * Promises: a key always names the same checkout and order; a cart is ordered at most
 * once; a checkout is changed only by an owner with its current epoch; an order, its
 * event and the end of its checkout commit together.  Every operation may be repeated
 * with the same result.
 *
 * A function that changes rows fills an operation's kind and head for db_submit; the
 * function below it reads the resulting rows.
 */
#pragma once

#include "db/db.h"
#include "orchestrator/checkout/carts.h"
#include "orchestrator/checkout/checkout.h"

/* ---- claim: one key, one checkout ---------------------------------------------------- */

enum claim_result {
    CLAIM_OURS,       /* claimed now: run it */
    CLAIM_KNOWN,      /* the key has a checkout, of the same request: see its state */
    CLAIM_KEY_REUSED, /* the key belongs to another request of its user */
    CLAIM_CART_NOT_FOUND,
    CLAIM_CART_EMPTY,
    CLAIM_CART_CHANGED,    /* not the expected version */
    CLAIM_ALREADY_ORDERED, /* another key's checkout has the cart */
    CLAIM_AGAIN,           /* retry: the cart is being changed, or the key became free */
};

/* Takes from `c`: order_id (new), idempotency_key, user_id, cart_id, payment_method_id,
 * fingerprint, and what is expected.  The operation borrows them. */
void checkouts_claim(struct db_op *op, const struct checkout *c, const char *owner,
                     int64_t lease_ms);

/* The result of a claim; all of it in the arena. */
struct claimed {
    enum claim_result result;
    struct checkout row;    /* on CLAIM_OURS and CLAIM_KNOWN */
    const char *order_id;   /* on CLAIM_ALREADY_ORDERED: its order; NULL: none yet */
    struct cart_found cart; /* on CLAIM_CART_CHANGED: the current cart */
};

/* `c` is the requested checkout, as given to the claim. */
struct err checkouts_claimed(const struct db_rows *rows, struct arena *arena,
                             const struct checkout *c, struct claimed *out)
    __attribute__((warn_unused_result));

/* Fills `query`: the checkout of a stored key, read like a claim's answer by checkouts_found; no
 * row when there is none.  Borrows both. */
void checkouts_find(struct db_query *query, const char *stored_key, const char *user_id);
struct err checkouts_found(const struct db_rows *rows, struct arena *arena,
                           struct checkout *out) __attribute__((warn_unused_result));

/* ---- the owner's changes, each conditional on epoch ---------------------------------- */

/* Why a step failed, for operators; the texts are borrowed. */
struct incident {
    const char *step;
    int64_t tries;
    const char *cause; /* a sentence */
};

/* To aborting or failed, with c->failure.  `why` is the refused step; NULL when that is
 * already recorded. */
void checkouts_transition(struct db_op *op, const struct checkout *c,
                          enum checkout_state to, const struct incident *why);

/* Order, event and the checkout's end.  `lines_json` is borrowed. */
void checkouts_persist(struct db_op *op, const struct checkout *c,
                       const char *lines_json);

/* The checkout after a transition or persist, by this owner or another: its state and
 * epoch, and when its order was written. */
struct transitioned {
    enum checkout_state state;
    int64_t epoch;
    int64_t created_at_ms;
};
struct err checkouts_transitioned(const struct db_rows *rows, struct transitioned *out)
    __attribute__((warn_unused_result));

/* Extends the lease.  `order_id` is borrowed. */
void checkouts_renew(struct db_op *op, const char *order_id, int64_t epoch,
                     int64_t lease_ms);

/* Flags the checkout for operators: its compensation keeps failing. */
void checkouts_need_attention(struct db_op *op, const char *order_id, int64_t epoch,
                              const struct incident *why);

/* Takes over up to `limit` unfinished checkouts past their lease; one row each, read by
 * checkouts_taken into the arena. */
void checkouts_take_over(struct db_op *op, const char *owner, int64_t lease_ms,
                         int64_t limit);
struct err checkouts_taken(const struct db_rows *rows, int row, struct arena *arena,
                           struct checkout *out) __attribute__((warn_unused_result));

/* The kinds of operation of the functions above. */
extern const struct db_kind CHECKOUTS_CLAIM, CHECKOUTS_TRANSITION, CHECKOUTS_PERSIST,
    CHECKOUTS_RENEW, CHECKOUTS_NEED_ATTENTION, CHECKOUTS_TAKE_OVER;
