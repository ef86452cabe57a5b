/*
 * sender.h - one endpoint's thread: reads events by its cursor, posts each until
 * received.
 *
 *      Read --> post --2xx--> next ... --> commit the cursor
 *                 |otherwise         410: all of it dead, and nothing more (gone.h)
 *                 v
 *              pending, on disk --> post again, later and later --2xx--> gone
 *                                     |older than give_up_ms
 *                                     v
 *                                  the dead-letter list --asked for (resend.h)--> pending
 *
 * Promises: every event is received at least once, under one webhook-id, or is in the
 * dead-letter list; of one order none overtakes another, while those of other orders go
 * ahead.  An endpoint that receives nothing rests: only what is pending is tried, and the
 * rest stays where it is safe, with the orchestrator.  So it does when a receiver has
 * answered 410 Gone: only an operator has it sent anything again.
 */
#pragma once

#include <stdint.h>

#include "rpc/client/channel.h"
#include "webhook/endpoints.h"

struct sender;

struct sender_config {
    const struct endpoint *endpoint;       /* borrowed */
    struct channel *channel;               /* to the orchestrator; borrowed */
    const char *state_dir;                 /* of the pending and dead files; borrowed */
    int64_t timeout_ms;                    /* of one delivery */
    int64_t retry_first_ms, retry_most_ms; /* doubling from the one to the other */
    int64_t give_up_ms;                    /* age at which an event is given up */
    int64_t backlog_max; /* events pending, past which the sender is not serving */
};

struct err sender_start(const struct sender_config *config, struct sender **out)
    __attribute__((warn_unused_result));

/* Has it look whether somebody asks for dead letters (resend.h).  Any thread; waits for nothing. */
void sender_look(struct sender *sender);

/* Ends a delivery under way; it will be repeated.  sender_join waits for the thread. */
void sender_stop(struct sender *sender);
void sender_join(struct sender *sender);

/*
 * How it is, from any thread: OK, or UNAVAILABLE with why not.  `source`: the events cannot
 * be read, or what is pending cannot be written.  `endpoint`: it receives nothing, or more
 * than backlog_max are pending.
 */
struct sender_health {
    struct err source, endpoint;
};

struct sender_health sender_health(struct sender *sender);
