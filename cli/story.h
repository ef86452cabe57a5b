/*
 * story.h - one order's past as a row of moments, and what happens next.
 *
 * Pure: no call is made here.  Each service's times are by its own database's clock.
 */
#pragma once

#include "cli/cli.h"
#include "proto/inventory.pb-c.h"
#include "proto/orders.pb-c.h"
#include "proto/payment.pb-c.h"

enum { MOMENTS_MAX = 220, TEXT_SIZE = 480 };

struct moment {
    int64_t at_ms;
    int order; /* among those of one millisecond */
    const char *service;
    char text[TEXT_SIZE];
};

/* What the services answered, and below it what story_tell makes of that. */
struct story {
    const struct cli *cli;
    const Orders__V1__GetCheckoutReply *checkout;          /* or NULL */
    const Inventory__V1__GetReservationReply *reservation; /* or NULL */
    const Payment__V1__GetChargeReply *charge;             /* or NULL */
    const Payment__V1__ProviderEntry *provider;            /* or NULL */
    bool orders_missing;  /* the orchestrator did not say: there may be a checkout */
    bool effects_missing; /* the same of inventory or payment */
    struct moment moments[MOMENTS_MAX];
    int count;
    char next[TEXT_SIZE];
};

/*
 * Makes the moments of the answers, in the order of their times, and says in `next` what
 * happens next, as far as that is known.  `checkout->checkout` is there when `checkout` is.
 * Moments past MOMENTS_MAX are left out.
 */
void story_tell(struct story *story);
