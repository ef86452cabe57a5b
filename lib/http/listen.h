/* listen.h - a listening TCP socket, with clear sentences when it cannot be had. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* Listens on a numeric IPv4 or IPv6 address; port 0 takes a free one.  The socket, *fd,
 * is non-blocking and the caller's; *bound is its port. */
struct err listen_tcp(const char *address, uint16_t port, int *fd, uint16_t *bound)
    __attribute__((warn_unused_result));

/* From here on the kernel drops what opens a connection, so that new clients ask again,
 * until the socket is closed and they are refused; handshakes that have begun come to
 * their end.  Closed without this, it resets those whose handshake has just ended, though
 * they believe to be connected.  Where the kernel refuses it, nothing changes. */
void listen_end(int fd);
