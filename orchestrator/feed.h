/*
 * feed.h - events.v1.Events/Read: the log after a position, and a wait for what comes
 * next.
 *
 *      query --rows--> reply
 *        |none, and time to wait
 *        v
 *      parked --the log has grown--> query        --time is up, or stopping--> empty
 * reply
 *
 * A parked call holds no thread.  One thread sees to all of them.  It is told when the relay of
 * this process has placed events (feed_placed); while another's does (feed_relay), it looks
 * at the end of the log as long as somebody waits, ever less when nothing comes, but every
 * two seconds.
 */
#pragma once

#include <stdbool.h>

#include "db/db.h"
#include "proto/events.pb-c.h"
#include "rpc/service/request_context.h"

struct feed;

/* `parked_max`: calls that may wait at once; past it RESOURCE_EXHAUSTED.  `db` is
 * borrowed. */
struct err feed_open(struct db *db, int64_t every_ms, size_t parked_max,
                     struct feed **out) __attribute__((warn_unused_result));

/* The relay's to tell (outbox.h), on its thread: whether this process is the one that relays, at
 * first not; and that events were placed. */
void feed_relay(void *feed, bool here);
void feed_placed(void *feed);

/* Answers whoever waits, and from now on lets nobody wait.  NULL is allowed. */
void feed_stop(struct feed *feed);

/* After the database was closed: until then a query may still end.  NULL is allowed. */
void feed_free(struct feed *feed);

/* `caller` names whose cursor it is; all must live until the answer is given. */
void feed_read(struct feed *feed, const struct request_context *ctx, const char *caller,
               const Events__V1__ReadRequest *request);
