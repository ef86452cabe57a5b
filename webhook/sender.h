/*
 * sender.h - one endpoint's thread: reads events from its cursor and posts each until
 * received.
 *
 *      read --> post --2xx--> next event ... --> commit the cursor
 *                 | any other answer        410: all pending become dead letters; stop
 *                 v
 *              pending, on disk --> post again with growing delays --2xx--> done
 *                                     | older than give_up_ms
 *                                     v
 *                                  dead-letter list --resend--> pending
 *
 * Promises: every event is received at least once, always with the same webhook-id, or is
 * in the dead-letter list.  Events of one order are delivered in order, and do not delay
 * other orders.  After several failures in a row the endpoint is paused: only pending
 * events are retried, and no new ones are read from the orchestrator, which keeps them.
 * After 410 Gone nothing is sent until an operator resumes the endpoint.
 */
#pragma once

#include <stdint.h>

#include "rpc/client/channel.h"
#include "webhook/endpoints.h"

struct sender;

struct sender_config {
    const struct endpoint *endpoint; /* borrowed */
    struct channel *channel;         /* to the orchestrator; borrowed */
    const char *state_dir;           /* folder of the files of pending.h; borrowed */
    int64_t timeout_ms;              /* of one delivery */
    int64_t retry_first_ms, retry_most_ms; /* the delay doubles from one to the other */
    int64_t give_up_ms;  /* age at which an event becomes a dead letter */
    int64_t backlog_max; /* more pending events than this: the endpoint is not serving */
};

struct err sender_start(const struct sender_config *config, struct sender **out)
    __attribute__((warn_unused_result));

/* Wakes the sender if an operator asked for dead letters or resumed the endpoint.  Any
 * thread; does not block. */
void sender_check_requests(struct sender *sender);

/* Aborts a delivery in progress, which is repeated later.  sender_join waits for the
 * thread. */
void sender_stop(struct sender *sender);
void sender_join(struct sender *sender);

/*
 * Callable from any thread: OK, or UNAVAILABLE with the reason.  `source`: events cannot
 * be read, or pending ones cannot be written.  `endpoint`: it receives nothing, or more
 * than backlog_max events are pending.
 */
struct sender_health {
    struct err source, endpoint;
};

struct sender_health sender_health(struct sender *sender);
