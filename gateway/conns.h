/*
 * conns.h - absolute deadlines for connections.
 *
 * libmicrohttpd's own time-out starts anew with every byte, so a client that sends one
 * byte a second holds its connection for ever.  Here each connection has one deadline at
 * a time, and a thread that shuts down the sockets of those past theirs; the server then
 * sees the end of the connection.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct conns;
struct conn;

struct err conns_open(struct conns **out) __attribute__((warn_unused_result));

/* No connection may be left. */
void conns_close(struct conns *conns);

/* Takes up a connected socket, which stays the caller's; NULL when memory is short. */
struct conn *conns_add(struct conns *conns, int fd, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Call before the socket is closed. */
void conns_remove(struct conns *conns, struct conn *conn);

/* Sets the deadline (clock_monotonic_ms); INT64_MAX: none.  NULL is allowed. */
void conn_deadline(struct conn *conn, int64_t deadline_ms);
