/*
 * loop.h - the thread that serves the HTTP connections.
 *
 * libmicrohttpd has such a thread of its own, but 0.9.75's sleeps through a crowd: when one
 * epoll_wait brings exactly as many events as it has room for (128), MHD_epoll() waits for
 * more before it looks at them, and without a limit.  256 shoppers who send in the same
 * moment are then answered when a 257th comes.  Ours waits on libmicrohttpd's epoll, and has
 * it look at the events without waiting (MHD_run).  And it is woken once for many answers
 * that come together, not once for each.
 */
#pragma once

#include <microhttpd.h>

#include "base/err.h"

struct loop;
struct certificates;

/* Serves `daemon`, started with MHD_USE_EPOLL and no thread, until loop_stop;
 * RESOURCE_EXHAUSTED without a thread.  certificates: borrowed, what its handshakes show;
 * NULL without TLS.  *out is set before the first callback runs. */
struct err loop_start(struct MHD_Daemon *daemon, struct certificates *certificates,
                      struct loop **out) __attribute__((warn_unused_result));

/* Has the daemon look at its connections: after MHD_resume_connection.  Any thread; never
 * waits. */
void loop_wake(struct loop *loop);

/* Has the daemon soon leave its listening socket alone, which stays open.  Not done by the
 * caller: MHD_quiesce_daemon would take the socket from under an MHD_run. */
void loop_quiesce(struct loop *loop);

/* Ends the thread; the daemon can be stopped then.  NULL is allowed. */
void loop_stop(struct loop *loop);
