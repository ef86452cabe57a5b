/*
 * conns.h - absolute deadlines for connections, and clients that leave in mid-call.
 *
 * libmicrohttpd's own time-out starts anew with every byte, so a client that sends one
 * byte a second holds its connection for ever.  Here each connection has one deadline at
 * a time, and a thread that shuts down the sockets of those past theirs; the server then
 * sees the end of the connection.
 *
 * A suspended connection is not looked at by libmicrohttpd, so while a call runs for it the
 * same thread looks whether its client has closed its side, and then cancels the call.  A
 * call is only looked at from its second look on: most never are.
 *
 * There is room for as many connections as may be, taken once, so that none can be without
 * a deadline.  While all of it is used, whoever wants to connect waits in the kernel's queue;
 * then a connection that has waited for a request for CONNS_FULL_LOOKS looks is shut down,
 * so that holding connections open keeps nobody out for longer than that.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "rpc/channel.h"

struct conns;
struct conn;
struct traffic;

enum { CONNS_LOOK_MS = 250, CONNS_FULL_LOOKS = 8 };

struct conns_config {
    unsigned max;            /* connections at once */
    int64_t look_every_ms;   /* 0: CONNS_LOOK_MS */
    struct traffic *traffic; /* is told who left; borrowed, or NULL */
};

struct err conns_open(const struct conns_config *config, struct conns **out)
    __attribute__((warn_unused_result));

/* No connection may be left. */
void conns_close(struct conns *conns);

/* Takes up a connected socket, which stays the caller's and waits for a request.  No more
 * than the maximum may be there. */
struct conn *conns_add(struct conns *conns, int fd, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Call before the socket is closed. */
void conns_remove(struct conns *conns, struct conn *conn);

/* It waits for a request, until the deadline (clock_monotonic_ms). */
void conn_waits(struct conn *conn, int64_t deadline_ms);

/* A request is on its way, or its answer, until then; INT64_MAX: no deadline. */
void conn_deadline(struct conn *conn, int64_t deadline_ms);

/* From here to conn_answered that call runs for the connection's client alone: it is
 * cancelled when the client leaves. */
void conn_call(struct conn *conn, struct channel *channel, channel_ticket ticket);
void conn_answered(struct conn *conn);

/* Once this returns no call is cancelled any more, so that channels may be closed. */
void conns_leave_calls(struct conns *conns);
