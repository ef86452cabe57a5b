/*
 * connect.h - finds the primary among the hosts of a URL, within a deadline.
 *
 *      hosts of the URL --> addresses of each name --> a connection, or the next
 *
 * libpq looks names up and tries their addresses without a clock when it connects without
 * blocking.  So both are done here, and libpq is given one address at a time: of the time
 * that is left each host gets its share, and each address its share of that.
 */
#pragma once

#include "db/connection/connection.h"

/*
 * Sets conn->pg to an open connection, on which nothing was said yet.  UNAVAILABLE with libpq's
 * or the resolver's words, never with the URL; then conn->pg is NULL.
 */
struct err connect_any(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Closes it and lets go of what it keeps between connections.  It may be opened again. */
void conn_end(struct conn *conn);
