/*
 * greet.h - greets a server again and again, without ever waiting.
 *
 *     connect, greet ... (later) read what is there: the whole answer, or not yet
 *     greet ... read, greet ... read
 *
 * A service is greeted by the shortest exchange of its protocol: an empty bundle, which is
 * given back at once (proto/README.md, section 3), always on one connection, as each that comes
 * and goes makes lib/rpc/nng_defects/watchdog.c look closer.  PostgreSQL is sent an SSLRequest, which its
 * server answers with one byte in a process of its own
 * (https://www.postgresql.org/docs/15/protocol-message-formats.html); that connection then ends.
 * Neither is logged.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum greeted {
    GREET_WAITING, /* no answer yet */
    GREET_ANSWERED,
    GREET_NOBODY, /* nobody listens there, or whoever did has hung up */
};

struct greeter {
    const char *address; /* NULL: it cannot be greeted */
    int fd;              /* -1: there is no connection */
    bool known;          /* it was greeted on this connection, and stays on it */
    size_t awaited;      /* bytes of the answer that are still to come */
};

/* Borrows the address: ipc:///path, tcp://a.b.c.d:port, tcp://[::1]:port,
 * postgresql:///folder (of the socket); another cannot be greeted. */
struct greeter greet_make(const char *address);

/* Greets; greet_read is to look for the answer before the next time.  WAITING or NOBODY. */
enum greeted greet_begin(struct greeter *greeter);

/* Looks for the answer to the last greeting. */
enum greeted greet_read(struct greeter *greeter);

/* Closes the connection, if there is one; the next greeting is on a new one. */
void greet_end(struct greeter *greeter);
