/*
 * lane.h - the calls under way to one address, many in each message.
 *
 *      lane_add -> QUEUED --flush--> SENDING --sent--> SENT --answer, in any message--> out
 *
 * Frames that are ready together go as one bundle (bundle.h).  Each bundle is a request of
 * REQ and gets one message back; whatever answers the server has by then are in it, to this
 * bundle's calls or to others of the connection, so that no answer waits for a slower one.
 * A lane with calls under way sees to it that the server always owes it a message; one
 * bundle may be empty for that.
 *
 * Every call leaves its lane exactly once: with its answer (call_answered), because it was
 * not sent (call_unsent), or because it waits no longer (call_lost).  These run without any
 * lock, on an nng thread.
 *
 * Locks: a call's, then its lane's, then the sweeper's; the channel's inside a lane's.
 */
#pragma once

#include <nng/nng.h>
#include <stdint.h>

#include "base/err.h"

struct call;
struct channel;
struct endpoint;
struct lane;

/* Where a call is; under its lane's lock. */
enum lane_place { LANE_OUT, LANE_QUEUED, LANE_SENDING, LANE_SENT };

/* For an open endpoint, which it borrows. */
struct err lane_open(struct channel *channel, struct endpoint *endpoint,
                     struct lane **out) __attribute__((warn_unused_result));

/* After the endpoint's socket was closed: no call may be in it.  NULL is allowed. */
void lane_close(struct lane *lane);

/* Puts the call's frame and the time its answer is waited for (call->frame, answer_by_ms)
 * into the queue; lane_send then sends, now or with what else this thread has. */
void lane_add(struct lane *lane, struct call *call);
void lane_send(struct lane *lane);

/* The call was cancelled: it leaves soon. */
void lane_cancel(struct call *call);

/* A connection came or went: its pipe's number. */
void lane_connected(struct lane *lane, uint32_t pipe);
void lane_disconnected(struct lane *lane, uint32_t pipe);

/* Lets go of calls that are late, cancelled, or whose connection is gone; `all`: of
 * every one.  Gives the time to look again, INT64_MAX when there is none. */
int64_t lane_sweep(struct lane *lane, bool all);
