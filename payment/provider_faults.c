/*
 * provider_faults.c - a provider that fails where a test arms it; test builds only.
 *
 * It wraps the real provider; the ledger does not know of it.
 *
 *   before  error: fails without a call        drop: no call, no answer
 *           repeat: called twice               late: no answer, and called some time after
 *   after   error, drop, repeat, late: called, and the answer is lost
 */
#include "payment/provider.h"

#ifdef CHECKOUT_FAILPOINTS

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "rpc/common/timer.h"

struct faulty {
    struct provider provider; /* first */
    struct provider *real;
};

/* One request on its way to the real provider; texts are copies, because it may be sent
 * late. */
struct passing {
    struct provider *real;
    const char *what; /* "charge" or "refund" */
    char key[80], token[256], currency[4];
    int64_t amount_cents, deadline_ms;
    provider_done *done; /* NULL: the answer is ignored */
    void *arg;
};

static struct err lost_answer(void)
{
    return err_unknown(ERR_DEADLINE_EXCEEDED,
                       "The card provider did not answer in time.");
}

static void on_answer(void *arg, struct err error, const struct provider_outcome *outcome)
{
    struct passing *p = arg;

    if (p->done != NULL) {
        if (!failed(error) && failpoint("provider", p->what, "after").kind != FAULT_NONE)
            error = lost_answer();
        p->done(p->arg, error, outcome);
    }
    free(p);
}

static void ask(void *arg)
{
    struct passing *p = arg;
    const struct provider_charge charge = {p->key, p->token, p->amount_cents, p->currency,
                                           p->deadline_ms};

    if (strcmp(p->what, "charge") == 0)
        p->real->charge(p->real, &charge, on_answer, p);
    else
        p->real->refund(p->real, p->key, p->deadline_ms, on_answer, p);
}

/* A repeat of the request whose answer is ignored. */
static struct passing *stray(const struct passing *of, int64_t late_ms)
{
    struct passing *copy = malloc(sizeof *copy);

    if (copy == NULL)
        abort(); /* acceptable in a test build */
    *copy = *of;
    copy->done = NULL;
    copy->deadline_ms = clock_monotonic_ms() + late_ms + 5000;
    return copy;
}

static void pass(struct passing *p)
{
    struct fault fault = failpoint("provider", p->what, "before");

    switch (fault.kind) {
    case FAULT_NONE:
        ask(p);
        return;
    case FAULT_REPEAT:
        ask(stray(p, 0));
        ask(p);
        return;
    case FAULT_LATE:
        if (failed(timer_after(fault.late_ms, ask, stray(p, fault.late_ms))))
            abort();
        break;
    case FAULT_ERROR:
        p->done(p->arg, err_make(ERR_UNAVAILABLE, "The card provider is out of order."),
                NULL);
        free(p);
        return;
    case FAULT_DROP:
        break;
    }
    p->done(p->arg, lost_answer(), NULL);
    free(p);
}

static struct passing *passing(struct provider *provider, const char *what,
                               const char *key, int64_t deadline_ms, provider_done *done,
                               void *arg)
{
    struct passing *p = calloc(1, sizeof *p);

    if (p == NULL)
        abort();
    p->real = ((struct faulty *)provider)->real;
    p->what = what;
    strncpy(p->key, key, sizeof p->key - 1);
    p->deadline_ms = deadline_ms;
    p->done = done;
    p->arg = arg;
    return p;
}

static void charge(struct provider *provider, const struct provider_charge *c,
                   provider_done *done, void *arg)
{
    struct passing *p = passing(provider, "charge", c->key, c->deadline_ms, done, arg);

    strncpy(p->token, c->token, sizeof p->token - 1);
    strncpy(p->currency, c->currency, sizeof p->currency - 1);
    p->amount_cents = c->amount_cents;
    pass(p);
}

static void refund(struct provider *provider, const char *key, int64_t deadline_ms,
                   provider_done *done, void *arg)
{
    pass(passing(provider, "refund", key, deadline_ms, done, arg));
}

/* Reads have no failpoints. */
static void list(struct provider *provider, const struct provider_page *page,
                 provider_listed *done, void *arg)
{
    struct provider *real = ((struct faulty *)provider)->real;

    real->list(real, page, done, arg);
}

static struct err health(struct provider *provider)
{
    struct provider *real = ((struct faulty *)provider)->real;

    return real->health(real);
}

struct provider *provider_faults(struct provider *real)
{
    struct faulty *faulty = calloc(1, sizeof *faulty);

    if (faulty == NULL)
        return NULL;
    faulty->provider = *real;
    faulty->provider.charge = charge;
    faulty->provider.refund = refund;
    faulty->provider.list = list;
    faulty->provider.health = health;
    faulty->real = real;
    return &faulty->provider;
}

#endif
