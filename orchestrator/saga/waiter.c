/* waiter.c - see waiter.h. */
#include "orchestrator/saga/waiter.h"

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/checkout/checkouts.h"
#include "rpc/common/timer.h"

enum {
    MARGIN_MS = 150,     /* before the caller's deadline, for the answer to reach it */
    PAUSE_LEAST_MS = 20, /* between polls of the row, doubling */
    PAUSE_MOST_MS = 320,
};

struct waiter *waiter_new(struct rpc_call *call, Orders__V1__PlaceReply_Closure reply,
                          const char *key, const char *user_id, struct db *db)
{
    struct waiter *waiter = arena_alloc(rpc_call_arena(call), sizeof *waiter);

    if (waiter == NULL)
        return NULL;
    *waiter = (struct waiter){.call = call,
                              .reply = reply,
                              .key = key,
                              .user_id = user_id,
                              .deadline_ms = rpc_call_deadline(call) - MARGIN_MS,
                              .db = db,
                              .pause_ms = PAUSE_LEAST_MS};
    rpc_call_trace(call, &waiter->trace);
    return waiter;
}

void waiter_finish(struct waiter *waiter, const struct checkout *checkout)
{
    Orders__V1__PlaceReply reply = ORDERS__V1__PLACE_REPLY__INIT;

    if (waiter->joined)
        rpc_call_replayed(waiter->call);
    if (checkout->state != CHECKOUT_COMPLETED) {
        rpc_call_fail(waiter->call, checkout->failure);
        return;
    }
    reply.order = checkout_order(rpc_call_arena(waiter->call), checkout);
    if (reply.order == NULL)
        rpc_call_fail(waiter->call, err_memory());
    else
        waiter->reply(&reply, waiter->call);
}

void waiter_cart_changed(struct waiter *waiter, Orders__V1__Cart *cart)
{
    Orders__V1__PlaceReply reply = ORDERS__V1__PLACE_REPLY__INIT;

    reply.changed_cart = cart;
    waiter->reply(&reply, waiter->call);
}

void waiter_fail(struct waiter *waiter, struct err error)
{
    rpc_call_fail(waiter->call, error);
}

void waiter_expire(struct waiter *waiter)
{
    waiter_fail(
        waiter,
        waiter->joined
            ? err_make(ERR_CHECKOUT_IN_PROGRESS,
                       "An earlier request with this key is still running; ask again.")
            : err_unknown(ERR_DEADLINE_EXCEEDED,
                          "The outcome is not known yet; ask again with the same key."));
}

static void poll_row(void *arg);

/* Polls again after a pause; without time for that, answers with the state last
 * `seen`. */
static void poll_again(struct waiter *waiter, const struct checkout *seen)
{
    int64_t pause = waiter->pause_ms;

    waiter->pause_ms = pause * 2 > PAUSE_MOST_MS ? PAUSE_MOST_MS : pause * 2;
    if (clock_monotonic_ms() + pause < waiter->deadline_ms &&
        !failed(timer_after(pause, poll_row, waiter)))
        return;
    if (seen->state == CHECKOUT_ABORTING)
        waiter_finish(waiter, seen); /* its failure is durable, if not yet undone */
    else
        waiter_expire(waiter);
}

/* The claim found the row, so it must exist. */
static struct err missing(const struct waiter *waiter)
{
    log_line(LOG_ERROR, "checkout_row_missing", "request=%s order=%s",
             rpc_call_id(waiter->call), rpc_call_order(waiter->call));
    return err_make(ERR_DATA_LOSS, "The checkout's row is missing.");
}

static void on_found(void *arg, struct err error, const struct db_rows *rows)
{
    struct waiter *waiter = arg;
    struct checkout checkout = {.state = CHECKOUT_RUNNING};

    if (!failed(error))
        error = rows->count > 0
                    ? checkouts_found(rows, rpc_call_arena(waiter->call), &checkout)
                    : missing(waiter);
    if (error.code == ERR_DATA_LOSS) {
        error.effect = EFFECT_UNKNOWN;
        waiter_fail(waiter, error);
    } else if (!failed(error) && (checkout.state == CHECKOUT_COMPLETED ||
                                  checkout.state == CHECKOUT_FAILED))
        waiter_finish(waiter, &checkout);
    else /* also when this read failed */
        poll_again(waiter, &checkout);
}

static void poll_row(void *arg)
{
    struct waiter *waiter = arg;

    waiter->query = (struct db_query){.deadline_ms = waiter->deadline_ms,
                                      .request = rpc_call_id(waiter->call),
                                      .order = rpc_call_order(waiter->call),
                                      .done = on_found,
                                      .arg = waiter};
    checkouts_find(&waiter->query, waiter->key, waiter->user_id);
    db_read(waiter->db, &waiter->query);
}

void waiter_poll(struct waiter *waiter)
{
    poll_row(waiter);
}
