/*
 * greet.h - one greeting of a server by a newcomer, without ever waiting.
 *
 *     connect, send ... (later) read what is there: a byte of the answer, or none yet
 *
 * The greeting is the shortest exchange that each protocol has: the eight bytes of SP
 * (proto/README.md, section 1), or PostgreSQL's SSLRequest, which its server answers with
 * one byte in a process of its own
 * (https://www.postgresql.org/docs/15/protocol-message-formats.html).  Neither is logged.
 */
#pragma once

#include <stdbool.h>

enum greeted {
    GREET_WAITING, /* no answer yet */
    GREET_ANSWERED,
    GREET_NOBODY, /* nobody listens there, or whoever did has hung up */
};

/* Whether it is an address that can be greeted: ipc:///path, tcp://a.b.c.d:port,
 * tcp://[::1]:port, postgresql:///folder (of the socket). */
bool greet_understands(const char *address);

/* Begins; *fd is the connection, to be given to greet_read, or -1 when there is none. */
enum greeted greet_begin(const char *address, int *fd);

/* Looks; closes the connection unless it is GREET_WAITING. */
enum greeted greet_read(int *fd);
