/*
 * watch.h - keeps a server's address open to newcomers.
 *
 * nng before 1.6 takes an aborted handshake (connect, then close or reset) for the end of
 * its listener: established connections live on, and nobody new gets in, without any
 * error.  A thread therefore dials the server's own address every half second, and when
 * no connection comes about closes the listener and makes a new one.  From nng 1.6 on
 * there is no thread.
 */
#pragma once

#include <nng/nng.h>

#include "base/err.h"

struct watch;

/* Listens; the socket is borrowed and must outlive the watch.  UNAVAILABLE when the address
 * cannot be listened on, INVALID_ARGUMENT when it is none. */
struct err watch_start(nng_socket socket, const char *url, struct watch **out)
    __attribute__((warn_unused_result));

/* Stops listening; takes at most a second.  NULL is allowed. */
void watch_stop(struct watch *watch);
