/*
 * addresses.h - how many connections each client address has open.
 *
 * A hash table under a key of its own, so that nobody can choose addresses that collide.
 * IPv6 clients are counted by their /64, which is what one of them commonly has.  Not
 * thread-safe.
 */
#pragma once

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct addresses;
struct address;

/* NULL when memory is short.  connections: how many there may be in all. */
struct addresses *addresses_new(unsigned connections) __attribute__((warn_unused_result));
void addresses_free(struct addresses *addresses); /* no connection may be left; or NULL */

/* Counts a connection in and returns whose it is; NULL when memory is short. */
struct address *addresses_enter(struct addresses *addresses,
                                const struct sockaddr_storage *from)
    __attribute__((warn_unused_result));

/* Connections that the address has open. */
unsigned address_count(const struct address *address);

/* Counts a connection out. */
void addresses_leave(struct addresses *addresses, struct address *address);
