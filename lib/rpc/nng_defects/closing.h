/* closing.h - closing a socket of nng's in time, or not at all. */
#pragma once

#include <nng/nng.h>

/* How a process ends in which nng hangs, to be started again; EX_TEMPFAIL. */
enum { CLOSE_EXIT_HANGS = 75 };

/*
 * Closes the socket; takes ten seconds at most, of which nearly always none.  When nng has
 * not closed it by then it never will: the process ends with CLOSE_EXIT_HANGS.
 *
 * A connection of nng 1.5.2 that ends just when a message comes in, or is half sent, may
 * never be given back (its aio was closed between two reads: ipc_pipe_recv_cb), and every
 * nng_close of the process then waits for ever.  No address could be listened on again and
 * no connection freed, so the process ends: all it owes anybody is durable, and its
 * supervisor starts it afresh.
 */
void close_in_time(nng_socket socket);
