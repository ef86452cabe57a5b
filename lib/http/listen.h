/*
 * listen.h - accepting clients: the listening socket, and a count of connections per
 * client address.  Not thread-safe.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Listens on a numeric IPv4 or IPv6 address; port 0 takes a free one.  The socket, *fd,
 * is non-blocking and the caller's; *bound is its port. */
struct err listen_tcp(const char *address, uint16_t port, int *fd, uint16_t *bound)
    __attribute__((warn_unused_result));

/* From here on the kernel drops SYNs, so new clients retry until the socket is closed and
 * they are refused, while handshakes that have begun complete.  Closing without this
 * would reset clients whose handshake has just completed.  Where the kernel does not
 * support it, nothing changes. */
void listen_end(int fd);

/* The counts: a hash table with a random key, so that clients cannot choose colliding
 * addresses.  IPv6 clients are counted by their /64, which one client commonly has. */
struct addresses;
struct address;

/* NULL when memory is short.  connections: the limit over all addresses. */
struct addresses *addresses_new(unsigned connections) __attribute__((warn_unused_result));

/* All counts must be 0.  NULL is allowed. */
void addresses_free(struct addresses *addresses);

/* Counts a connection in and returns its address; NULL when memory is short. */
struct address *addresses_enter(struct addresses *addresses,
                                const struct sockaddr_storage *from)
    __attribute__((warn_unused_result));

/* Open connections of the address. */
unsigned address_count(const struct address *address);

/* Counts a connection out. */
void addresses_leave(struct addresses *addresses, struct address *address);
