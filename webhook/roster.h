/*
 * roster.h - the senders that run: one for each endpoint of the list, as it is now.
 *
 * When the list is another, those that are not in it any more, or with another URL or
 * secret, end; those that are new begin; all others go on undisturbed.  What is pending of
 * an endpoint that left stays in its files, and goes on when one of its name comes back.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "rpc/server/server.h"
#include "webhook/endpoints.h"
#include "webhook/sender.h"

struct roster {
    struct sender_config common; /* but for the endpoint; set it first */
    pthread_mutex_t lock;        /* guards the entries against roster_look */
    struct entry *entries[ENDPOINTS_MAX];
    size_t count;
};

/* Has the senders be those of the list (copied).  Waits for those that end, each at most as
 * long as a call for events takes.  Failed: some could not be started, the others run. */
struct err roster_set(struct roster *roster, const struct endpoints *endpoints)
    __attribute__((warn_unused_result));

/* Has each sender look whether dead letters are asked for.  Any thread. */
void roster_look(struct roster *roster);

/* Of the first sender that cannot read its events or keep what is pending; OK when all can. */
struct err roster_source_health(struct roster *roster);

/* How each endpoint is, in its order; `parts` has room for RPC_HEALTH_PARTS_MAX.  Gives how
 * many. */
size_t roster_health_parts(struct roster *roster, struct rpc_health_part *parts);

/* Ends them all. */
void roster_stop(struct roster *roster);
