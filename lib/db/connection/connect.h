/*
 * connect.h - finds the primary among the hosts of a URL, within a deadline.
 *
 *      hosts of the URL --> addresses of each name --> a connection, or the next
 *
 * Even when libpq connects without blocking, it has no deadline for looking names up and
 * trying their addresses.  So both are done here, and libpq gets one address at a time:
 * the remaining time is divided between the hosts, and each share between the addresses.
 */
#pragma once

#include "db/connection/connection.h"

/*
 * Sets conn->pg to an open connection, on which nothing is sent yet.  UNAVAILABLE with
 * the message of libpq or the resolver, never with the URL; then conn->pg is NULL.
 */
struct err connect_any(struct conn *conn, int64_t deadline_ms)
    __attribute__((warn_unused_result));

/* Closes the connection and frees what it keeps between attempts.  It may be opened
 * again. */
void conn_end(struct conn *conn);
