/*
 * callbacks.h - nng's callbacks, on one thread of each program.
 *
 * nng starts two callback threads a core and wakes one for each callback, also when
 * another is just about to look for work.  They then meet at the same few locks: measured
 * on two cores, 75 of the 127 system calls of an order were such meetings, and a third of
 * the services' CPU.  One thread keeps up with all callbacks of a program, for they never
 * wait; above all not for one another: nothing that does (closing a dialer, a listener, a
 * socket; freeing an aio) may be called from one.
 *
 * nng 1.5.2 has no setting for it.  So the other threads are each given a callback that
 * lasts until callbacks_release.
 */
#pragma once

struct callbacks;

/* Before the program's first socket.  NULL when nng has other threads than we think, or
 * no memory: then all of them go on as they are.  Waits until nng's threads run. */
struct callbacks *callbacks_on_one_thread(void);

/* After the last socket is closed.  NULL is allowed. */
void callbacks_release(struct callbacks *callbacks);
