/*
 * feed.h - events.v1.Events/Read: reads the log after a position, and waits for new
 * events.
 *
 *      query --rows--> reply
 *        |none, and time to wait
 *        v
 *      parked --the log has grown--> query
 *        `------time is up, or stopping--> empty reply
 *
 * A parked call holds no thread; one thread serves all of them.  If this process is the
 * relay, the sequencer calls feed_placed.  If another process is (feed_relay), the thread
 * polls the end of the log while calls are parked, with growing pauses of two seconds at
 * most.
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

/* For the sequencer, on its thread: sets whether this process is the relay (initially
 * not), and reports that events were placed. */
void feed_relay(void *feed, bool here);
void feed_placed(void *feed);

/* Answers all parked calls; from now on none is parked.  NULL is allowed. */
void feed_stop(struct feed *feed);

/* Only after the database was closed: until then a query may still end.  NULL is allowed. */
void feed_free(struct feed *feed);

/* `caller` is the cursor's owner; all must live until the answer. */
void feed_read(struct feed *feed, const struct request_context *ctx, const char *caller,
               const Events__V1__ReadRequest *request);
