/* claim.c - see claim.h. */
#include "orchestrator/saga/claim.h"

#include "base/clock.h"
#include "orchestrator/checkout/checkouts.h"
#include "rpc/common/timer.h"

enum {
    SAGA_ARENA_MAX = 1 << 20,
    PAUSE_MOST_MS = 64, /* between claims of a cart that is being changed, doubling */
    CLAIM_MS = 50,      /* with less time left no claim is attempted */
};

/* A Place call until its checkout runs or is found: in the call's arena. */
struct placing {
    struct sagas *sagas;
    struct waiter *waiter;
    struct checkout asked;
    char order_id[ULID_SIZE];
    struct arena *arena; /* the saga's, if there is one */
    int64_t pause_ms;    /* before the next claim, if this one must be repeated */
    struct db_op op;
};

static struct err key_reused(void)
{
    return err_make(ERR_IDEMPOTENCY_KEY_REUSED,
                    "This idempotency key belongs to another request; use a new key.");
}

/*
 * The ways to end without a saga of our own.  Once the call is answered, or given to a
 * saga that may answer it at any moment, its arena must not be touched.  So each function
 * works on a copy, `own`, of the placing.
 */
static void leave(const struct placing *own)
{
    arena_free(own->arena);
    sagas_leave(own->sagas);
}

static void refuse(const struct placing *p, struct err error)
{
    const struct placing own = *p;

    waiter_fail(own.waiter, error);
    leave(&own);
}

/* The failure is durable, so it is replayed even while steps are still being undone. */
static void reply_refused(struct waiter *waiter, struct err refusal)
{
    const struct checkout aborting = {.state = CHECKOUT_ABORTING, .failure = refusal};

    waiter->joined = true;
    waiter_finish(waiter, &aborting);
}

/* The key had a checkout before: answers with its end, or waits for it: in its saga here, or
 * by polling if it runs in another process or has just ended. */
static void follow(const struct placing *p, const struct checkout *known)
{
    const struct placing own = *p;
    struct err refusal;

    own.waiter->joined = true;
    rpc_call_set_order(own.waiter->call, known->order_id);
    if (known->state == CHECKOUT_COMPLETED || known->state == CHECKOUT_FAILED) {
        waiter_finish(own.waiter, known);
        leave(&own); /* `known` lived in its arena */
        return;
    }
    switch (sagas_join(own.sagas, own.asked.idempotency_key, own.asked.user_id,
                       own.asked.fingerprint, own.waiter, &refusal)) {
    case SAGA_JOINED:
        break;
    case SAGA_REFUSED:
        reply_refused(own.waiter, refusal);
        break;
    case SAGA_NOT_HERE:
    case SAGA_OTHER_REQUEST:
        waiter_poll(own.waiter);
        break;
    }
    leave(&own);
}

static void refuse_ordered(struct placing *p, const char *order_id)
{
    struct err e = err_make(ERR_CART_ALREADY_ORDERED, "Cart %s is already ordered.",
                            p->asked.cart_id);

    e.subject = order_id;
    rpc_call_set_order(p->waiter->call, order_id);
    refuse(p, e);
}

static void reply_changed(const struct placing *p, const struct cart_found *found)
{
    const struct placing own = *p;
    Orders__V1__Cart *cart;
    struct err e = cart_message(own.arena, own.asked.cart_id, found, &cart);

    if (failed(e))
        waiter_fail(own.waiter, e);
    else
        waiter_cart_changed(own.waiter, cart);
    leave(&own);
}

static void submit(void *placing);

/* Retries after a pause, since changing the cart takes a moment.  Without time for that
 * the call ends here, where nothing was claimed; a claim past its deadline would have
 * unknown outcome. */
static void claim_again(struct placing *p)
{
    int64_t pause = p->pause_ms;

    if (clock_monotonic_ms() + pause + CLAIM_MS > p->waiter->deadline_ms) {
        refuse(p, err_make(ERR_RESOURCE_EXHAUSTED, "Cart %s is being changed; try again.",
                           p->asked.cart_id));
        return;
    }
    p->pause_ms = pause * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause * 2;
    arena_reset(p->arena);
    struct err e = timer_after(pause, submit, p);
    if (failed(e))
        refuse(p, e);
}

static void on_claimed(void *arg, struct err error, const struct db_rows *rows)
{
    struct placing *p = arg;
    struct claimed claimed;

    if (!failed(error))
        error = checkouts_claimed(rows, p->arena, &p->asked, &claimed);
    if (failed(error)) {
        refuse(p, error);
        return;
    }
    const char *cart_id = p->asked.cart_id;
    switch (claimed.result) {
    case CLAIM_OURS:
        sagas_run(p->sagas, &claimed.row, p->arena, p->waiter);
        break;
    case CLAIM_KNOWN:
        follow(p, &claimed.row);
        break;
    case CLAIM_KEY_REUSED:
        refuse(p, key_reused());
        break;
    case CLAIM_CART_NOT_FOUND:
        refuse(p, err_make(ERR_NOT_FOUND, "There is no cart %s.", cart_id));
        break;
    case CLAIM_CART_EMPTY:
        refuse(p, err_make(ERR_CART_EMPTY, "Cart %s is empty.", cart_id));
        break;
    case CLAIM_CART_CHANGED:
        reply_changed(p, &claimed.cart);
        break;
    case CLAIM_AGAIN:
        claim_again(p);
        break;
    case CLAIM_ALREADY_ORDERED:
        refuse_ordered(p, claimed.order_id);
        break;
    }
}

static void submit(void *placing)
{
    struct placing *p = placing;

    checkouts_claim(&p->op, &p->asked, sagas_owner(p->sagas),
                    sagas_config(p->sagas)->lease_ms);
    p->op.deadline_ms = p->waiter->deadline_ms;
    p->op.cancel = rpc_call_cancel(p->waiter->call);
    p->op.request = rpc_call_id(p->waiter->call);
    p->op.done = on_claimed;
    p->op.arg = p;
    db_submit(sagas_config(p->sagas)->db, &p->op);
}

static const char *text_or_null(const char *text)
{
    return text[0] == '\0' ? NULL : text;
}

static struct placing *new_placing(struct sagas *sagas, struct waiter *waiter,
                                   const Orders__V1__PlaceRequest *in)
{
    struct placing *p = arena_alloc(rpc_call_arena(waiter->call), sizeof *p);

    if (p == NULL)
        return NULL;
    ulid_make(p->order_id);
    p->sagas = sagas;
    p->waiter = waiter;
    p->pause_ms = 1;
    p->asked = (struct checkout){
        .order_id = p->order_id,
        .idempotency_key = waiter->key,
        .user_id = in->user_id,
        .cart_id = in->cart_id,
        .payment_method_id = in->payment_method_id,
        .fingerprint = in->fingerprint.data,
        .expected_total_cents =
            in->expected_total == NULL ? -1 : in->expected_total->cents,
        .expected_currency = text_or_null(in->expected_currency),
        .expected_cart_version = text_or_null(in->expected_cart_version),
        .traceparent = waiter->trace.parent,
        .request_id = rpc_call_id(waiter->call),
    };
    p->arena = arena_new(SAGA_ARENA_MAX);
    return p->arena == NULL ? NULL : p;
}

/* No saga here has the key: claim it. */
static void begin(struct sagas *sagas, struct waiter *waiter,
                  const Orders__V1__PlaceRequest *in)
{
    if (!sagas_admit(sagas)) {
        waiter_fail(waiter,
                    err_make(ERR_RESOURCE_EXHAUSTED, "Too many checkouts are under "
                                                     "way; try again shortly."));
        return;
    }
    struct placing *p = new_placing(sagas, waiter, in);
    if (p != NULL) {
        submit(p);
        return;
    }
    sagas_leave(sagas);
    waiter_fail(waiter, err_memory());
}

void claim_place(struct sagas *sagas, struct rpc_call *call,
                 const Orders__V1__PlaceRequest *in, Orders__V1__PlaceReply_Closure reply)
{
    const char *key =
        checkout_key(rpc_call_arena(call), in->user_id, in->idempotency_key);
    struct waiter *waiter =
        key == NULL ? NULL
                    : waiter_new(call, reply, key, in->user_id, sagas_config(sagas)->db);
    struct err refusal;

    if (waiter == NULL) {
        rpc_call_fail(call, err_memory());
        return;
    }
    switch (sagas_join(sagas, key, in->user_id, in->fingerprint.data, waiter, &refusal)) {
    case SAGA_JOINED:
        return;
    case SAGA_REFUSED:
        /* Another owner may have refunded while this process was suspended. */
        if (refusal.money == MONEY_REFUND_PENDING)
            begin(sagas, waiter, in);
        else
            reply_refused(waiter, refusal);
        return;
    case SAGA_OTHER_REQUEST:
        waiter_fail(waiter, key_reused());
        return;
    case SAGA_NOT_HERE:
        begin(sagas, waiter, in);
        return;
    }
}
