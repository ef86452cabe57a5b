/*
 * provider.h - what payment needs of a card provider: charge by key, refund by key, list.
 *
 * We derive the key from the charge's id.  The provider promises that one key is charged
 * at most once, and that a repeat returns the same answer.  A missing answer
 * is an error of unknown effect: repeat with the same key.
 */
#pragma once

#include <stddef.h>
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

/* The provider's answer; texts live while the function they are passed to runs. */
struct provider_outcome {
    const char *provider_charge_id; /* when captured, else NULL */
    const char *decline_code;       /* when declined, else NULL */
    int64_t refunded_cents;         /* of a refund: 0 when there was nothing to refund */
};

/* ABORTED: the key was refunded before it was charged, which prevents any charge. */
typedef void provider_done(void *arg, struct err error,
                           const struct provider_outcome *outcome);

enum provider_status {
    PROVIDER_CAPTURED, /* charged */
    PROVIDER_DECLINED,
    PROVIDER_REFUNDED, /* refunded after it was charged */
    PROVIDER_VOIDED,   /* refunded before it was charged */
};

/* One key in the provider's ledger; texts are "" where it has none. */
struct provider_entry {
    const char *key;
    const char *provider_charge_id;
    enum provider_status status;
    int64_t amount_cents;
    int64_t refunded_cents;
    const char *currency;
    int64_t created_at_ms;  /* Unix milliseconds, by the provider's clock */
    int64_t refunded_at_ms; /* or 0 */
};

/* A page of them, by key; it lives while the function it is passed to runs. */
struct provider_list {
    const struct provider_entry *entries;
    size_t count;   /* fewer than the limit: there are no more */
    int64_t now_ms; /* the provider's clock; 0 when there are none */
};

/* Which page; the texts need not outlive the call. */
struct provider_page {
    const char *after_key; /* "": from the first; at most 64 bytes */
    const char *only_key;  /* when not NULL, this one alone */
    int64_t limit;         /* 1 to 1000 */
    int64_t deadline_ms;   /* clock_monotonic_ms */
};

typedef void provider_listed(void *arg, struct err error,
                             const struct provider_list *list);

/* A provider is a table of functions and its own state; all may be called from any thread
 * and call `done` exactly once, from any thread, maybe before they return. */
struct provider {
    void (*charge)(struct provider *provider, const struct provider_charge *charge,
                   provider_done *done, void *arg);
    /* Refunds all that the key charged.  Refunding an unknown key prevents any later
     * charge. */
    void (*refund)(struct provider *provider, const char *key, int64_t deadline_ms,
                   provider_done *done, void *arg);
    /* The token to charge for a method every user may use, or NULL for any other. */
    const char *(*shared_method)(const char *method_id);
    /* Its ledger by key, in byte order: for audits, which compare it with ours. */
    void (*list)(struct provider *provider, const struct provider_page *page,
                 provider_listed *done, void *arg);
    /* Whether a charge would be accepted now, as far as is known.  UNAVAILABLE has the
     * reason for operators and, as its subject, a static text that clients may see.
     * Never blocks. */
    struct err (*health)(struct provider *provider);
};

/*
 * A provider that fails where a test arms it, in test builds only (provider_faults.c):
 * the failpoints PROGRAM.provider.charge and .refund around `real`, which is borrowed.
 * Lives as long as the process.  NULL when memory is short.
 */
struct provider *provider_faults(struct provider *real)
    __attribute__((warn_unused_result));
