/*
 * watch.h - keeps a server's address open to newcomers.
 *
 * nng before 1.6 takes an aborted handshake (connect, then close or reset) for the end of
 * its listener.  Established connections live on, and newcomers even get their
 * handshake, but no connection is ever handed to the socket again and nobody reports an
 * error.  A thread therefore dials the server's own address; when the server's socket is not
 * given a connection by that, it closes the listener and makes a new one.  (That the dialling
 * side is connected proves nothing.)  From nng 1.6 on there is no thread.
 *
 * It does so within half a second of a connection of the process that came, ended or failed (nng
 * counts each, a handshake that is aborted too), within eight when there was none for long, and
 * every five minutes whatever is counted: a probe costs some fifty switches between threads.
 *
 * Closing a listener closes every connection it has accepted: calls that are under way then
 * lose their answers, and their channels ask again, with the same id, on a new connection.
 */
#pragma once

#include <nng/nng.h>

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "rpc/auth/tls.h"

struct watch;

/*
 * Listens.  The socket is borrowed, and its NNG_PIPE_EV_ADD_POST is the watch's.
 * UNAVAILABLE when the address cannot be listened on, INVALID_ARGUMENT when it is none.
 * Whatever is put in `out`, also when failed, is to be stopped and freed.
 */
struct err watch_start(nng_socket socket, const char *url, const struct tls_files *tls,
                       struct watch **out) __attribute__((warn_unused_result));

/*
 * Connections that come from now on are shown these certificates, those that stand live on.
 * Not on an nng thread: takes half a second at most, of which milliseconds as a rule, and as
 * long again after it has returned.  Not at the same time as watch_stop, nor after it.  Nothing
 * to do when the URL has no TLS; failed: all stays as it is.
 */
struct err watch_set_tls(struct watch *watch, const struct tls_pem *pem)
    __attribute__((warn_unused_result));

/*
 * Ends the thread; takes at most a second.  The listener stays until the socket is closed,
 * as with it end all connections it ever accepted.  NULL is allowed.
 */
void watch_stop(struct watch *watch);

/* After the socket was closed: until then nng may still tell us of connections. */
void watch_free(struct watch *watch);

/*
 * Around what is sent to every connection of the socket, as a PUB socket does: a probe's is
 * one of them, and one that is closed just as a message comes in is never given back
 * (closing.h).  Waits while there is a probe, milliseconds as a rule; false, and watch_send_end
 * is not to be called, when there is still one at the deadline (clock_monotonic_ms).
 */
bool watch_send_begin(struct watch *watch, int64_t deadline_ms);
void watch_send_end(struct watch *watch);
