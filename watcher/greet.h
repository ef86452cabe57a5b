/*
 * greet.h - health checks of a server, without ever waiting.
 *
 *     connect, greet ... (later) read what has arrived: the whole answer, or not yet
 *     greet ... read, greet ... read
 *
 * A service gets the shortest exchange of its protocol: an empty bundle, which it returns
 * at once (proto/README.md, section 3).  All use one connection, as each new one makes
 * lib/rpc/nng_defects/watchdog.c look closer.  PostgreSQL gets an SSLRequest, which a new
 * backend answers with one byte
 * (https://www.postgresql.org/docs/15/protocol-message-formats.html); that connection is
 * then closed.  Neither is logged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum greeted {
    GREET_WAITING, /* no answer yet */
    GREET_ANSWERED,
    GREET_NOBODY, /* nobody listens, or the connection was closed */
};

struct greeter {
    const char *address; /* NULL: not supported */
    int fd;              /* -1: not connected */
    bool known;          /* greeted on this connection before, which is kept */
    size_t awaited;      /* bytes of the answer still missing */
};

/* Borrows the address: ipc:///path, tcp://a.b.c.d:port, tcp://[::1]:port,
 * postgresql:///folder (of the socket).  Others are not supported. */
struct greeter greet_make(const char *address);

/* Sends a greeting; call greet_read before the next one.  WAITING or NOBODY. */
enum greeted greet_begin(struct greeter *greeter);

/* Reads the answer to the last greeting, as far as it has arrived. */
enum greeted greet_read(struct greeter *greeter);

/* Closes the connection, if any; the next greeting opens a new one. */
void greet_end(struct greeter *greeter);
