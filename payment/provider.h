/*
 * provider.h - a card provider as payment sees one: charge by key, refund by key.
 *
 * The key is ours and derived from the charge's id; the provider promises that one key is
 * charged at most once and that asking again answers what it answered.  An answer that
 * does not come in time is an error of unknown effect: ask again under the same key.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* A charge to make; the texts must live until `done`. */
struct provider_charge {
    const char *key;   /* idempotency key, 1 to 64 visible ASCII characters */
    const char *token; /* the provider's name of the card */
    int64_t amount_cents;
    const char *currency;
    int64_t deadline_ms; /* clock_monotonic_ms */
};

/* What the provider said; texts live while the function they are passed to runs. */
struct provider_outcome {
    const char *provider_charge_id; /* when captured, else NULL */
    const char *decline_code;       /* when declined, else NULL */
    int64_t refunded_cents;         /* of a refund: 0 when there was nothing to give back */
};

/* ABORTED: the key was refunded before it was charged, and is barred. */
typedef void provider_done(void *arg, struct err error, const struct provider_outcome *outcome);

/* A provider is a table of functions and its own state; all may be called from any thread
 * and call `done` exactly once, from any thread, maybe before they return. */
struct provider {
    void (*charge)(struct provider *provider, const struct provider_charge *charge,
                   provider_done *done, void *arg);
    /* Gives back all of what the key charged; a key never seen is barred. */
    void (*refund)(struct provider *provider, const char *key, int64_t deadline_ms,
                   provider_done *done, void *arg);
    /* The token to charge for a method every user may use, or NULL for any other. */
    const char *(*shared_method)(const char *method_id);
};
