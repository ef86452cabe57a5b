/* engine.c - see engine.h. */
#include "orchestrator/saga/engine.h"

#include <sodium.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "orchestrator/checkout/checkouts.h"
#include "rpc/common/timer.h"

enum {
    SCRATCH_MAX = 1 << 20,
    BACKOFF_LEAST_MS = 50, /* between attempts, doubling, with jitter */
    BACKOFF_MOST_MS = 5000,
};

/* ---- ends -------------------------------------------------------------------------- */

static void free_saga(struct saga *saga)
{
    struct sagas *sagas = saga->sagas;

    arena_free(saga->scratch);
    arena_free(saga->arena);
    free(saga);
    sagas_leave(sagas);
}

static void finish_waiters(struct waiter *waiter, const struct checkout *checkout)
{
    for (struct waiter *next; waiter != NULL; waiter = next) {
        next = waiter->next;
        waiter_finish(waiter, checkout);
    }
}

static void finish(struct saga *saga)
{
    const struct checkout *c = &saga->checkout;

    log_info("checkout_finished", "request=%s order=%s outcome=%s epoch=%lld",
             saga->request, c->order_id,
             c->state == CHECKOUT_COMPLETED ? "completed" : err_reason(c->failure.code),
             (long long)c->epoch);
    finish_waiters(saga_take_out(saga), c);
    free_saga(saga);
}

void saga_lost(struct saga *saga)
{
    log_info("lease_lost", "request=%s order=%s epoch=%lld", saga->request,
             saga->checkout.order_id, (long long)saga->checkout.epoch);
    for (struct waiter *waiter = saga_take_out(saga), *next; waiter != NULL;
         waiter = next) {
        next = waiter->next;
        waiter_poll(waiter);
    }
    free_saga(saga);
}

static void fail(struct saga *saga, struct err error)
{
    for (struct waiter *waiter = saga_take_out(saga), *next; waiter != NULL;
         waiter = next) {
        next = waiter->next;
        waiter_fail(waiter, error);
    }
    free_saga(saga);
}

/* The process stops: the checkout's progress is durable, and another owner continues. */
static void drop(struct saga *saga)
{
    fail(saga, err_unknown(ERR_UNAVAILABLE,
                           "The service is stopping; ask again with the same key."));
}

void saga_damaged(struct saga *saga, struct err error)
{
    log_line(LOG_ERROR, "checkout_abandoned",
             "request=%s order=%s epoch=%lld error=%s note=\"what was done of it is "
             "not undone; look with: checkoutctl explain\"",
             saga->request, saga->checkout.order_id, (long long)saga->checkout.epoch,
             error.message);
    error.effect = EFFECT_UNKNOWN;
    fail(saga, error);
}

/* ---- pauses ------------------------------------------------------------------------ */

/* Continues at `then` after a pause that grows with the attempts. */
static void pause_then(struct saga *saga, void (*then)(void *saga))
{
    int64_t most = BACKOFF_LEAST_MS;

    for (int i = 1; i < saga->attempts && most < BACKOFF_MOST_MS; i++)
        most *= 2;
    if (most > BACKOFF_MOST_MS)
        most = BACKOFF_MOST_MS;
    int64_t ms = most / 2 + randombytes_uniform((uint32_t)most / 2 + 1);
    /* No memory for a timer: the lease expires, and the checkout is taken over. */
    if (failed(timer_after(ms, then, saga)))
        drop(saga);
}

int64_t saga_deadline(const struct saga *saga)
{
    return clock_monotonic_ms() + saga->sagas->config.step_timeout_ms;
}

static void submit(struct saga *saga, db_done *done)
{
    saga->op.deadline_ms = saga_deadline(saga);
    saga->op.done = done;
    saga->op.arg = saga;
    db_submit(saga->sagas->config.db, &saga->op);
}

/* Keeps an attempt's error for operators, with more detail than the shopper gets. */
static void note_trouble(struct saga *saga, struct err error)
{
    saga->trouble = error;
    saga->troubled_step = saga->step;
    saga->tries = saga->attempts + 1;
}

static struct incident incident_of(const struct saga *saga)
{
    return (struct incident){saga->sagas->config.steps[saga->troubled_step].name,
                             saga->tries, saga->trouble.message};
}

/* ---- undoing ----------------------------------------------------------------------- */

static void write_transition(void *arg);

static void undo_next(void *arg)
{
    struct saga *saga = arg;
    const struct saga_step *steps = saga->sagas->config.steps;

    while (saga->step >= 0 && steps[saga->step].undo == NULL)
        saga->step--;
    if (saga_stopping(saga)) {
        drop(saga);
    } else if (saga->step < 0) {
        write_transition(saga);
    } else {
        arena_reset(saga->scratch);
        steps[saga->step].undo(saga);
    }
}

static void on_attention_recorded(void *arg, struct err error, const struct db_rows *rows)
{
    struct saga *saga = arg;

    (void)rows;
    if (failed(error))
        log_warn("incident_not_recorded", "request=%s order=%s error=%s", saga->request,
                 saga->checkout.order_id, error.message);
    pause_then(saga, undo_next);
}

void saga_undo_done(struct saga *saga, struct err error)
{
    if (!failed(error)) {
        saga->attempts = 0;
        saga->step--;
        undo_next(saga);
        return;
    }
    note_trouble(saga, error);
    log_warn("undo_failed", "request=%s order=%s step=%s attempt=%d reason=%s error=%s",
             saga->request, saga->checkout.order_id,
             saga->sagas->config.steps[saga->step].name, saga->attempts + 1,
             err_reason(error.code), error.message);
    /* The failure is durable, so no call needs to wait for the compensation. */
    saga_set_refused(saga);
    finish_waiters(saga_take_waiters(saga), &saga->checkout);
    if (++saga->attempts != saga->sagas->config.attention_after) {
        pause_then(saga, undo_next);
        return;
    }
    log_line(LOG_ERROR, "needs_attention", "request=%s order=%s step=%s", saga->request,
             saga->checkout.order_id, saga->sagas->config.steps[saga->step].name);
    const struct incident why = incident_of(saga);
    checkouts_need_attention(&saga->op, saga->checkout.order_id, saga->checkout.epoch,
                             &why);
    submit(saga, on_attention_recorded);
}

/* ---- transitions ------------------------------------------------------------------- */

/* The next state: aborting first, when there is anything to undo. */
static enum checkout_state next_state(const struct saga *saga)
{
    bool undone = saga->step < 0 || saga->undo_from < 0;

    return saga->checkout.state == CHECKOUT_RUNNING && !undone ? CHECKOUT_ABORTING
                                                               : CHECKOUT_FAILED;
}

static void on_transition_written(void *arg, struct err error, const struct db_rows *rows)
{
    struct saga *saga = arg;
    enum checkout_state to = next_state(saga);
    struct transitioned now = {0};

    if (!failed(error))
        error = checkouts_transitioned(rows, &now);
    if (error.code == ERR_DATA_LOSS) {
        saga_damaged(saga, error);
        return;
    }
    if (failed(error)) {
        log_warn("transition_failed", "request=%s order=%s to=%s attempt=%d error=%s",
                 saga->request, saga->checkout.order_id,
                 to == CHECKOUT_ABORTING ? "aborting" : "failed", saga->attempts + 1,
                 error.message);
        saga->attempts++;
        pause_then(saga, write_transition);
        return;
    }
    if (now.epoch != saga->checkout.epoch || now.state != to) {
        saga_lost(saga);
        return;
    }
    saga->checkout.state = to;
    saga->attempts = 0;
    if (to == CHECKOUT_FAILED) {
        finish(saga);
        return;
    }
    saga->step = saga->undo_from;
    undo_next(saga);
}

static void write_transition(void *arg)
{
    struct saga *saga = arg;

    if (saga_stopping(saga)) {
        drop(saga);
        return;
    }
    const struct incident why = incident_of(saga);
    checkouts_transition(&saga->op, &saga->checkout, next_state(saga),
                         saga->checkout.state == CHECKOUT_RUNNING ? &why : NULL);
    submit(saga, on_transition_written);
}

/* The state of the money before anything is undone. */
static enum err_money money_at_stake(const struct saga *saga)
{
    for (int i = 0; i <= saga->undo_from; i++)
        if (saga->sagas->config.steps[i].takes_money)
            return MONEY_REFUND_PENDING;
    return MONEY_NONE;
}

/* Refuses the checkout finally.  `undo_from` is the last step that may have taken
 * effect. */
static void abort_saga(struct saga *saga, struct err failure, int undo_from)
{
    saga->checkout.failure = failure;
    saga->checkout.failure.effect = EFFECT_NONE; /* after the compensation, if any */
    if (failure.subject != NULL)
        saga->checkout.failure.subject = arena_strdup(saga->arena, failure.subject);
    /* An earlier owner may have reached any step. */
    saga->undo_from =
        saga->checkout.epoch > 1 ? saga->sagas->config.step_count - 1 : undo_from;
    saga->checkout.failure.money = money_at_stake(saga);
    saga->attempts = 0;
    write_transition(saga);
}

/* ---- doing ------------------------------------------------------------------------- */

static void act(void *arg)
{
    struct saga *saga = arg;

    if (saga_stopping(saga)) {
        drop(saga);
        return;
    }
    arena_reset(saga->scratch);
    saga->sagas->config.steps[saga->step].act(saga);
}

/* The failure that the client gets: other errors are faults of ours, not of the order. */
static struct err final_failure(struct err error)
{
    switch (error.code) {
    case ERR_OUT_OF_STOCK:
    case ERR_UNKNOWN_SKU:
    case ERR_PRICE_CHANGED:
    case ERR_PAYMENT_DECLINED:
    case ERR_RESERVATION_EXPIRED:
    case ERR_FAILED_PRECONDITION:
        return error;
    default:
        return err_make(
            ERR_CHECKOUT_FAILED,
            "The order could not be completed. Place it again with a new key.");
    }
}

void saga_step_done(struct saga *saga, struct err error)
{
    const struct sagas_config *config = &saga->sagas->config;

    if (!failed(error)) {
        saga->attempts = 0;
        saga->touched = false;
        if (++saga->step < config->step_count) {
            act(saga);
        } else {
            saga->checkout.state = CHECKOUT_COMPLETED;
            finish(saga);
        }
        return;
    }
    bool open = error.code != ERR_DATA_LOSS && /* a retry would give the same */
                (error.effect == EFFECT_UNKNOWN || err_retryable(error.code));
    /* An earlier attempt may have taken effect, whatever this one answered. */
    saga->touched |= error.effect != EFFECT_NONE;
    note_trouble(saga, error);
    log_info("step_failed", "request=%s order=%s step=%s attempt=%d reason=%s effect=%d",
             saga->request, saga->checkout.order_id, config->steps[saga->step].name,
             saga->attempts + 1, err_reason(error.code), (int)error.effect);
    if (open && clock_monotonic_ms() < saga->give_up_ms) {
        saga->attempts++;
        pause_then(saga, act);
        return;
    }
    abort_saga(saga, final_failure(error),
               open || saga->touched ? saga->step : saga->step - 1);
}

/* ---- running ----------------------------------------------------------------------- */

static void start(struct saga *saga)
{
    if (saga->checkout.state == CHECKOUT_RUNNING) {
        act(saga);
        return;
    }
    saga->undo_from = saga->sagas->config.step_count - 1;
    saga->step = saga->undo_from;
    undo_next(saga);
}

/*
 * Sets the saga's name in logs and its span.  A saga that was taken over continues the
 * request and trace of its claim.
 */
static void note_origin(struct saga *saga, const struct waiter *waiter)
{
    if (waiter != NULL) {
        saga->call_id = arena_strdup(saga->arena, rpc_call_id(waiter->call));
        rpc_call_set_order(waiter->call, saga->checkout.order_id);
        saga->trace = waiter->trace;
    } else {
        struct trace_fields fields = {0};
        if (saga->checkout.traceparent != NULL)
            trace_add_parent(&fields, saga->checkout.traceparent);
        trace_begin(&fields, &saga->trace);
    }
    saga->request = saga->call_id != NULL               ? saga->call_id
                    : saga->checkout.request_id != NULL ? saga->checkout.request_id
                                                        : saga->checkout.order_id;
    saga->op.request = saga->request;
    saga->op.order = saga->checkout.order_id;
}

void sagas_run(struct sagas *sagas, const struct checkout *checkout, struct arena *arena,
               struct waiter *waiter)
{
    struct saga *saga = calloc(1, sizeof *saga);
    struct arena *scratch = arena_new(SCRATCH_MAX);

    if (saga == NULL || scratch == NULL) { /* taken over when its lease expires */
        if (waiter != NULL)
            waiter_poll(waiter);
        free(saga);
        arena_free(scratch);
        arena_free(arena);
        sagas_leave(sagas);
        return;
    }
    *saga = (struct saga){
        .sagas = sagas,
        .checkout = *checkout,
        .arena = arena,
        .scratch = scratch,
        .renewed_ms = clock_monotonic_ms(),
        .give_up_ms = clock_monotonic_ms() + sagas->config.give_up_ms - checkout->age_ms,
        .waiters = waiter,
    };
    note_origin(saga, waiter);
    saga_put(saga);
    start(saga);
}
