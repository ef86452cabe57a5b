/*
 * nng_defects.h - the defects of nng that we work around, each with its versions.
 *
 *  1. The listener that stops (before 1.6).  After an aborted handshake (connect, then
 *     close or reset) nng stops accepting.  Existing connections continue, and new
 *     clients even complete their handshake, but the socket never gets them, and no
 *     error is reported.  The watchdog listens again.
 *  2. The connection that is never given back (1.5.2; closing an ipc socket can hang in
 *     1.12.4 too).  A connection that ends just when a message comes in, or is half sent,
 *     may stay forever: its aio was closed between two reads (ipc_pipe_recv_cb).  From
 *     then on the process frees no connection, dials none again, and every nng_close
 *     waits forever.  close_in_time finds it, at the latest when a watchdog closes its
 *     next probe, and ends the process.
 *  3. The close in a handshake (1.5.2, https://github.com/nanomsg/nng/issues/1543).  The
 *     socket may wait for ever for its own end.  So a probe never leaves a handshake.
 *  4. The certificate that is one late (every version from 1.5.2 to 1.12).  A listener
 *     that is given a new certificate uses the old one for one more connection
 *     (findings/nng_listener_certificate_one_late.sh): watch_set_tls makes that one.
 *
 * Elsewhere: the last replies of a server that closes are lost when the caller has not
 * read them yet (1.5.2): server/server.c waits.  A dialer gives up when the other side dies in a
 * handshake (1.5.2): the client's connections dial again.
 */
#pragma once

#include <nng/nng.h>

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/tls.h"

/* ---- watchdog.c: a server's address stays open to new clients ---- */

/*
 * A thread dials the server's own address.  If the socket then gets no connection, the
 * thread closes the listener and makes a new one.  (That the dialling side is connected
 * proves nothing.)  It does so with every nng: defect 1 was fixed in 1.6, but closing a
 * connection can still hang (defect 2), and only a probe finds it.
 *
 * It probes within half a second after a connection of the process came, ended or failed
 * (nng counts each, also an aborted handshake), within eight seconds if there was none
 * for long, and at least every five minutes: a probe costs some fifty switches between
 * threads.
 *
 * Closing a listener closes every connection it has accepted: calls in progress then lose
 * their answers, and their channels retry with the same id on a new connection.
 */
struct watch;

/*
 * Listens.  The socket is borrowed, and its NNG_PIPE_EV_ADD_POST belongs to the watchdog.
 * UNAVAILABLE when the address cannot be listened on, INVALID_ARGUMENT when it is none.
 * Whatever is put in `out`, also when failed, must be stopped and freed.
 */
struct err watch_start(nng_socket socket, const char *url, const struct tls_files *tls,
                       struct watch **out) __attribute__((warn_unused_result));

/*
 * New connections get these certificates; existing ones keep theirs.  Must not be called
 * on an nng thread: takes milliseconds, at most half a second, and as long again after it
 * has returned.  Not at the same time as watch_stop, nor after it.  Does nothing when the
 * URL has no TLS.  When failed, nothing has changed.
 */
struct err watch_set_tls(struct watch *watch, const struct tls_pem *pem)
    __attribute__((warn_unused_result));

/* Ends the thread; takes at most a second.  The listener stays until the socket is
 * closed, because all connections it ever accepted end with it.  NULL is allowed. */
void watch_stop(struct watch *watch);

/* After the socket was closed: until then nng may still report connections to it. */
void watch_free(struct watch *watch);

/*
 * Call them around a send to every connection of the socket, as a PUB socket does: one
 * may be a probe's, and closing that just as a message comes in is defect 2.  Waits while
 * there is a probe, usually milliseconds; false when there is still one at the deadline
 * (clock_monotonic_ms): watch_send_end must not be called then.
 */
bool watch_send_begin(struct watch *watch, int64_t deadline_ms);
void watch_send_end(struct watch *watch);

/*
 * For a program that only calls: defect 2 ends the process, as it does in a server.  A
 * socket of a server within the process, and a watchdog of it.  Not for a library: it
 * ends the process. UNAVAILABLE when there is no socket.  `out` is set only when it
 * succeeds.
 */
struct self_watch;

struct err self_watch_start(struct self_watch **out) __attribute__((warn_unused_result));
void self_watch_stop(
    struct self_watch *self); /* takes at most a second; NULL is allowed */

/* ---- linger.c: closing a socket in time, or ending the process ---- */

/* The exit status of a process in which nng hangs, to be started again; EX_TEMPFAIL. */
enum { CLOSE_EXIT_HANGS = 75 };

/*
 * Closes the socket: nearly always at once, at most ten seconds.  When nng has not closed
 * it by then it never will (defect 2): the process ends with CLOSE_EXIT_HANGS.  All state
 * that others rely on is durable, and the supervisor starts the process again.
 */
void close_in_time(nng_socket socket);

/* ---- ended.c: how many connections have ended in this process ---- */

/* nng does not report defect 2, but it does report that a connection ended.  So the
 * watchdog probes when the number has changed.  It is the process's, as all sockets share
 * the thread that frees connections.  Any thread. */
void connection_ended(void);
uint64_t connections_ended(void);
